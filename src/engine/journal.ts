// What is under way, so that a killed command leaves a trace: `<state>/pending/<kind>-<key>`, held with flock(2) by the
// command that does it. The kernel drops the lock with its holder, so an entry that nobody holds is a job cut off,
// and the next command cleans it up (design decision D8).

import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { hasCode } from '../ffi/errno.ts'
import { flock, LOCK_EX, LOCK_NB } from '../ffi/libc.ts'
import { lockIfFree } from '../kernel/flock.ts'
import { faultPoint } from '../lib/fault.ts'
import { namesIfThere } from '../lib/if-there.ts'

/**
 * `connection`: networks or ports of a running container are being changed; the key is the container's. `rules`: those of the
 * firewall are being made anew.
 */
export type JobKind = (typeof jobKinds)[number]

const jobKinds = ['container', 'network', 'connection', 'rules'] as const

/** A job that was cut off. Its entry stays locked by us until `done` is called. */
export interface CutOffJob {
  readonly kind: JobKind
  readonly key: string
  /** What the job had noted down, or an empty string. */
  readonly note: string
  done(): void
}

/** One job under way. */
export interface Job {
  /** Notes down what would have to be undone. */
  note(text: string): void
  /** The same for a removal, which goes on where the disk is full: it makes room. */
  noteIfRoom(text: string): void
  /** The job has ended, well or with everything undone. */
  end(): void
  /** It could not be undone: the next command finds it cut off. */
  abandon(): void
  /** The next job of this process on the same thing goes on with it: it ends when that has begun. */
  handOn(): void
}

export class Journal {
  readonly #directory: string
  /** Jobs that were handed on, by kind and key. */
  readonly #handedOn = new Map<string, Job>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Enters a job. */
  begin(kind: JobKind, key: string): Job {
    // Several jobs may touch one key one after another while an entry waits for its lock: each has a name of its own.
    const subject = `${kind}-${key}`
    const name = `${subject}.${process.pid}.${nextNumber()}`
    const path = `${this.#directory}/${name}`
    const draft = `${this.#directory}/.${name}`
    const fd = this.#open(draft)
    try {
      faultPoint('job draft')
      // Held before it can be seen: an entry that nobody holds counts as cut off.
      flock(fd, LOCK_EX | LOCK_NB)
      renameSync(draft, path)
      faultPoint('job entered')
    } catch (error) {
      for (const file of [draft, path]) rmSync(file, { force: true })
      closeSync(fd)
      throw error
    }
    this.#handedOn.get(subject)?.end()
    this.#handedOn.delete(subject)
    const job: Job = {
      note: text => {
        writeFileSync(path, text)
        faultPoint('job noted')
      },
      noteIfRoom: text => {
        try {
          writeFileSync(path, text)
        } catch (error) {
          if (!hasCode(error, 'ENOSPC', 'EDQUOT')) throw error
        }
      },
      end: () => {
        rmSync(path, { force: true })
        closeSync(fd)
      },
      abandon: () => closeSync(fd),
      handOn: () => this.#handedOn.set(subject, job),
    }
    return job
  }

  /** What there are jobs of this kind for, also ones that were cut off. */
  keysOf(kind: JobKind): ReadonlySet<string> {
    const keys = this.#entries().map(name => /^([a-z]+)-(.+)\.\d+\.\d+$/.exec(name))
    return new Set(keys.flatMap(match => (match?.[1] === kind && match[2] !== undefined ? [match[2]] : [])))
  }

  /** Whether somebody is at such a job; whoever took a cut-off one over counts. */
  isUnderWay(kind: JobKind, key: string): boolean {
    return this.#entries()
      .filter(name => name.startsWith(`${kind}-${key}.`))
      .some(name => {
        const fd = lockIfFree(`${this.#directory}/${name}`, { flags: 'r+' })
        if (fd !== undefined) closeSync(fd)
        return fd === undefined
      })
  }

  /** The jobs that were cut off; each is locked for the caller. */
  cutOff(): CutOffJob[] {
    return this.#entries().flatMap(name => {
      const [, word, key] = /^([a-z]+)-(.+)\.\d+\.\d+$/.exec(name) ?? []
      const kind = jobKinds.find(known => known === word)
      const path = `${this.#directory}/${name}`
      const fd = lockIfFree(path, { flags: 'r+' })
      if (fd === undefined) return []
      const done = () => {
        rmSync(path, { force: true })
        closeSync(fd)
      }
      if (kind === undefined || key === undefined) {
        done()
        return []
      }
      return [{ kind, key, note: readFileSync(path, 'utf8'), done }]
    })
  }

  #entries(): string[] {
    return namesIfThere(this.#directory).filter(
      name => !name.startsWith('.') || isAbandonedDraft(this.#directory, name),
    )
  }

  #open(path: string): number {
    try {
      return openSync(path, 'wx', 0o600)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
      return openSync(path, 'wx', 0o600)
    }
  }
}

let number = 0
function nextNumber(): number {
  number += 1
  return number
}

/** A draft is renamed within microseconds: one whose process has gone, or that is seconds old, was cut off, too. */
function isAbandonedDraft(directory: string, name: string): boolean {
  const [, pid] = /\.(\d+)\.\d+$/.exec(name) ?? []
  if (pid !== undefined && !existsSync(`/proc/${pid}`)) return true
  const stat = statSync(`${directory}/${name}`, { throwIfNoEntry: false })
  return stat !== undefined && Date.now() - stat.mtimeMs > 10_000
}
