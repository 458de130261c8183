// Short texts on standard output, without the stream behind process.stdout: setting that up takes longer than many verbs.

import { writeSync } from 'node:fs'
import { renderError } from './render-error.ts'

/** What a shell makes of a program that SIGPIPE ended. */
export const SIGPIPE_EXIT_CODE = 141

/** Writes `text` whole. A reader that has gone ends the process quietly, as SIGPIPE would. */
export function print(text: string): void {
  let rest = Buffer.from(text)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'EPIPE') process.exit(SIGPIPE_EXIT_CODE)
      // Somebody made the descriptor non-blocking, and its reader is slow.
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
      else throw error
    }
  }
}

/**
 * The same manners for what is written through process.stdout.
 * @param onGone what to do when the reader has gone; default: end the process
 */
export function guardStdout(onGone: () => void = () => process.exit(SIGPIPE_EXIT_CODE)): void {
  process.stdout.removeAllListeners('error')
  process.stdout.on('error', (error: Error & { code?: string }) => {
    if (error.code === 'EPIPE') return onGone()
    // Nobody awaits what was written: told here, and with the exit code of what could not be done.
    process.stderr.write(renderError(error))
    process.exit(1)
  })
}
