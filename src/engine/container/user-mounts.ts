// The user's binds, volumes and tmpfs -> OCI mounts. Makes the folders that `-v` promises to make.

import { closeSync, mkdirSync, statSync } from 'node:fs'
import { release } from 'node:os'
import { hasCode } from '../../ffi/errno.ts'
import { AT_FDCWD, cString, O_PATH, openAt2, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from '../../ffi/file-at.ts'
import type { Undo } from '../../lib/rollback.ts'
import { byteString } from '../../lib/tar-entry.ts'
import type { Container, MountSpec } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { toHostId } from '../../model/id-maps.ts'
import type { OciMount } from '../../model/oci-spec.ts'
import type { EngineContext } from '../context.ts'
import type { Confinement } from './labels.ts'

/** The user's mounts, and what has to stay open until tsrun-init has made them. */
export interface PreparedMounts {
  readonly mounts: readonly OciMount[]
  /** Idempotent. */
  release(): void
}

/** @throws TsrunError not-found (source), invalid, unsupported (label) */
export async function prepareMounts(
  context: EngineContext,
  container: Container,
  undo: Undo,
  { selinux }: Confinement,
): Promise<PreparedMounts> {
  const opened: number[] = []
  const close = () => {
    for (const fd of opened.splice(0)) closeSync(fd)
  }
  undo.add('sources of mounts', close)
  const mounts: OciMount[] = []
  for (const mount of container.spec.mounts ?? []) {
    const { whole, tmpfs, bind, relabelling } = await behind(context, container, mount, undo)
    if (tmpfs !== undefined) {
      mounts.push(tmpfs)
      continue
    }
    const source = mount.subpath === undefined ? whole : openSubpath(container, mount, whole, opened)
    mounts.push({ destination: mount.target, type: 'bind', source, options: bindOptions(container, bind) })
    if (mount.chown === true) await giveToUser(context, container, mount, source)
    if (selinux === undefined || relabelling === undefined) continue
    const { relabel } = await import('../../kernel/lsm/relabel.ts')
    relabel(source, relabelling === 'private' ? selinux.files : selinux.sharedFiles)
  }
  return { mounts, release: close }
}

interface Behind {
  /** The host folder or file; empty for a tmpfs. */
  readonly whole: string
  readonly tmpfs?: OciMount
  /** The mount as it is to be bound: a volume may be read-only by itself. */
  readonly bind: MountSpec
  readonly relabelling?: MountSpec['relabel']
}

/** What is to be mounted there. */
async function behind(context: EngineContext, container: Container, mount: MountSpec, undo: Undo): Promise<Behind> {
  const relabelling = mount.relabel
  if (mount.type === 'tmpfs') return { whole: '', tmpfs: toTmpfs(mount, ['nosuid', 'nodev', 'noexec']), bind: mount }
  if (mount.type === 'bind') return { whole: bindSource(container, mount), bind: mount, relabelling }
  const [content, whole] = await context.volumes.contentFor(container, mount, undo)
  // A volume is for containers, whoever they are.
  if (content.kind === 'folder') return { whole, bind: mount, relabelling: relabelling ?? 'shared' }
  if (content.kind === 'tmpfs')
    return { whole, tmpfs: toTmpfs({ ...mount, data: content.data }, ['nosuid', 'nodev']), bind: mount }
  const bind: MountSpec = {
    ...mount,
    readonly: mount.readonly || content.readonly,
    ...(content.recursive ? {} : { recursive: 'disabled' }),
  }
  return { whole, bind, relabelling }
}

function toTmpfs({ target, data = '', readonly }: MountSpec, defaults: readonly string[]): OciMount {
  const options = [...defaults, ...data.split(',').filter(Boolean), ...(readonly ? ['ro'] : [])]
  return { destination: target, type: 'tmpfs', source: 'tmpfs', options }
}

function bindOptions({ idMaps }: Container, mount: MountSpec): string[] {
  const recursive = mount.recursive ?? 'enabled'
  const readsBelow = recursive === 'readonly' || (recursive === 'enabled' && kernelIsAtLeast(5, 12))
  const access = !mount.readonly ? 'rw' : readsBelow ? 'rro' : 'ro'
  // A volume's files have the container's ids on disk, so that containers with other users can share it.
  const isMapped = idMaps !== undefined && (mount.type === 'volume' || mount.idmap === true)
  return [
    recursive === 'disabled' ? 'bind' : 'rbind',
    access,
    mount.propagation ?? 'rprivate',
    ...(isMapped ? ['idmap'] : []),
  ]
}

function kernelIsAtLeast(wantedMajor: number, wantedMinor: number): boolean {
  const [major = 0, minor = 0] = release()
    .split('.')
    .map(part => Number.parseInt(part, 10))
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

/**
 * A place in a volume, found without ever leaving it and kept by its descriptor: containers that have the volume may be swapping
 * links in it (CVE-2021-30465).
 */
function openSubpath(container: Container, mount: MountSpec, whole: string, opened: number[]): string {
  const root = openAt2(AT_FDCWD, cString(byteString(whole)), O_PATH, 0)
  try {
    const place = cString(byteString(`./${mount.subpath}`))
    const fd = openAt2(root, place, O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    opened.push(fd)
    return `/proc/${process.pid}/fd/${fd}`
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw error
    throw new TsrunError(
      'not-found',
      'volume-subpath',
      `cannot start "${container.name}": the volume for "${mount.target}" has no "${mount.subpath}"`,
      { hint: 'make it first, from a container that mounts the whole volume' },
    )
  } finally {
    closeSync(root)
  }
}

async function giveToUser(
  context: EngineContext,
  container: Container,
  mount: MountSpec,
  source: string,
): Promise<void> {
  const [{ accountOf }, { changeOwner }] = await Promise.all([
    import('./prepare-process.ts'),
    import('../../kernel/change-owner.ts'),
  ])
  const { uid, gid } = accountOf(context, container)
  const { idMaps } = container
  // On disk: the container's own ids where the mount is mapped, and else what they are on the host.
  if (idMaps === undefined || mount.type === 'volume' || mount.idmap === true) changeOwner(source, uid, gid)
  else changeOwner(source, toHostId(idMaps.uid, uid) ?? uid, toHostId(idMaps.gid, gid) ?? gid)
}

function bindSource(container: Container, mount: MountSpec): string {
  try {
    statSync(mount.source)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    if (mount.createSource !== true)
      throw new TsrunError(
        'not-found',
        'bind-source',
        `cannot start "${container.name}": the bind source "${mount.source}" does not exist`,
        { hint: 'make it first, or use -v, which makes a folder of that name' },
      )
    mkdirSync(mount.source, { recursive: true, mode: 0o755 })
  }
  return mount.source
}
