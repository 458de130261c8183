// Verbs that take several names do all they can, and fail at the end when one of them failed.

import { isExplaining, Rehearsed } from '../engine/explain.ts'
import { limiter } from '../lib/limit.ts'
import { print, printError } from './print.ts'
import { renderError } from './render-error.ts'

/**
 * Runs `act` on each name, and prints what it returns, or its error, in the order of the names.
 * @param options atOnce how many at a time, for what mostly waits; one where it is explained: lines of several would be mixed
 * isFine: errors that are printed and do not count
 * @returns the exit code
 */
export async function forEach(
  names: readonly string[],
  act: (name: string) => Promise<string | undefined>,
  { atOnce = 1, isFine }: { readonly atOnce?: number; readonly isFine?: (error: unknown) => boolean } = {},
): Promise<number> {
  const inTurn = limiter(isExplaining() ? 1 : atOnce)
  // One that is named twice is acted on twice, not at once: what is removed is not there any more.
  const turns = new Map<string, Promise<unknown>>()
  const outcomes = names.map(name => {
    const before = turns.get(name) ?? Promise.resolve()
    const outcome = before
      .then(() => inTurn(() => act(name)))
      .then(
        line => () => {
          if (line !== undefined) print(`${line}\n`)
          return 0
        },
        (error: unknown) => () => {
          if (error instanceof Rehearsed) return 0
          printError(renderError(error))
          return isFine?.(error) === true ? 0 : 1
        },
      )
    turns.set(name, outcome)
    return outcome
  })
  let code = 0
  for (const outcome of outcomes) code = Math.max(code, (await outcome)())
  return code
}
