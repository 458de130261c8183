// The undo stack of design decision D9: each step that changes the machine registers its inverse at once.
// Failure undoes newest first and the first error wins. Each step is also a named fault point (see fault.ts).

import { faultPoint } from './fault.ts'

/** What goes wrong while something is being undone or torn down: every failure, listed once. */
export class CleanupError extends Error {
  /** Every step that failed, in the order in which they were tried. */
  readonly failures: readonly { readonly step: string; readonly error: unknown }[]

  /** @internal */
  constructor(failures: readonly { step: string; error: unknown }[]) {
    super(`cleanup failed: ${failures.map(f => `${f.step}: ${messageOf(f.error)}`).join('; ')}`)
    this.name = 'CleanupError'
    this.failures = failures
  }

  /** What each step failed of, also those of steps of steps. */
  reasons(): unknown[] {
    return this.failures.flatMap(({ error }) => (error instanceof CleanupError ? error.reasons() : [error]))
  }
}

/** The inverses registered so far, newest last. */
export class Undo {
  readonly #steps: { step: string; inverse: () => void | Promise<void> }[] = []

  /** Registers `inverse` for the step that has just been done. `step` names the fault point behind it. */
  add(step: string, inverse: () => void | Promise<void>): void {
    this.#steps.push({ step, inverse })
    faultPoint(step)
  }

  /** Runs the inverses newest first, each of them even when another failed. @throws CleanupError */
  async run(): Promise<void> {
    const failures: { step: string; error: unknown }[] = []
    for (let entry = this.#steps.pop(); entry !== undefined; entry = this.#steps.pop()) {
      try {
        await entry.inverse()
      } catch (error) {
        failures.push({ step: entry.step, error })
      }
    }
    if (failures.length > 0) throw new CleanupError(failures)
  }

  /** Forgets the inverses: what was done stays. */
  keep(): void {
    this.#steps.length = 0
  }
}

/**
 * Runs `task` with an undo stack. When it throws, everything registered is undone and the task's own error is thrown;
 * what failed on the way back is attached to it as `cleanupError`.
 */
export async function withRollback<T>(task: (undo: Undo) => Promise<T>): Promise<T> {
  const undo = new Undo()
  try {
    return await task(undo)
  } catch (error) {
    try {
      await undo.run()
    } catch (cleanupError) {
      if (error instanceof Error) Object.assign(error, { cleanupError })
    }
    throw error
  }
}

/** Does every step, whatever fails, and reports all failures at the end. @throws CleanupError */
export async function doAll(steps: readonly (readonly [string, () => void | Promise<void>])[]): Promise<void> {
  const failures: { step: string; error: unknown }[] = []
  for (const [step, run] of steps) {
    try {
      await run()
      faultPoint(step)
    } catch (error) {
      failures.push({ step, error })
    }
  }
  if (failures.length > 0) throw new CleanupError(failures)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
