// What can be changed about a container that exists: its name, its limits and its restart policy.

import { updateCgroup } from '../../kernel/cgroup/cgroup.ts'
import { faultPoint } from '../../lib/fault.ts'
import { withRollback } from '../../lib/rollback.ts'
import type { Container, RestartPolicy, RunRecord } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { validateResources } from '../../model/parse-resources.ts'
import type { Resources } from '../../model/resources.ts'
import type { EngineContext } from '../context.ts'
import { usesResolver } from '../dns/uses-resolver.ts'
import { assertName } from '../ids.ts'
import { emitContainer } from './container-events.ts'

/** Absent fields stay as they are. */
export interface ContainerUpdate {
  readonly resources?: Omit<Resources, 'devices'>
  readonly restart?: RestartPolicy
}

/** @throws TsrunError invalid, conflict (name taken) */
export async function renameContainer(context: EngineContext, container: Container, name: string): Promise<void> {
  assertName('container', name)
  await context.locks.withContainer(container.id, async () => {
    const { store } = context
    const current = store.read(container.id)
    if (current === undefined || current.name === name)
      throw new TsrunError('conflict', 'same-name', `cannot rename "${container.name}": that is its name already`)
    const job = context.journal.begin('container', container.id)
    try {
      await withRollback(async undo => {
        store.reserveName(name, container.id)
        undo.add('new name', () => store.releaseName(name, container.id))
        undo.add('renamed record', () => store.write(current))
        store.write({ ...current, name })
        const run = store.readRun(container.id)
        if (run === undefined) return
        undo.add('renamed run record', () => renameRunning(context, current, run))
        await renameRunning(context, { ...current, name }, run)
      })
      store.releaseName(current.name, container.id)
      faultPoint('old name released')
      job.end()
    } catch (error) {
      job.abandon()
      throw error
    }
    emitContainer(context, { ...current, name }, 'rename', { oldName: `/${current.name}` })
  })
}

/** Finishes a renaming that was cut off: the record says what the container is called. The caller holds no lock. */
export async function settleName(context: EngineContext, id: string): Promise<void> {
  await context.locks.withContainer(id, async () => {
    const { store } = context
    const container = store.read(id)
    if (container === undefined) return
    store.releaseNames(id, container.name)
    const run = store.readRun(id)
    if (run?.endpoints.some(({ containerName }) => containerName !== container.name))
      await renameRunning(context, container, run)
  })
}

/** Its names on its networks change with it, at once. */
async function renameRunning(context: EngineContext, container: Container, run: RunRecord): Promise<void> {
  const { id, name } = container
  const renamed = { ...run, endpoints: run.endpoints.map(endpoint => ({ ...endpoint, containerName: name })) }
  context.store.writeRun(id, renamed)
  if (!usesResolver(context, id)) return
  const { updateNames } = await import('../dns/serve-names.ts')
  await updateNames(context, container, renamed)
}

/** Changes the record, and the limits of a running container at once. @throws TsrunError invalid, system */
export async function updateContainer(
  context: EngineContext,
  container: Container,
  update: ContainerUpdate,
): Promise<void> {
  await context.locks.withContainer(container.id, async () => {
    const { store } = context
    const current = store.read(container.id)
    if (current === undefined) return
    const { spec } = current
    if (spec.autoRemove === true && update.restart !== undefined && update.restart.name !== 'no')
      throw new TsrunError(
        'conflict',
        'restart-and-remove',
        `cannot update "${current.name}": it was started with --rm`,
        {
          hint: 'a container that is removed at its end cannot be restarted',
        },
      )
    const resources = mergeResources(spec.resources ?? {}, update.resources ?? {})
    validateResources(resources)
    const run = store.liveRun(container.id)
    await withRollback(async undo => {
      // The record first: the kernel may refuse a limit, and then it is put back; what is in force cannot be, for want of a word for none.
      undo.add('update of the record', () => store.write(current))
      store.write({
        ...current,
        spec: { ...spec, resources, ...(update.restart === undefined ? {} : { restart: update.restart }) },
      })
      if (run !== undefined && update.resources !== undefined)
        updateCgroup(run.cgroup, liveChange(resources, update.resources))
    })
    faultPoint('limits changed')
    emitContainer(context, current, 'update')
  })
}

/** A new wish for processors ends the older one in the other unit. */
function mergeResources(old: Resources, change: Omit<Resources, 'devices'>): Resources {
  const { cpus: _cpus, ...withoutCpus } = old
  const { cpuQuotaUs: _quota, cpuPeriodUs: _period, ...withoutQuota } = old
  if (change.cpus !== undefined) return { ...withoutQuota, ...change }
  if (change.cpuQuotaUs !== undefined || change.cpuPeriodUs !== undefined) return { ...withoutCpus, ...change }
  return { ...old, ...change }
}

/** Only what changes; memory and swap go together. */
function liveChange(merged: Resources, change: Omit<Resources, 'devices'>): Resources {
  const touchesMemory = change.memoryBytes !== undefined || change.memorySwapBytes !== undefined
  const { memoryBytes, memorySwapBytes } = merged
  return {
    ...change,
    ...(touchesMemory && memoryBytes !== undefined ? { memoryBytes } : {}),
    ...(touchesMemory && memorySwapBytes !== undefined ? { memorySwapBytes } : {}),
  }
}
