// Joins this process's terminal or pipes to an attachment, and puts the terminal back however it ends.

import type { Attachment } from '../engine/container/attachment.ts'
import { makeRaw } from '../engine/raw-terminal.ts'
import { guardStdout } from './print.ts'
import { forwardSignals } from './signals.ts'

export interface JoinOptions {
  readonly tty: boolean
  readonly stdin: boolean
  /** Which of its outputs are shown; default: both. Holding `stdin` alone shows neither. */
  readonly outputs?: readonly string[]
  /** Receives signals that this process gets, where the container has no terminal. */
  readonly onSignal?: (signal: NodeJS.Signals) => void
  /** Bytes that detach; undefined for none. Only with a terminal. */
  readonly detachKeys?: Buffer
}

/** How a session ended. */
export type JoinResult =
  | { readonly kind: 'exit'; readonly code: number | undefined }
  | { readonly kind: 'detached' }
  /** Nobody reads our standard output any more. */
  | { readonly kind: 'reader-gone' }

/** The size of this terminal, if it is one. */
export function terminalSize(): { rows: number; columns: number } | undefined {
  const { rows, columns } = process.stdout
  return process.stdout.isTTY ? { rows, columns } : undefined
}

/** Runs until the container ends or the user detaches. */
export async function joinTerminal(attachment: Attachment, options: JoinOptions): Promise<JoinResult> {
  const leave: (() => void)[] = []
  try {
    let detach: (() => void) | undefined
    const detached = new Promise<JoinResult>(resolve => {
      detach = () => {
        // The prompt of whoever called us belongs on a line of its own.
        if (process.stdout.isTTY) process.stdout.write('\r\n')
        resolve({ kind: 'detached' })
      }
    })
    const readerGone = new Promise<JoinResult>(resolve => guardStdout(() => resolve({ kind: 'reader-gone' })))
    for (const stream of ['stdout', 'stderr'] as const) {
      if (options.outputs?.includes(stream) !== false) attachment[stream].pipe(process[stream], { end: false })
      else attachment[stream].resume()
    }
    if (options.tty) leave.push(followSize(attachment))
    if (options.tty && process.stdin.isTTY && options.stdin) leave.push(enterRawMode())
    if (options.stdin) leave.push(feedStdin(attachment, options, () => detach?.()))
    if (options.onSignal !== undefined && !(options.tty && process.stdin.isTTY))
      leave.push(forwardSignals(options.onSignal))
    const ended = attachment.exit.then(async code => {
      await Promise.all([drained(attachment.stdout, process.stdout), drained(attachment.stderr, process.stderr)])
      return { kind: 'exit' as const, code }
    })
    return await Promise.race([ended, detached, readerGone])
  } finally {
    for (const undo of leave.reverse()) undo()
  }
}

function enterRawMode(): () => void {
  const restore = makeRaw(0)
  // Also when we are ended: a terminal left in raw mode is a broken one.
  process.once('exit', restore)
  const onEnd = (signal: NodeJS.Signals) => {
    restore()
    process.kill(process.pid, signal)
  }
  const signals = ['SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.once(signal, onEnd)
  return () => {
    restore()
    process.off('exit', restore)
    for (const signal of signals) process.off(signal, onEnd)
  }
}

function followSize(attachment: Attachment): () => void {
  const resize = () => {
    const size = terminalSize()
    if (size !== undefined) attachment.resize(size.rows, size.columns)
  }
  resize()
  process.on('SIGWINCH', resize)
  return () => process.off('SIGWINCH', resize)
}

function feedStdin(attachment: Attachment, options: JoinOptions, detach: () => void): () => void {
  const { stdin } = process
  const keys = options.tty ? options.detachKeys : undefined
  const filter = keys === undefined || keys.length === 0 ? undefined : new DetachFilter(keys)
  const onData = (chunk: Buffer) => {
    const { bytes, detaches } = filter === undefined ? { bytes: chunk, detaches: false } : filter.push(chunk)
    const isTaken = bytes.length === 0 || attachment.stdin.write(bytes)
    if (detaches) detach()
    else if (!isTaken) {
      stdin.pause()
      attachment.stdin.once('drain', onDrain)
    }
  }
  const onDrain = () => stdin.resume()
  // A terminal has no end but by being hung up, which is no end of input.
  const onEnd = () => {
    if (!options.tty || !stdin.isTTY) attachment.stdin.end()
  }
  stdin.on('data', onData)
  stdin.on('end', onEnd)
  return () => {
    stdin.off('data', onData)
    stdin.off('end', onEnd)
    // Or an input without end would be read for ever, and we with it.
    attachment.stdin.off('drain', onDrain)
    stdin.pause()
    stdin.unref?.()
  }
}

/** Holds back what may be the start of the detach keys. */
class DetachFilter {
  readonly #keys: Buffer
  #matched = 0

  constructor(keys: Buffer) {
    this.#keys = keys
  }

  /** @returns what goes on to the container, and whether the keys are complete: what comes behind them is dropped */
  push(chunk: Buffer): { readonly bytes: Buffer; readonly detaches: boolean } {
    const out: number[] = []
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched += 1
        if (this.#matched === this.#keys.length) return { bytes: Buffer.from(out), detaches: true }
        continue
      }
      out.push(...this.#keys.subarray(0, this.#matched))
      this.#matched = byte === this.#keys[0] ? 1 : 0
      if (this.#matched === 0) out.push(byte)
    }
    return { bytes: Buffer.from(out), detaches: false }
  }
}

/** Settles when everything that came out of `from` has been taken by `to`. */
async function drained(
  from: NodeJS.ReadableStream & { readableEnded?: boolean },
  to: NodeJS.WriteStream,
): Promise<void> {
  if (from.readableEnded !== true) await new Promise(resolve => from.once('end', resolve))
  if (to.writableLength > 0) await new Promise<void>(resolve => to.write('', () => resolve()))
}
