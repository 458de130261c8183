// Reads what the monitor wrote down: CRI lines, `<RFC 3339> <stream> <F|P> <bytes>`, in one file and its rotated elders.

import { closeSync, fstatSync, openSync, readSync, statSync, watch } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'

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
    let lines = [...readElders(path), ...reader.read()]
    if (options.tail !== undefined) lines = tailOf(lines, options.tail)
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

/** Reads one growing file, and goes over to its successor when it has been rotated away. */
class LineReader {
  readonly #path: string
  #fd: number | undefined
  #rest: Buffer = Buffer.alloc(0)

  constructor(path: string) {
    this.#path = path
  }

  /** All complete lines that have come since the last call. */
  *read(): Generator<LogLine> {
    for (;;) {
      this.#fd ??= openOrUndefined(this.#path)
      if (this.#fd === undefined) return
      yield* this.#readOpen(this.#fd)
      if (!isRotatedAway(this.#path, this.#fd)) return
      yield* this.#readOpen(this.#fd)
      this.close()
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#rest = Buffer.alloc(0)
  }

  *#readOpen(fd: number): Generator<LogLine> {
    const buffer = Buffer.allocUnsafe(1 << 18)
    for (;;) {
      const length = readSync(fd, buffer, 0, buffer.length, null)
      if (length === 0) return
      const bytes = Buffer.concat([this.#rest, buffer.subarray(0, length)])
      let start = 0
      for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
        const line = parseLine(bytes.subarray(start, end))
        if (line !== undefined) yield line
        start = end + 1
      }
      this.#rest = Buffer.from(bytes.subarray(start))
    }
  }
}

/** @returns undefined for a line that is not ours, e.g. one cut off by a full disk */
export function parseLine(line: Buffer): LogLine | undefined {
  const first = line.indexOf(32)
  const second = line.indexOf(32, first + 1)
  const third = line.indexOf(32, second + 1)
  if (first < 0 || second < 0 || third < 0) return undefined
  const stream = line.toString('latin1', first + 1, second)
  const tag = line.toString('latin1', second + 1, third)
  if ((stream !== 'stdout' && stream !== 'stderr') || (tag !== 'F' && tag !== 'P')) return undefined
  const text = line.subarray(third + 1)
  const content = tag === 'F' ? Buffer.concat([text, newline]) : Buffer.from(text)
  return { time: line.toString('latin1', 0, first), stream, content }
}

const newline = Buffer.from('\n')

function* readElders(path: string): Generator<LogLine> {
  const elders: string[] = []
  for (let number = 1; exists(`${path}.${number}`); number += 1) elders.unshift(`${path}.${number}`)
  for (const elder of elders) {
    const reader = new LineReader(elder)
    try {
      yield* reader.read()
    } finally {
      reader.close()
    }
  }
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
    let watcher: ReturnType<typeof watch> | undefined
    const done = () => {
      clearTimeout(timer)
      watcher?.close()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    // The timer covers what the watch cannot see: a write between reading and watching, a rotation, no file yet.
    const timer = setTimeout(done, 200)
    try {
      watcher = watch(path, done)
      watcher.on('error', done)
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ENOSPC', 'EMFILE')) throw error
    }
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

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

function openOrUndefined(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}
