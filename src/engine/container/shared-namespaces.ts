// Which namespaces a container has of its own, and which it shares with the host or with another container.

import { statfsSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { OciSpec } from '../../model/oci-spec.ts'
import type { EngineContext } from '../context.ts'
import { printable } from '../ids.ts'
import { joinedNamespace } from './joined-namespace.ts'

/** The network namespace that the container shares, by path; undefined where it has its own. */
export function sharedNetns(context: EngineContext, container: Container, mode: string): string | undefined {
  if (mode.startsWith('container:')) return joinedNamespace(context, container, mode.slice('container:'.length), 'net')
  if (!mode.startsWith('ns:')) return undefined
  const path = mode.slice('ns:'.length)
  if (path.startsWith('/') && isNamespaceFile(path)) return path
  throw new TsrunError('invalid', 'no-namespace', `cannot join "${mode}": ${printable(path)} is no namespace`, {
    hint: 'ns: takes the absolute path of a network namespace, e.g. ns:/run/netns/blue or ns:/proc/1234/ns/net',
  })
}

/** Namespaces are files of nsfs, which has no other; tsrun-init finds out whether it is one of a network. */
function isNamespaceFile(path: string): boolean {
  try {
    // NSFS_MAGIC of linux/magic.h.
    return statfsSync(path).type === 0x6e736673
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP')) return false
    throw error
  }
}

/** pid, ipc, uts and the others: new ones, but for those the user shares with the host or another container. */
export function sharedNamespaces(context: EngineContext, container: Container): OciSpec['linux']['namespaces'] {
  const { pidMode, ipcMode, utsMode, cgroupnsMode } = container.spec
  const wanted = [
    ['pid', 'pid', pidMode],
    ['ipc', 'ipc', ipcMode],
    ['uts', 'uts', utsMode],
  ] as const
  const shared = wanted.flatMap(([type, file, mode]) => {
    if (mode === 'host') return []
    if (mode?.startsWith('container:'))
      return [{ type, path: joinedNamespace(context, container, mode.slice('container:'.length), file) }]
    return [{ type }]
  })
  return [...shared, { type: 'mount' }, ...(cgroupnsMode === 'host' ? [] : [{ type: 'cgroup' as const }])]
}
