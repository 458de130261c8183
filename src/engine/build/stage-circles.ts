// Who waits for whom while stages are built. The plan has no circle; but ONBUILD of a base image may ask for a stage that the plan
// did not know of, and two stages that wait for each other would wait for ever.

import { syntaxError } from './dockerfile/syntax-error.ts'
import type { BuildPlan } from './stage-plan.ts'

export class StageCircles {
  readonly #plan: BuildPlan
  readonly #waits = new Map<number, Set<number>>()

  constructor(plan: BuildPlan) {
    this.#plan = plan
  }

  /** Notes that a stage waits for another one. @throws TsrunError invalid: that one waits for it already, by whatever way */
  refuse(waiting: number, needed: number): void {
    if (this.#reaches(needed, waiting)) {
      const { stage } = this.#plan.stageAt(waiting)
      const [one, other] = [waiting, needed].map(index => `"${this.#plan.stageAt(index).stage.name ?? index}"`)
      throw syntaxError(
        stage.from,
        one === other
          ? `the stage ${one} takes files from itself`
          : `the stage ${one} takes files from ${other}, which needs ${one} itself`,
        'ONBUILD of a base image may ask for it: `tsrun inspect` shows it',
      )
    }
    this.#waits.set(waiting, (this.#waits.get(waiting) ?? new Set()).add(needed))
  }

  #reaches(from: number, to: number, seen = new Set<number>()): boolean {
    if (from === to) return true
    if (seen.has(from)) return false
    seen.add(from)
    const { base } = this.#plan.stageAt(from)
    const next = [...(this.#waits.get(from) ?? []), ...(base.kind === 'stage' ? [base.index] : [])]
    return next.some(index => this.#reaches(index, to, seen))
  }
}
