// Reads what the monitor wrote down: CRI lines, `<RFC 3339> <stream> <F|P> <bytes>`, in one file and its rotated elders.

import { closeSync, fstatSync, readSync, statSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { openIfThere } from '../../lib/if-there.ts'
import { watchQuietly } from '../watch-quietly.ts'

/** A line that a container wrote, or a part of one that was too long or not ended. */
export interface LogLine {
  /** RFC 3339 with nanoseconds. */
  readonly time: string
  readonly stream: 'stdout' | 'stderr'
  /** Byte for byte what the container wrote, with its newline where there was one. */
  readonly content: Buffer
}

/** Which lines, and whether to wait for more. */
export interface LogOptions {
  /** Only the last lines; all when absent. */
  readonly tail?: number
  /** RFC 3339 bounds, compared as instants. */
  readonly since?: string
  readonly until?: string
  /** Goes on until the container has ended. */
  readonly follow?: boolean
  readonly signal?: AbortSignal
}

/**
 * The lines of the log at `path`, oldest first.
 * @param ended settles when the container has ended; only used with `follow`
 */
export async function* readLog(path: string, options: LogOptions, ended: Promise<unknown>): AsyncGenerator<LogLine> {
  const inside = timeFilter(options)
  const isAborted = () => options.signal?.aborted === true
  const reader = new LineReader(path)
  try {
    if (options.tail !== undefined) reader.skipTo(options.tail)
    const lines = options.tail === undefined ? reader.read() : lastLines(reader.read(), options.tail)
    for (const line of lines) {
      if (isAborted()) return
      if (inside(line)) yield line
    }
    if (options.follow !== true) return
    let over = false
    void ended.finally(() => {
      over = true
    })
    while (!isAborted()) {
      // Looked at before reading: what is written before the end is read after it.
      const last = over
      for (const line of reader.read()) {
        if (isAborted()) return
        if (inside(line)) yield line
      }
      if (last) return
      await change(path, ended, options.signal)
    }
  } finally {
    reader.close()
  }
}

/**
 * Reads a log that grows and is rotated meanwhile, from its oldest file to its newest: an open file is known by its inode,
 * whatever it is called by now, so none in between is left out however fast the rotation is. Only what the monitor has
 * deleted before it was opened is lost.
 */
class LineReader {
  readonly #path: string
  #open: { readonly fd: number; readonly ino: number } | undefined
  #position = 0
  #rest: Buffer = Buffer.alloc(0)

  constructor(path: string) {
    this.#path = path
  }

  /** Starts not far before the last `count` lines, where they are all in the youngest file: a long log is not read for its end. */
  skipTo(count: number): void {
    const fd = openIfThere(this.#path)
    if (fd === undefined) return
    const { size, ino } = fstatSync(fd)
    for (let span = 1 << 16; span < size; span *= 4) {
      const bytes = Buffer.allocUnsafe(span)
      const read = readSync(fd, bytes, 0, span, size - span)
      const start = bytes.indexOf(10) + 1
      // One more, since the first may be the end of a line that was cut into parts.
      if (start === 0 || countLines(bytes.subarray(start, read)) <= count) continue
      this.#open = { fd, ino }
      this.#position = size - span + start
      return
    }
    closeSync(fd)
  }

  /** All complete lines that have come since the last call. */
  *read(): Generator<LogLine> {
    if (this.#open === undefined) this.#openNext()
    while (this.#open !== undefined) {
      yield* this.#readOpen(this.#open.fd)
      if (!isRotatedAway(this.#path, this.#open.fd)) return
      // What came between the last read and the rotation.
      yield* this.#readOpen(this.#open.fd)
      if (!this.#openNext()) return
    }
  }

  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.fd)
    this.#open = undefined
    this.#rest = Buffer.alloc(0)
  }

  /** Goes over to the next younger file; at first, or when its own has been deleted, to the oldest. */
  #openNext(): boolean {
    for (;;) {
      const files = filesOf(this.#path)
      const next = files[files.findIndex(({ ino }) => ino === this.#open?.ino) + 1]
      if (next === undefined) return false
      const fd = openIfThere(next.name)
      if (fd === undefined) continue
      // It may have been renamed since it was looked at.
      if (fstatSync(fd).ino !== next.ino) {
        closeSync(fd)
        continue
      }
      // Only now: while a file is open, its inode cannot become another's.
      this.close()
      this.#open = { fd, ino: next.ino }
      this.#position = 0
      return true
    }
  }

  *#readOpen(fd: number): Generator<LogLine> {
    const buffer = Buffer.allocUnsafe(1 << 18)
    for (;;) {
      const length = readSync(fd, buffer, 0, buffer.length, this.#position)
      if (length === 0) return
      this.#position += length
      const bytes = Buffer.concat([this.#rest, buffer.subarray(0, length)])
      let start = 0
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
        const line = parseLine(bytes.subarray(start, end + 1))
        if (line !== undefined) yield line
        start = end + 1
      }
      this.#rest = Buffer.from(bytes.subarray(start))
    }
  }
}

/** How many lines of the container end in these lines of the log. */
function countLines(bytes: Buffer): number {
  let count = 0
  let start = 0
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
    if (parseLine(bytes.subarray(start, end + 1))?.content.at(-1) === 10) count += 1
    start = end + 1
  }
  return count
}

/** What stands between the time and the bytes, and what it says. */
const kinds: ReadonlyMap<string, { readonly stream: LogLine['stream']; readonly isWhole: boolean }> = new Map([
  ['stdout F', { stream: 'stdout', isWhole: true }],
  ['stdout P', { stream: 'stdout', isWhole: false }],
  ['stderr F', { stream: 'stderr', isWhole: true }],
  ['stderr P', { stream: 'stderr', isWhole: false }],
])

/** @param line with its newline @returns undefined for a line that is not ours, e.g. one cut off by a full disk */
export function parseLine(line: Buffer): LogLine | undefined {
  const first = line.indexOf(32)
  // Both words have the same length whatever they say: `stdout F`.
  const last = first + 9
  if (first < 0 || line[last] !== 32) return undefined
  const kind = kinds.get(line.toString('latin1', first + 1, last))
  if (kind === undefined) return undefined
  const content = line.subarray(last + 1, kind.isWhole ? line.length : line.length - 1)
  return { time: line.toString('latin1', 0, first), stream: kind.stream, content }
}

/**
 * The files of a log, the oldest first. Looked at from the youngest on: a rotation moves files the other way, so one may be
 * seen twice but none is missed.
 */
function filesOf(path: string): { readonly name: string; readonly ino: number }[] {
  const found = new Map<number, string>()
  // In the middle of a rotation there is one hole.
  for (let number = 0, missing = 0; missing < 2; number += 1) {
    const name = number === 0 ? path : `${path}.${number}`
    const ino = statSync(name, { throwIfNoEntry: false })?.ino
    if (ino === undefined) missing += number === 0 ? 0 : 1
    else {
      missing = 0
      // Again at the end, where it stands by now.
      found.delete(ino)
      found.set(ino, name)
    }
  }
  return [...found].map(([ino, name]) => ({ name, ino })).reverse()
}

/** As tailOf(), for lines that come one by one: keeps little more than what is asked for. */
function lastLines(lines: Iterable<LogLine>, count: number): LogLine[] {
  let kept: LogLine[] = []
  let most = 4096
  for (const line of lines) {
    kept.push(line)
    if (kept.length < most) continue
    kept = tailOf(kept, count)
    most = Math.max(4096, 2 * kept.length)
  }
  return tailOf(kept, count)
}

/** The last `count` lines, where a line that was cut into parts counts once. */
function tailOf(lines: LogLine[], count: number): LogLine[] {
  let left = count
  let index = lines.length
  while (index > 0) {
    const previous = lines[index - 1]
    const endsLine = previous?.content.at(-1) === 10 || index === lines.length
    if (endsLine) {
      if (left === 0) break
      left -= 1
    }
    index -= 1
  }
  return lines.slice(index)
}

function timeFilter(options: LogOptions): (line: LogLine) => boolean {
  const since = options.since === undefined ? undefined : Date.parse(options.since)
  const until = options.until === undefined ? undefined : Date.parse(options.until)
  if (since === undefined && until === undefined) return () => true
  return line => {
    const time = Date.parse(line.time)
    return (since === undefined || time >= since) && (until === undefined || time <= until)
  }
}

/** Settles when the file may have grown, or the container has ended. */
function change(path: string, ended: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const watcher = watchQuietly(path, () => done())
    const done = () => {
      clearTimeout(timer)
      watcher?.close()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    // The timer covers what the watch cannot see: a write between reading and watching, a rotation, no file yet.
    const timer = setTimeout(done, 200)
    signal?.addEventListener('abort', done, { once: true })
    void ended.finally(done)
  })
}

function isRotatedAway(path: string, fd: number): boolean {
  try {
    return statSync(path).ino !== fstatSync(fd).ino
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}
