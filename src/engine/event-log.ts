// Events on disk, `<state>/events.jsonl`: one JSON object a line, appended whole by whatever command made it happen. When the
// file is full it becomes `events.jsonl.1`, so that there are never more than two.

import { closeSync, fstatSync, mkdirSync, openSync, readSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { hasCode, isRefusedWrite } from '../ffi/errno.ts'
import { isStill, tryLock } from '../kernel/flock.ts'
import { openIfThere } from '../lib/if-there.ts'
import { watchQuietly } from './watch-quietly.ts'

const DEFAULT_MAX_BYTES = 1 << 20
/** It is renamed within microseconds; who was stopped in the middle of that must not keep others from writing. */
const MAX_ATTEMPTS = 1000
/** What a watch cannot see (another file system, no inotify watches left) is seen by then. */
const POLL_MS = 500

export class EventLog {
  readonly #path: string
  readonly #maxBytes: number

  constructor(path: string, options: { maxBytes?: number } = {}) {
    this.#path = path
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES
  }

  /**
   * Adds one line. A line is one write(2) to a file opened for appending, so lines of several processes never mix. Where there is no
   * room for it, it is lost: what it tells has been done, and must not fail for want of a note.
   */
  append(line: string): void {
    try {
      this.#append(line)
    } catch (error) {
      if (!isRefusedWrite(error)) throw error
    }
  }

  #append(line: string): void {
    const fd = this.#openShared()
    try {
      writeSync(fd, `${line}\n`)
      if (fstatSync(fd).size >= this.#maxBytes) this.#rotate(fd)
    } finally {
      closeSync(fd)
    }
  }

  /** The newest file, which nobody renames as long as it is open: who follows would not look into it again. */
  #openShared(): number {
    for (let attempt = 0; ; attempt += 1) {
      const fd = this.#open()
      if ((tryLock(fd, true) && isStill(this.#path, fd)) || attempt === MAX_ATTEMPTS) return fd
      closeSync(fd)
    }
  }

  /** The lines there are, oldest first; with a signal, also those to come until it is aborted. */
  async *lines(follow?: AbortSignal): AsyncGenerator<string> {
    const reader = new Reader(this.#path)
    try {
      for (;;) {
        yield* reader.read()
        if (follow === undefined || follow.aborted) return
        await this.#change(follow)
      }
    } finally {
      reader.close()
    }
  }

  #open(): number {
    try {
      return openSync(this.#path, 'a', 0o600)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 })
      return openSync(this.#path, 'a', 0o600)
    }
  }

  /**
   * Only the one who alone holds the lock of the file that still stands there renames it: a fresh one must not follow it. Where
   * another is about to write, the next one does it.
   */
  #rotate(fd: number): void {
    if (tryLock(fd) && isStill(this.#path, fd)) renameSync(this.#path, `${this.#path}.1`)
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const watcher = watchQuietly(dirname(this.#path), () => done())
      const timer = setTimeout(() => done(), POLL_MS)
      const done = () => {
        clearTimeout(timer)
        watcher?.close()
        signal.removeEventListener('abort', done)
        resolve()
      }
      signal.addEventListener('abort', done, { once: true })
    })
  }
}

/** Reads the older file, then the newer line by line as it grows, and goes over to its successor when it has been renamed. */
class Reader {
  readonly #path: string
  #fd: number | undefined
  #rest = ''

  constructor(path: string) {
    this.#path = path
  }

  *read(): Generator<string> {
    for (;;) {
      if (this.#fd === undefined && !this.#goOver()) return
      const fd = this.#fd ?? -1
      // Looked at before reading: nothing is added to a file that has been renamed.
      const isNewest = isStill(this.#path, fd)
      yield* this.#readOpen(fd)
      if (isNewest || !this.#goOver()) return
    }
  }

  /** To the oldest file there is that comes behind the one that has been read. @returns false where there is none yet */
  #goOver(): boolean {
    // In this order: what is renamed between the two is found under both names, and not passed over.
    const [newer, older] = [openIfThere(this.#path), openIfThere(`${this.#path}.1`)]
    const isOlderNext = older !== undefined && (this.#fd === undefined || !isSame(older, this.#fd))
    const [next, other] = isOlderNext ? [older, newer] : [newer, older]
    if (other !== undefined) closeSync(other)
    if (next === undefined) return false
    this.close()
    this.#fd = next
    return true
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#rest = ''
  }

  *#readOpen(fd: number): Generator<string> {
    const buffer = Buffer.allocUnsafe(1 << 16)
    for (let length = readSync(fd, buffer); length > 0; length = readSync(fd, buffer)) {
      const text = this.#rest + buffer.toString('latin1', 0, length)
      const end = text.lastIndexOf('\n') + 1
      this.#rest = text.slice(end)
      yield* wholeLines(Buffer.from(text.slice(0, end), 'latin1').toString('utf8'))
    }
  }
}

function isSame(one: number, other: number): boolean {
  return fstatSync(one).ino === fstatSync(other).ino
}

function wholeLines(text: string): string[] {
  return text.split('\n').filter(line => line !== '')
}
