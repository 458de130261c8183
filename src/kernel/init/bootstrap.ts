// InitConfig -> the first message on fd 3; `native/bootstrap.c` reads it. Pure.

import { AttributeWriter, Writer } from './bytes.ts'
import type { InitConfig, InitDevice, InitMonitor, InitMount, InitRootfs, Propagation } from './config.ts'
import { BOOTSTRAP, CLONE_FLAG, FLAG, MOUNT_OPTION, TAG } from './numbers.ts'

/** mount(2) propagation names and their MS_ bits. */
const PROPAGATION: Readonly<Record<Propagation, number>> = {
  private: 1 << 18,
  rprivate: (1 << 18) | (1 << 14),
  slave: 1 << 19,
  rslave: (1 << 19) | (1 << 14),
  shared: 1 << 20,
  rshared: (1 << 20) | (1 << 14),
  unbindable: 1 << 17,
  runbindable: (1 << 17) | (1 << 14),
}

/**
 * The whole first message on fd 3.
 * @throws Error when a string holds a NUL byte, which no system call could carry.
 */
export function encodeBootstrap(config: InitConfig): Buffer {
  const out = new AttributeWriter()
  out.u32(TAG.MODE, config.mode === 'exec' ? 1 : 0)
  out.text(TAG.ID, config.id)
  if (config.fault !== undefined) out.text(TAG.FAULT, config.fault)
  encodeProcess(out, config)
  encodeNamespaces(out, config)
  if (config.rootfs !== undefined) encodeRootfs(out, config.rootfs)
  for (const mount of config.mounts) encodeMount(out, mount)
  for (const device of config.devices) encodeDevice(out, device)
  for (const { path, target } of config.symlinks) out.record(TAG.SYMLINK, r => r.str(path).str(target))
  out.texts(TAG.MASKED_PATH, config.maskedPaths)
  out.texts(TAG.READONLY_PATH, config.readonlyPaths)
  encodeMonitor(out, config.monitor)

  const body = out.bytes()
  const header = new Writer()
    .u32(BOOTSTRAP.MAGIC)
    .u32(BOOTSTRAP.VERSION)
    .u32(BOOTSTRAP.HEADER_BYTES + body.length)
    .u32(0)
  return Buffer.concat([header.bytes(), body])
}

function encodeProcess(out: AttributeWriter, config: InitConfig): void {
  const { process } = config
  out.texts(TAG.ARG, process.args)
  out.texts(TAG.ENV, process.env)
  out.text(TAG.CWD, process.cwd)
  out.record(TAG.USER, r => {
    r.u32(process.uid).u32(process.gid).u32(process.additionalGids.length)
    for (const gid of process.additionalGids) r.u32(gid)
  })
  if (process.umask !== undefined) out.u32(TAG.UMASK, process.umask)
  out.u32(
    TAG.FLAGS,
    (process.tty ? FLAG.TTY : 0) |
      (process.stdin ? FLAG.STDIN : 0) |
      (process.stdinOnce ? FLAG.STDIN_ONCE : 0) |
      (process.init ? FLAG.INIT : 0) |
      (process.noNewPrivileges ? FLAG.NO_NEW_PRIVILEGES : 0) |
      (config.netnsFd ? FLAG.NETNS_FD : 0),
  )
  const size = process.consoleSize
  if (size !== undefined) out.record(TAG.CONSOLE_SIZE, r => r.u32(size.rows).u32(size.columns))
  const caps = process.capabilities
  out.record(TAG.CAPABILITIES, r =>
    r.u64(caps.bounding).u64(caps.effective).u64(caps.permitted).u64(caps.inheritable).u64(caps.ambient),
  )
  for (const { resource, soft, hard } of process.rlimits)
    out.record(TAG.RLIMIT, r => r.u32(resource).u64(soft).u64(hard))
  const oomScoreAdj = process.oomScoreAdj
  if (oomScoreAdj !== undefined) out.u32(TAG.OOM_SCORE_ADJ, oomScoreAdj >>> 0)
  const seccomp = process.seccomp
  if (seccomp !== undefined) out.record(TAG.SECCOMP, r => r.u32(process.seccompFlags ?? 0).raw(seccomp))
  if (process.apparmorProfile !== undefined) out.text(TAG.APPARMOR, process.apparmorProfile)
  if (process.selinuxLabel !== undefined) out.text(TAG.SELINUX, process.selinuxLabel)
}

