// Texts on standard output and standard error, without the streams behind process.stdout and process.stderr: setting one up takes
// longer than many verbs.

import { writeSync } from 'node:fs'
import { outputError } from '../model/output-error.ts'
import { renderError } from './render-error.ts'

/** What a shell makes of a program that SIGPIPE ended. */
export const SIGPIPE_EXIT_CODE = 141

/**
 * Writes all of `text` to standard output. A reader that has gone ends the process quietly, as SIGPIPE would.
 * @throws TsrunError system
 */
export function print(text: string | Uint8Array): void {
  try {
    writeAll(1, text, () => process.exit(SIGPIPE_EXIT_CODE))
  } catch (error) {
    throw outputError('standard output', error)
  }
}

/** Writes all of `text` to standard error. Where that cannot be, nobody can be told. */
export function printError(text: string | Uint8Array): void {
  try {
    writeAll(2, text, () => {})
  } catch {
    // As of any program whose standard error is a full disk: the exit code says it.
  }
}

function writeAll(fd: number, text: string | Uint8Array, onGone: () => void): void {
  let rest = Buffer.from(text)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest))
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'EPIPE') {
        onGone()
        return
      }
      // Somebody made the descriptor non-blocking, and its reader is slow.
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
      else throw error
    }
  }
}

/**
 * The same manners for the stream process.stdout, for verbs that copy streams to it.
 * @returns process.stdout
 * @param onGone what to do when the reader has gone; default: end the process
 */
export function guardStdout(onGone: () => void = () => process.exit(SIGPIPE_EXIT_CODE)): NodeJS.WriteStream {
  process.stdout.removeAllListeners('error')
  process.stdout.on('error', (error: Error & { code?: string }) => {
    if (error.code === 'EPIPE') return onGone()
    endUnwritten(outputError('standard output', error))
  })
  return process.stdout
}

/** Ends the process where nobody awaits what was written: told here, with the exit code of what could not be done. */
export function endUnwritten(error: unknown): never {
  printError(renderError(error))
  process.exit(1)
}
