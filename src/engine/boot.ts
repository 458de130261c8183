// After the machine has started: puts the networks back, and starts the containers whose policy says so. Without a daemon
// somebody has to call it once: `tsrun system up`, from scripts/systemd/tsrun.service.

import { unlessDamaged } from '../lib/state-file.ts'
import type { Container } from '../model/container.ts'
import { startsAtBoot } from './container/restart.ts'
import { startContainer } from './container/start-container.ts'
import type { EngineContext } from './context.ts'

/** One thing that was put back, or could not be. */
export interface BootStep {
  readonly kind: 'network' | 'container'
  readonly name: string
  readonly error?: unknown
}

/** Does all it can. What runs already is left alone, so it may be called at any time. */
export async function* bringUp(context: EngineContext): AsyncGenerator<BootStep> {
  for (const { id, name } of context.networks.list())
    yield await attempt('network', name, async () => void (await context.networks.bringUp(id)))
  const waiting = context.store.list().filter(startsAtBoot).reverse()
  // Twice: a container may need another one's namespace or volumes, which may have been made after it.
  const failed: Container[] = []
  for (const container of waiting.filter(each => isDown(context, each))) {
    const step = await attempt('container', container.name, () => start(context, container))
    if (step.error === undefined) yield step
    else failed.push(container)
  }
  for (const container of failed) yield await attempt('container', container.name, () => start(context, container))
}

function isDown(context: EngineContext, { id }: Container): boolean {
  const status = unlessDamaged(() => context.store.state(id).status)
  return status === 'created' || status === 'exited'
}

async function start(context: EngineContext, { id }: Container): Promise<void> {
  await startContainer(context, id)
}

async function attempt(kind: BootStep['kind'], name: string, task: () => Promise<void>): Promise<BootStep> {
  try {
    await task()
    return { kind, name }
  } catch (error) {
    return { kind, name, error }
  }
}