function encodeNamespaces(out: AttributeWriter, config: InitConfig): void {
  out.u32(
    TAG.NAMESPACES,
    config.namespaces.create.reduce((flags, type) => flags | CLONE_FLAG[type], 0),
  )
  for (const { type, path } of config.namespaces.join)
    out.record(TAG.JOIN, r => r.u32(CLONE_FLAG[type]).str(path ?? ''))
  for (const map of config.uidMappings)
    out.record(TAG.UID_MAP, r => r.u32(map.containerId).u32(map.hostId).u32(map.size))
  for (const map of config.gidMappings)
    out.record(TAG.GID_MAP, r => r.u32(map.containerId).u32(map.hostId).u32(map.size))
  if (config.cgroup.v2Dir !== undefined) out.text(TAG.CGROUP_DIR, config.cgroup.v2Dir)
  out.texts(TAG.CGROUP_PROCS, config.cgroup.procsFiles)
  if (config.hostname !== undefined) out.text(TAG.HOSTNAME, config.hostname)
  if (config.domainname !== undefined) out.text(TAG.DOMAINNAME, config.domainname)
  for (const { name, value } of config.sysctls) out.record(TAG.SYSCTL, r => r.str(name).str(value))
}

function encodeRootfs(out: AttributeWriter, rootfs: InitRootfs): void {
  const { source } = rootfs
  out.record(TAG.ROOTFS, r => {
    r.u32(source.kind === 'overlay' ? 1 : 0)
    r.u32(rootfs.readonly ? 1 : 0)
    r.u32(PROPAGATION[rootfs.propagation])
    r.str(rootfs.target)
    if (source.kind === 'overlay') r.str(source.upperDir).str(source.workDir).str(source.options)
    else r.str(source.path).str('').str('')
  })
  if (source.kind === 'overlay') out.texts(TAG.LOWER_DIR, source.lowerDirs)
}

function encodeMount(out: AttributeWriter, mount: InitMount): void {
  const options =
    (mount.recursiveReadOnly === true ? MOUNT_OPTION.RECURSIVE_READ_ONLY : 0) |
    (mount.tmpCopyUp === true ? MOUNT_OPTION.TMP_COPY_UP : 0) |
    (mount.optional === true ? MOUNT_OPTION.OPTIONAL : 0) |
    (mount.idmap === true ? MOUNT_OPTION.IDMAP : 0) |
    (mount.openFirst === true ? MOUNT_OPTION.OPEN_FIRST : 0)
  out.record(TAG.MOUNT, r =>
    r
      .u32(Number(BigInt(mount.flags) & 0xffffffffn))
      .u32(options)
      .u32(mount.propagation === undefined ? 0 : PROPAGATION[mount.propagation])
      .str(mount.destination)
      .str(mount.type)
      .str(mount.source)
      .str(mount.data),
  )
}

function encodeDevice(out: AttributeWriter, device: InitDevice): void {
  out.record(TAG.DEVICE, r =>
    r
      .u32(device.type.charCodeAt(0))
      .u32(device.major)
      .u32(device.minor)
      .u32(device.mode)
      .u32(device.uid)
      .u32(device.gid)
      .str(device.path)
      .str(device.hostPath ?? device.path),
  )
}

/** Numbers of /etc/protocols. */
export const IP_PROTOCOL = { tcp: 6, udp: 17, sctp: 132 } as const

function encodeMonitor(out: AttributeWriter, monitor: InitMonitor): void {
  if (monitor.attachSocket !== undefined) out.text(TAG.ATTACH_SOCKET, monitor.attachSocket)
  const log = monitor.log
  if (log !== undefined) out.record(TAG.LOG, r => r.u64(BigInt(log.maxBytes)).u32(log.maxFiles).str(log.path))
  if (monitor.exitFile !== undefined) out.text(TAG.EXIT_FILE, monitor.exitFile)
  out.texts(TAG.EXIT_ARG, monitor.exitCommand)
  out.texts(TAG.EXIT_ENV, monitor.exitEnv)
  out.texts(TAG.OOM_FILE, monitor.oomFiles)
  for (const { protocol, address, port, count = 1, target, optional } of monitor.reservedPorts) {
    out.record(optional === true ? TAG.OFFERED_PORT : TAG.RESERVED_PORT, r => {
      r.u32(IP_PROTOCOL[protocol]).u32(port).u32(address.length).raw(address)
      if (target !== undefined) r.u32(target.port).u32(target.address.length).raw(target.address)
    })
    if (count !== 1) out.u32(TAG.PORT_COUNT, count)
  }
}
