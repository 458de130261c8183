// OCI runtime configuration -> what tsrun-init is told. All policy has been decided; this only translates. Pure.

import { capabilityMask } from '../../kernel/capabilities.ts'
import type { InitConfig, InitMount, NamespaceType, Propagation, ReservedPort } from '../../kernel/init-protocol.ts'
import type { SeccompFilter } from '../../kernel/seccomp/profile.ts'
import { addressBytes, parseAddress } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { PortMapping } from '../../model/network.ts'
import type { OciMount, OciSpec } from '../../model/oci-spec.ts'
import { ulimitNumber } from '../../model/ulimits.ts'

/** What the OCI configuration has no place for. */
export interface InitExtras {
  readonly id: string
  readonly seccomp: SeccompFilter | undefined
  readonly cgroup: {
    readonly v2Dir?: string
    readonly procsFiles: readonly string[]
    readonly oomFiles: readonly string[]
  }
  readonly netnsFd: boolean
  /** The user namespace to join, for a configuration that has one. */
  readonly usernsPath: string | undefined
  /** Where the host has a device, by its path in the container, when that is another one. */
  readonly deviceSources: Readonly<Record<string, string>>
  readonly stdin: boolean
  readonly stdinOnce: boolean
  readonly init: boolean
  readonly symlinks: readonly { readonly path: string; readonly target: string }[]
  readonly monitor: {
    readonly attachSocket: string
    readonly log: { readonly path: string; readonly maxBytes: number; readonly maxFiles: number } | undefined
    readonly exitFile: string
    readonly exitCommand: readonly string[]
    readonly exitEnv: readonly string[]
    /** With `proxyTo`, an address of the container, tsrun-init itself carries what arrives. */
    readonly reservedPorts: readonly MonitorPort[]
  }
}

export function toInitConfig(spec: OciSpec, extras: InitExtras): InitConfig {
  const { monitor } = extras
  return {
    mode: 'run',
    id: extras.id,
    process: toInitProcess(spec.process, extras),
    namespaces: toNamespaces(spec.linux.namespaces, extras),
    netnsFd: extras.netnsFd,
    cgroup: {
      ...(extras.cgroup.v2Dir === undefined ? {} : { v2Dir: extras.cgroup.v2Dir }),
      procsFiles: extras.cgroup.procsFiles,
    },
    uidMappings: toMappings(spec.linux.uidMappings),
    gidMappings: toMappings(spec.linux.gidMappings),
    ...(spec.hostname === undefined ? {} : { hostname: spec.hostname }),
    ...(spec.domainname === undefined ? {} : { domainname: spec.domainname }),
    sysctls: Object.entries(spec.linux.sysctl).map(([name, value]) => ({ name, value })),
    rootfs: {
      target: spec.root.path,
      readonly: spec.root.readonly,
      propagation: spec.linux.rootfsPropagation as Propagation,
      source: {
        kind: 'overlay',
        lowerDirs: (spec.annotations['run.tsrun.overlay.lowerdir'] ?? '').split(':'),
        upperDir: spec.annotations['run.tsrun.overlay.upperdir'] ?? '',
        workDir: spec.annotations['run.tsrun.overlay.workdir'] ?? '',
        // What the upper folder holds is then plain enough to make a layer of (commit), whatever the host's defaults.
        options: ['redirect_dir=off', 'metacopy=off', ...labelOption(spec.linux.mountLabel)].join(','),
      },
    },
    mounts: spec.mounts.map(mount => toInitMount(mount, spec.linux.mountLabel)),
    devices: spec.linux.devices.map(device => ({
      path: device.path,
      type: device.type === 'b' ? 'b' : device.type === 'p' ? 'p' : 'c',
      major: device.major,
      minor: device.minor,
      mode: device.fileMode,
      uid: device.uid,
      gid: device.gid,
      ...(extras.deviceSources[device.path] === undefined ? {} : { hostPath: extras.deviceSources[device.path] }),
    })),
    symlinks: extras.symlinks,
    maskedPaths: spec.linux.maskedPaths,
    readonlyPaths: spec.linux.readonlyPaths,
    monitor: {
      attachSocket: monitor.attachSocket,
      ...(monitor.log === undefined ? {} : { log: monitor.log }),
      exitFile: monitor.exitFile,
      exitCommand: monitor.exitCommand,
      exitEnv: monitor.exitEnv,
      oomFiles: extras.cgroup.oomFiles,
      reservedPorts: toReservedPorts(monitor.reservedPorts),
    },
  }
}

