// Verbs that take several names do all they can, and fail at the end when one of them failed.

import { Rehearsed } from '../engine/explain.ts'
import { print, printError } from './print.ts'
import { renderError } from './render-error.ts'

/** Runs `act` on each name, prints what it returns, or its error. @returns the exit code */
export async function forEach(
  names: readonly string[],
  act: (name: string) => Promise<string | undefined>,
  failureCode = 1,
): Promise<number> {
  let code = 0
  for (const name of names) {
    try {
      const line = await act(name)
      if (line !== undefined) print(`${line}\n`)
    } catch (error) {
      if (error instanceof Rehearsed) continue
      printError(renderError(error))
      code = failureCode
    }
  }
  return code
}
