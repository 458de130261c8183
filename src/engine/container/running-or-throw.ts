// What can only be done to a container that runs.

import type { Container, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EngineContext } from '../context.ts'

/** @param deed as in `cannot DEED "web"` @throws TsrunError conflict when its first process does not live; one that is paused does */
export function runningOrThrow(
  { store }: Pick<EngineContext, 'store'>,
  { id, name }: Container,
  deed: string,
): RunRecord {
  const run = store.liveRun(id)
  if (run !== undefined) return run
  throw new TsrunError('conflict', 'not-running', `cannot ${deed} "${name}": it is not running`, {
    hint: `\`tsrun start ${name}\` starts it`,
  })
}