/** The part that a start and an exec have in common. */
export function toInitProcess(
  process: OciSpec['process'],
  options: { seccomp: SeccompFilter | undefined; stdin: boolean; stdinOnce: boolean; init: boolean },
): InitConfig['process'] {
  const { capabilities } = process
  return {
    args: process.args,
    env: process.env,
    cwd: process.cwd,
    uid: process.user.uid,
    gid: process.user.gid,
    additionalGids: process.user.additionalGids,
    tty: process.terminal,
    ...(process.consoleSize === undefined
      ? {}
      : { consoleSize: { rows: process.consoleSize.height, columns: process.consoleSize.width } }),
    stdin: options.stdin,
    stdinOnce: options.stdinOnce,
    init: options.init,
    noNewPrivileges: process.noNewPrivileges,
    capabilities: {
      bounding: capabilityMask(capabilities.bounding),
      effective: capabilityMask(capabilities.effective),
      permitted: capabilityMask(capabilities.permitted),
      inheritable: capabilityMask(capabilities.inheritable),
      ambient: capabilityMask(capabilities.ambient),
    },
    rlimits: process.rlimits.map(limit => ({
      resource: ulimitNumber(limit.type),
      soft: toRlim(limit.soft),
      hard: toRlim(limit.hard),
    })),
    ...(process.oomScoreAdj === undefined ? {} : { oomScoreAdj: process.oomScoreAdj }),
    ...(options.seccomp === undefined ? {} : { seccomp: options.seccomp.program, seccompFlags: options.seccomp.flags }),
    ...(process.apparmorProfile === undefined ? {} : { apparmorProfile: process.apparmorProfile }),
    ...(process.selinuxLabel === undefined ? {} : { selinuxLabel: process.selinuxLabel }),
  }
}

const namespaceTypes: Readonly<Record<string, NamespaceType>> = {
  pid: 'pid',
  mount: 'mnt',
  uts: 'uts',
  ipc: 'ipc',
  cgroup: 'cgroup',
  user: 'user',
  time: 'time',
  network: 'net',
}

function toNamespaces(
  namespaces: OciSpec['linux']['namespaces'],
  { netnsFd, usernsPath }: InitExtras,
): InitConfig['namespaces'] {
  const create: NamespaceType[] = []
  const join: { type: NamespaceType; path: string }[] = []
  for (const { type, path: own } of namespaces) {
    const path = own ?? (type === 'user' ? usernsPath : undefined)
    const known = namespaceTypes[type]
    if (known === undefined) throw new TsrunError('invalid', 'namespace', `there is no namespace type "${type}"`)
    if (path !== undefined) join.push({ type: known, path })
    // The network namespace was made by the engine and comes as a descriptor.
    else if (!(known === 'net' && netnsFd)) create.push(known)
  }
  return { create, join }
}

// MS_* of linux/mount.h, by the option names of mount(8): what an option sets and what it clears.
const MS_BIND = 4096
const MS_REC = 16384
const mountFlags: Readonly<Record<string, readonly [set: number, clear: number]>> = {
  ro: [1, 0],
  rw: [0, 1],
  nosuid: [2, 0],
  suid: [0, 2],
  nodev: [4, 0],
  dev: [0, 4],
  noexec: [8, 0],
  exec: [0, 8],
  sync: [16, 0],
  remount: [32, 0],
  dirsync: [128, 0],
  noatime: [1024, 0],
  nodiratime: [2048, 0],
  relatime: [1 << 21, 0],
  strictatime: [1 << 24, 0],
  bind: [MS_BIND, 0],
  rbind: [MS_BIND | MS_REC, 0],
}
const propagations = new Set([
  'private',
  'rprivate',
  'slave',
  'rslave',
  'shared',
  'rshared',
  'unbindable',
  'runbindable',
])

