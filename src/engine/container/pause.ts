// Puts a running container to sleep where it is, and lets it go on. That it is asleep is the file `paused` in its run folder.

import { rmSync, writeFileSync } from 'node:fs'
import { freezeCgroup, thawCgroup } from '../../kernel/cgroup/cgroup.ts'
import { faultPoint } from '../../lib/fault.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EngineContext } from '../context.ts'
import { emitContainer } from './container-events.ts'
import { runningOrThrow } from './running-or-throw.ts'

/** Returns when every process of it stands still. @throws TsrunError conflict (not running, paused already), unsupported */
export async function pauseContainer(context: EngineContext, container: Container): Promise<void> {
  await context.locks.withContainer(container.id, async () => {
    const run = runningOrThrow(context, container, 'pause')
    if (context.store.isPaused(container.id))
      throw new TsrunError('conflict', 'already-paused', `cannot pause "${container.name}": it is paused`)
    // The mark comes first: a crash in between leaves a container that `unpause` and `stop` know to thaw.
    const marker = context.paths.runFile(container.id, 'paused')
    writeFileSync(marker, '')
    try {
      faultPoint('marked as paused')
      await freezeCgroup(run.cgroup)
      faultPoint('frozen')
    } catch (error) {
      thawCgroup(run.cgroup)
      rmSync(marker, { force: true })
      throw error
    }
    emitContainer(context, container, 'pause')
  })
}

/** @throws TsrunError conflict when it is not paused */
export async function unpauseContainer(context: EngineContext, container: Container): Promise<void> {
  await context.locks.withContainer(container.id, async () => {
    const { status, run } = context.store.state(container.id)
    if (run === undefined || status !== 'paused')
      throw new TsrunError('conflict', 'not-paused', `cannot unpause "${container.name}": it is not paused`)
    thawCgroup(run.cgroup)
    faultPoint('thawed')
    rmSync(context.paths.runFile(container.id, 'paused'), { force: true })
    faultPoint('marked as running')
    emitContainer(context, container, 'unpause')
  })
}
