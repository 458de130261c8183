// `network reload` inside the containers of a network: what tsrun made in their namespaces and somebody has taken away.

import { SyscallError } from '../../ffi/errno.ts'
import { unlessDamaged } from '../../lib/state-file.ts'
import type { Container, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { settleWays } from '../network/source-ways.ts'
import { withSandbox } from './container-netns.ts'

/** Restores routing rules and the way to the resolver in every running container on the network, but damaged ones. Idempotent. */
export async function mendInside(context: EngineContext, network: Network): Promise<void> {
  for (const id of context.store.runningIds()) {
    const isOn = unlessDamaged(() => context.store.readRun(id))?.endpoints.some(
      ({ networkId }) => networkId === network.id,
    )
    if (isOn === true) await context.locks.withContainer(id, () => mend(context, id))
  }
}

async function mend(context: EngineContext, id: string): Promise<void> {
  const container = unlessDamaged(() => context.store.read(id))
  const run = unlessDamaged(() => context.store.liveRun(id))
  if (container === undefined || run === undefined) return
  try {
    await mendRunning(context, container, run)
  } catch (error) {
    // It ends this very moment, or has torn its interfaces down itself: the others are mended all the same.
    if (!(error instanceof TsrunError && error.code === 'not-running') && !(error instanceof SyscallError)) throw error
    if (process.env.TSRUN_DEBUG !== undefined) process.stderr.write(`tsrun: ${container.name} not mended: ${error}\n`)
  }
}

async function mendRunning(context: EngineContext, container: Container, run: RunRecord): Promise<void> {
  const networks = context.networks.list()
  await withSandbox(container, run, sandbox =>
    settleWays(sandbox, { endpoints: run.endpoints, networks, label: container.name }),
  )
  const { mendNames } = await import('../dns/serve-names.ts')
  await mendNames(context, container, run)
}
