// The namespaces of another container, for one that is started in them.

import { appendFileSync, closeSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { openProcessNetns } from '../../kernel/netns.ts'
import { readTextIfThere } from '../../lib/if-there.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { DisconnectOptions } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { isAlive } from './container-store.ts'
import { runningOrThrow } from './running-or-throw.ts'

/** In the run folder: the ids of those that were started in its network namespace, one a line. */
const JOINERS = 'joiners'

/**
 * The path of a namespace of the container `reference`, which `container` is started in.
 * @param file below /proc/PID/ns
 * @throws TsrunError not-found; conflict when it shares its ipc namespace with nobody, or when it is not running. One that is paused has its namespaces, and can be joined
 */
export function joinedNamespace(
  context: EngineContext,
  container: Container,
  reference: string,
  file: 'net' | 'pid' | 'ipc' | 'uts' | 'user',
): string {
  const deed = deedOf(container, file)
  const joined = context.store.find(reference)
  const { ipcMode } = joined.spec
  if (file === 'ipc' && (ipcMode === 'private' || ipcMode === 'none'))
    throw new TsrunError(
      'conflict',
      'not-shareable',
      `cannot ${deed} "${joined.name}": it was created with --ipc ${ipcMode}`,
      {
        hint: 'create it with --ipc shareable',
      },
    )
  const { pid } = runningOrThrow(context, joined, deed)
  if (file === 'net') noteJoiner(context, joined, { id: container.id, deed })
  return `/proc/${pid}/ns/${file}`
}

function deedOf({ name }: Container, file: string): string {
  return `start "${name}" in the ${file} namespace of`
}

/**
 * Notes the lives of the containers whose namespaces `container` is started in.
 * @returns a check that they have not ended since: then a path of joinedNamespace() may have become another process's.
 * It throws TsrunError conflict, with the cause that it is given
 */
export function notingJoined(context: EngineContext, container: Container): (cause?: unknown) => void {
  const { networks, pidMode, ipcMode, utsMode } = container.spec
  const modes = { net: networks?.[0]?.network, pid: pidMode, ipc: ipcMode, uts: utsMode }
  const joined = Object.entries(modes).flatMap(([file, mode]) => {
    if (mode?.startsWith('container:') !== true) return []
    const other = context.store.find(mode.slice('container:'.length))
    const deed = deedOf(container, file)
    return [{ other, deed, life: runningOrThrow(context, other, deed) }]
  })
  return cause => {
    for (const { other, deed, life } of joined) {
      if (isAlive(life)) continue
      const message = `cannot ${deed} "${other.name}": it has just ended`
      throw new TsrunError('conflict', 'not-running', message, { cause })
    }
  }
}

/** While that runs, and before its namespace is opened: whoever sees to its end finds all that got in. */
function noteJoiner(context: EngineContext, joined: Container, { id, deed }: { id: string; deed: string }): void {
  try {
    appendFileSync(context.paths.runFile(joined.id, JOINERS), `${id}\n`, { mode: 0o600 })
  } catch (error) {
    if (hasCode(error, 'ENOENT')) runningOrThrow(context, joined, deed)
    throw error
  }
}

/**
 * Runs `task` with what is left of the network namespace of a container that has ended: nothing, unless others were started in it.
 * These may have ended as well.
 */
export async function withRestOfNamespace<T>(
  { paths, store }: EngineContext,
  id: string,
  task: (rest: DisconnectOptions) => Promise<T>,
): Promise<T> {
  const joiners = (readTextIfThere(paths.runFile(id, JOINERS)) ?? '').split('\n').filter(Boolean)
  if (joiners.length === 0) return task({ sandboxGone: true })
  const run = joiners.map(joiner => store.liveRun(joiner)).find(live => live !== undefined)
  const netnsFd = run === undefined ? undefined : openProcessNetns(run.pid, run.pidStartTime)
  try {
    return await task({ sandboxGone: false, ...(netnsFd === undefined ? {} : { sandbox: { netnsFd } }) })
  } finally {
    if (netnsFd !== undefined) closeSync(netnsFd)
  }
}
