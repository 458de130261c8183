// Who the container's process is: user and groups from the image's own files, capabilities, seccomp filter.

import { readFileSync } from 'node:fs'
import { seccompFilter } from '../../drivers/runtime/default-seccomp.ts'
import { hasCode } from '../../ffi/errno.ts'
import { capabilityNames, resolveCapabilities } from '../../kernel/capabilities.ts'
import { readFileInLayers, readFileInRoot } from '../../kernel/rootfs-file.ts'
import type { SeccompFilter } from '../../kernel/seccomp/profile.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { OciSpec } from '../../model/oci-spec.ts'
import { parseSecurityOptions } from '../../model/security-options.ts'
import { assertMapped, resolveUser } from '../../model/user.ts'
import type { EngineContext } from '../context.ts'

/** Accounts are read up to this size: a hostile image must not fill our memory. */
const MAX_ACCOUNT_FILE_BYTES = 8 << 20

type CapabilityLists = OciSpec['process']['capabilities']

export interface PreparedProcess {
  readonly user: {
    readonly uid: number
    readonly gid: number
    readonly additionalGids: readonly number[]
    readonly home: string
  }
  readonly capabilities: CapabilityLists
  readonly seccomp: SeccompFilter | undefined
}

/** Who the container's process is, by the accounts in its layers. @throws TsrunError invalid */
export function accountOf(context: EngineContext, container: Container): PreparedProcess['user'] {
  const layers = [context.paths.containerFile(container.id, 'upper'), ...container.image.layerDirs]
  const read = (path: string) => readFileInLayers(layers, path, MAX_ACCOUNT_FILE_BYTES)?.toString('utf8') ?? ''
  const extra = container.spec.groupAdd ?? []
  const user = resolveUser(container.process.user, read('/etc/passwd'), read('/etc/group'), extra)
  assertMapped(container, user)
  return user
}

/** For a start: accounts come from the container's layers. @throws TsrunError invalid (user, capability, profile) */
export function prepareProcess(context: EngineContext, container: Container): PreparedProcess {
  const user = accountOf(context, container)
  return { user, ...restrictions(context, container, user.uid, container.spec.privileged === true) }
}

/** For an exec: accounts come from the running container's own root. */
export function execIdentity(
  context: EngineContext,
  container: Container,
  options: { user?: string; pid: number; privileged: boolean },
): PreparedProcess {
  const root = `/proc/${options.pid}/root`
  const read = (path: string) => readFileInRoot(root, path, MAX_ACCOUNT_FILE_BYTES)?.toString('utf8') ?? ''
  const wanted = options.user ?? container.process.user
  const user = resolveUser(wanted, read('/etc/passwd'), read('/etc/group'), container.spec.groupAdd ?? [])
  assertMapped(container, user)
  const privileged = options.privileged || container.spec.privileged === true
  return { user, ...restrictions(context, container, user.uid, privileged) }
}

function restrictions(
  context: EngineContext,
  container: Container,
  uid: number,
  privileged: boolean,
): { capabilities: CapabilityLists; seccomp: SeccompFilter | undefined } {
  const { spec } = container
  const mask = resolveCapabilities({ add: spec.capAdd ?? [], drop: spec.capDrop ?? [], privileged })
  const names = capabilityNames(mask)
  // A process that is not root gets what it may regain through set-user-ID programs, and nothing at hand: as docker.
  const held = uid === 0 ? names : []
  const capabilities = { bounding: names, effective: held, permitted: held, inheritable: [], ambient: [] }
  const security = parseSecurityOptions(spec.securityOpt ?? [])
  if (privileged || security.seccomp === 'unconfined') return { capabilities, seccomp: undefined }
  const profile =
    security.seccomp === undefined || security.seccomp === 'builtin' ? undefined : readProfile(security.seccomp)
  return {
    capabilities,
    seccomp: seccompFilter(context.paths.seccomp, {
      capabilities: mask,
      ...(profile === undefined ? {} : { profile, origin: security.seccomp ?? '' }),
    }),
  }
}

/** @throws TsrunError invalid */
function readProfile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'EISDIR', 'EACCES', 'ENOTDIR')) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new TsrunError('invalid', 'seccomp-profile', `cannot read the seccomp profile "${path}": ${reason}`, {
      hint: '--security-opt seccomp=FILE names a profile in the form of docker, or "unconfined"',
    })
  }
}
