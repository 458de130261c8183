// Goes through the fields of a matrix of faults, in several worlds side by side, and prints what fails.

import type { FaultWorld } from '../test/faults/fault-matrix.ts'

/** What takes longer is worth a look: something waits for a bound. */
const slowMs = 10_000

export interface TrialRun<T> {
  /** Ends after that long, whatever is left. */
  readonly minutes?: number
  /** @returns what is wrong, one line each */
  readonly run: (world: FaultWorld, trial: T) => Promise<string[]>
  readonly title: (trial: T) => string
}

/** The cases that the command line of `script` names; all when it names none. Ends the process when there is no such case. */
export function chosenCases<Case extends { readonly title: string }>(
  script: string,
  cases: readonly Case[],
  titles: readonly string[],
): readonly Case[] {
  const unknown = titles.filter(title => !cases.some(of => of.title === title))
  if (unknown.length > 0) {
    console.error(`${script}: no case "${unknown.join('", "')}"; there are: ${cases.map(of => of.title).join(', ')}`)
    process.exit(1)
  }
  return titles.length === 0 ? cases : cases.filter(of => titles.includes(of.title))
}

/** Each world takes the next trial. @returns how many failed, and how many were not tried */
export async function runTrials<T>(
  worlds: readonly FaultWorld[],
  trials: readonly T[],
  { minutes = Number.POSITIVE_INFINITY, run, title }: TrialRun<T>,
): Promise<{ failed: number; left: number }> {
  const end = Date.now() + minutes * 60_000
  let failed = 0
  let next = 0
  const work = async (world: FaultWorld) => {
    while (Date.now() < end) {
      const trial = trials[next]
      if (trial === undefined) return
      next += 1
      if (next % 50 === 0) console.log(`${next} of ${trials.length}, ${failed} failed`)
      const began = Date.now()
      const problems = await run(world, trial)
      const ms = Date.now() - began
      if (ms > slowMs) console.log(`slow: ${title(trial)}: ${ms} ms`)
      if (problems.length > 0) failed += 1
      for (const problem of problems) console.log(`FAILED ${problem.trimEnd()}`)
    }
  }
  await Promise.all(worlds.map(work))
  return { failed, left: trials.length - next }
}