/** Labels hold commas: the quotes keep them together, for mount(2) as for tsrun-init. */
function labelOption(label: string | undefined): string[] {
  return label === undefined ? [] : [`context="${label}"`]
}

/** Kinds of file systems that are made anew for each container and keep labels. */
const labelled = new Set(['tmpfs', 'devpts'])

function toInitMount(mount: OciMount, label: string | undefined): InitMount {
  let flags = 0
  let propagation: Propagation | undefined
  let recursiveReadOnly = false
  let tmpCopyUp = false
  let idmap = false
  const data: string[] = []
  for (const option of mount.options) {
    const flag = mountFlags[option]
    if (flag !== undefined) flags = (flags | flag[0]) & ~flag[1]
    else if (propagations.has(option)) propagation = option as Propagation
    else if (option === 'rro') recursiveReadOnly = true
    else if (option === 'tmpcopyup') tmpCopyUp = true
    else if (option === 'idmap') idmap = true
    else data.push(option)
  }
  return {
    destination: mount.destination,
    type: mount.type,
    source: mount.source,
    flags: recursiveReadOnly ? flags | 1 : flags,
    ...(propagation === undefined ? {} : { propagation }),
    data: [...data, ...(labelled.has(mount.type) ? labelOption(label) : [])].join(','),
    ...(recursiveReadOnly ? { recursiveReadOnly } : {}),
    ...(tmpCopyUp ? { tmpCopyUp } : {}),
    ...(idmap ? { idmap } : {}),
    // A descriptor and a root lead into the mounts of the process that has them, and the container's are others.
    ...(/^\/proc\/\d+\/(?:fd\/\d+$|root\/)/.test(mount.source) ? { openFirst: true } : {}),
  }
}

function toMappings(mappings: OciSpec['linux']['uidMappings']): InitConfig['uidMappings'] {
  return (mappings ?? []).map(m => ({ containerId: m.containerID, hostId: m.hostID, size: m.size }))
}

function toRlim(value: number): bigint {
  return value < 0 ? 0xffffffffffffffffn : BigInt(value)
}

/** A port that the monitor holds; with `proxyTo` it carries what arrives there to that address of the container. */
export type MonitorPort = PortMapping & { readonly proxyTo?: string; readonly optional?: boolean }

/** In the form that tsrun-init takes: ports that follow each other as one range. */
function toReservedPorts(ports: readonly MonitorPort[]): ReservedPort[] {
  const ranges: { readonly first: MonitorPort; count: number }[] = []
  const open = new Map<string, (typeof ranges)[number]>()
  for (const port of ports) {
    const kind = `${port.protocol} ${port.hostIp} ${port.proxyTo} ${port.optional}`
    const range = open.get(kind)
    if (range !== undefined && isNext(range.first, range.count, port)) range.count++
    else {
      const begun = { first: port, count: 1 }
      open.set(kind, begun)
      ranges.push(begun)
    }
  }
  return ranges.map(({ first, count }) => ({ ...toReservedPort(first), ...(count === 1 ? {} : { count }) }))
}

function isNext(first: MonitorPort, count: number, port: MonitorPort): boolean {
  return port.hostPort === first.hostPort + count && port.containerPort === first.containerPort + count
}

/** In the form that tsrun-init takes. */
export function toReservedPort({
  protocol,
  hostIp,
  hostPort,
  containerPort,
  proxyTo,
  optional,
}: MonitorPort): ReservedPort {
  const reserved = {
    protocol,
    address: addressBytes(parseAddress(hostIp)),
    port: hostPort,
    ...(optional === undefined ? {} : { optional }),
  }
  if (proxyTo === undefined) return reserved
  return { ...reserved, target: { address: addressBytes(parseAddress(proxyTo)), port: containerPort } }
}
