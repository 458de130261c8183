// Container + what was found out about it -> OCI runtime configuration. Pure: reads nothing, changes nothing.

import type { Container, MountSpec } from '../../model/container.ts'
import { type IdMapping, toHostId } from '../../model/id-maps.ts'
import type { OciIdMapping, OciMount, OciSpec } from '../../model/oci-spec.ts'
import { parseSecurityOptions, remainingPaths } from '../../model/security-options.ts'
import { defaultDevices, defaultMounts, maskedPaths, readonlyPaths } from './default-mounts.ts'
import type { Confinement } from './labels.ts'

/** What the container's record does not say. */
export interface SpecInput {
  readonly container: Container
  readonly user: {
    readonly uid: number
    readonly gid: number
    readonly additionalGids: readonly number[]
    readonly home: string
  }
  readonly hostname: string
  /** Folder that the root file system is mounted on. */
  readonly rootfs: string
  /** Overlay: the topmost layer first. */
  readonly layerDirs: readonly string[]
  readonly upperDir: string
  readonly workDir: string
  /** Host folder with hosts, hostname and resolv.conf; undefined when the container shares somebody else's network. */
  readonly etcDir?: string
  readonly capabilities: OciSpec['process']['capabilities']
  /** Binds, volumes and tmpfs of the user, resolved. */
  readonly userMounts: readonly OciMount[]
  /** Binds of the cgroup hierarchies. */
  readonly cgroupMounts: readonly OciMount[]
  readonly devices: OciSpec['linux']['devices']
  readonly namespaces: OciSpec['linux']['namespaces']
  readonly cgroupsPath: string
  readonly confinement: Confinement
  readonly consoleSize?: { readonly height: number; readonly width: number }
}

const defaultPath = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** That of the ipc namespace it is in; a container that is joined is found by the path of its namespace, /proc/PID/ns/ipc. */
function shmOf(
  { ipcMode }: Container['spec'],
  namespaces: SpecInput['namespaces'],
): Parameters<typeof defaultMounts>[0]['shm'] {
  if (ipcMode === 'none') return 'none'
  const ipc = namespaces.find(({ type }) => type === 'ipc')
  if (ipc === undefined) return 'host'
  const pid = /^\/proc\/(\d+)\/ns\/ipc$/.exec(ipc.path ?? '')?.[1]
  return pid === undefined ? 'own' : { pid }
}

export function buildSpec(input: SpecInput): OciSpec {
  const { container } = input
  const { spec, idMaps } = container
  const { apparmor, selinux } = input.confinement
  const privileged = spec.privileged === true
  const security = parseSecurityOptions(spec.securityOpt ?? [])
  const unmask = privileged ? 'all' : security.unmask
  const hostNamespaces = new Set(
    ['pid', 'ipc', 'uts', 'network'].filter(t => !input.namespaces.some(n => n.type === t)),
  )
  return {
    ociVersion: '1.2.0',
    process: {
      terminal: spec.tty === true,
      ...(input.consoleSize ? { consoleSize: input.consoleSize } : {}),
      user: { uid: input.user.uid, gid: input.user.gid, additionalGids: input.user.additionalGids },
      args: container.process.args,
      env: buildEnvironment(container, input.hostname, input.user.home),
      cwd: container.process.cwd,
      capabilities: input.capabilities,
      rlimits: (spec.ulimits ?? []).map(u => ({ type: `RLIMIT_${u.name.toUpperCase()}`, soft: u.soft, hard: u.hard })),
      noNewPrivileges: security.noNewPrivileges,
      ...(apparmor === undefined ? {} : { apparmorProfile: apparmor }),
      ...(selinux === undefined ? {} : { selinuxLabel: selinux.process }),
      ...(spec.oomScoreAdj === undefined ? {} : { oomScoreAdj: spec.oomScoreAdj }),
    },
    root: { path: input.rootfs, readonly: spec.readonlyRootfs === true },
    ...(hostNamespaces.has('uts') ? {} : { hostname: input.hostname }),
    ...(spec.domainname === undefined ? {} : { domainname: spec.domainname }),
    mounts: orderMounts([
      ...defaultMounts({
        shmSizeBytes: spec.shmSizeBytes ?? 64 * 1024 * 1024,
        privileged,
        shm: shmOf(spec, input.namespaces),
        ttyGroup: idMaps === undefined || toHostId(idMaps.gid, 5) !== undefined,
      }),
      ...input.cgroupMounts,
      ...(input.etcDir === undefined ? [] : etcMounts(input.etcDir)),
      ...input.userMounts,
    ]),
    linux: {
      namespaces: [...input.namespaces, ...(idMaps === undefined ? [] : [{ type: 'user' }])],
      ...(idMaps === undefined
        ? {}
        : { uidMappings: idMaps.uid.map(toOciMapping), gidMappings: idMaps.gid.map(toOciMapping) }),
      devices: [...defaultDevices, ...input.devices],
      cgroupsPath: input.cgroupsPath,
      sysctl: spec.sysctls ?? {},
      rootfsPropagation: rootPropagation(spec.mounts ?? []),
      ...(selinux === undefined ? {} : { mountLabel: selinux.files }),
      maskedPaths: [...remainingPaths(maskedPaths, unmask), ...security.mask],
      readonlyPaths: remainingPaths(readonlyPaths, unmask),
    },
    annotations: {
      'run.tsrun.overlay.lowerdir': input.layerDirs.join(':'),
      'run.tsrun.overlay.upperdir': input.upperDir,
      'run.tsrun.overlay.workdir': input.workDir,
    },
  }
}

/** As far as the mounts inside have to know of those of the host, or the other way round. */
function rootPropagation(mounts: readonly MountSpec[]): string {
  const has = (kind: string) => mounts.some(({ propagation = '' }) => propagation.endsWith(kind))
  return has('shared') ? 'rshared' : has('slave') ? 'rslave' : 'rprivate'
}

function buildEnvironment(container: Container, hostname: string, home: string): string[] {
  const own = container.process.env
  const has = (key: string) => own.some(entry => entry.startsWith(`${key}=`))
  return [
    ...(has('PATH') ? [] : [defaultPath]),
    ...(has('HOSTNAME') ? [] : [`HOSTNAME=${hostname}`]),
    ...(container.spec.tty === true && !has('TERM') ? ['TERM=xterm'] : []),
    ...own,
    ...(has('HOME') ? [] : [`HOME=${home}`]),
  ]
}

function toOciMapping({ containerId, hostId, size }: IdMapping): OciIdMapping {
  return { containerID: containerId, hostID: hostId, size }
}

function etcMounts(etcDir: string): OciMount[] {
  return ['resolv.conf', 'hostname', 'hosts'].map(file => ({
    destination: `/etc/${file}`,
    type: 'bind',
    source: `${etcDir}/${file}`,
    options: ['rbind', 'rprivate'],
  }))
}

/** Parents before children; a user's mount on a default one's place replaces it. */
function orderMounts(mounts: readonly OciMount[]): OciMount[] {
  const byPlace = new Map<string, OciMount>()
  for (const mount of mounts) {
    byPlace.delete(mount.destination)
    byPlace.set(mount.destination, mount)
  }
  return [...byPlace.values()].sort((a, b) => depth(a.destination) - depth(b.destination))
}

function depth(path: string): number {
  return path.split('/').filter(Boolean).length
}
