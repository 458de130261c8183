// The namespaces of another container, for one that is started in them.

import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EngineContext } from '../context.ts'
import { runningOrThrow } from './running-or-throw.ts'

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
  const deed = `start "${container.name}" in the ${file} namespace of`
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
  return `/proc/${pid}/ns/${file}`
}
