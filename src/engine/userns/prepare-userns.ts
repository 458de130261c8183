// The user namespace of a start: a new one, or that of the container whose other namespaces are joined.

import { closeSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { createNetnsOf, createUserNamespace, type NewUserNamespace } from '../../kernel/userns.ts'
import type { Undo } from '../../lib/rollback.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { IdMaps } from '../../model/id-maps.ts'
import { joinedNamespace } from '../container/joined-namespace.ts'
import type { EngineContext } from '../context.ts'
import { joinedContainers } from './choose-id-maps.ts'

export interface PreparedUserNamespace {
  /** Where tsrun-init finds it, as long as released() was not called. */
  readonly path: string
  /** A new network namespace that belongs to it; the taker closes it. */
  takeNetns(): number
  /** tsrun-init has joined it: closes ours. Idempotent. */
  released(): void
}

/** @returns undefined for a container without one @throws TsrunError system, conflict (not running) */
export function prepareUserNamespace(
  context: EngineContext,
  container: Container,
  undo: Undo,
): PreparedUserNamespace | undefined {
  if (container.idMaps === undefined) return undefined
  const [joined] = joinedContainers(container.spec)
  if (joined !== undefined) {
    const path = joinedNamespace(context, container, joined, 'user')
    return { path, takeNetns: () => createNetnsOf(context.initPath, path), released: () => {} }
  }
  const { userFd, netFd } = create(context, container, container.idMaps)
  const open = new Set([userFd, netFd])
  const close = (fd: number) => {
    if (open.delete(fd)) closeSync(fd)
  }
  const released = () => {
    for (const fd of [...open]) close(fd)
  }
  undo.add('user namespace', released)
  return {
    path: `/proc/${process.pid}/fd/${userFd}`,
    takeNetns: () => {
      open.delete(netFd)
      return netFd
    },
    released,
  }
}

function create(context: EngineContext, container: Container, maps: IdMaps): NewUserNamespace {
  try {
    return createUserNamespace(context.initPath, maps)
  } catch (error) {
    if (!hasCode(error, 'EPERM', 'ENOSPC', 'ENOSYS', 'EINVAL', 'EUSERS')) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new TsrunError('system', 'userns', `cannot start "${container.name}": ${reason}`, {
      hint: 'see /proc/sys/user/max_user_namespaces and `tsrun doctor`; --userns host does without',
      cause: error,
    })
  }
}
