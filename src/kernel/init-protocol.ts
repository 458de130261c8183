/**
 * Both ends of what the engine and tsrun-init say to each other: the bootstrap, the messages on fd 3 and the frames on
 * the attach socket. It is the single source of the numbers: `native/bootstrap-tags.h` is generated from the tables here
 * (`node native/gen-tags.mjs`), and `native/bootstrap.c` reads what `encodeBootstrap` writes. Pure; no I/O.
 */

/** "TSRI", then the version: an engine and an init of two builds must not half understand each other. */
export const BOOTSTRAP = { MAGIC: 0x54535249, VERSION: 1, HEADER_BYTES: 16, MAX_BYTES: 16777216 } as const

/** One attribute is {u32 payload length, u32 tag, payload}, host endian, unpadded. A tag marked * may repeat. */
export const TAG = {
  MODE: 1,
  ID: 2,
  FAULT: 3,
  ARG: 10, // *
  ENV: 11, // *
  CWD: 12,
  USER: 13,
  UMASK: 14,
  FLAGS: 15,
  CONSOLE_SIZE: 16,
  CAPABILITIES: 17,
  RLIMIT: 18, // *
  OOM_SCORE_ADJ: 19,
  SECCOMP: 20,
  APPARMOR: 21,
  SELINUX: 22,
  NAMESPACES: 30,
  JOIN: 31, // *
  UID_MAP: 32, // *
  GID_MAP: 33, // *
  CGROUP_DIR: 34,
  CGROUP_PROCS: 35, // *
  HOSTNAME: 40,
  DOMAINNAME: 41,
  SYSCTL: 42, // *
  ROOTFS: 50,
  LOWER_DIR: 51, // *
  MOUNT: 52, // *
  DEVICE: 53, // *
  SYMLINK: 54, // *
  MASKED_PATH: 55, // *
  READONLY_PATH: 56, // *
  ATTACH_SOCKET: 70,
  LOG: 71,
  EXIT_FILE: 72,
  EXIT_ARG: 73, // *
  EXIT_ENV: 74, // *
  OOM_FILE: 75, // *
  RESERVED_PORT: 76, // *
} as const

/** Bits of TAG.FLAGS. */
export const FLAG = {
  TTY: 1,
  STDIN: 2,
  STDIN_ONCE: 4,
  INIT: 8,
  NO_NEW_PRIVILEGES: 16,
  NETNS_FD: 32,
} as const

/** Bits of a mount's options, beside the kernel's MS_ flags. */
export const MOUNT_OPTION = { RECURSIVE_READ_ONLY: 1, TMP_COPY_UP: 2, OPTIONAL: 4 } as const

/** The closed set of messages on fd 3: {u32 type, u32 payload length, payload}, host endian. */
export const MESSAGE = { GO: 1, READY: 2, STARTED: 3, FAILED: 4 } as const

/** Frames on the attach socket: {u8 type, 0, 0, 0, u32 big-endian length}, then the payload (Docker's stream framing). */
export const FRAME = {
  STDIN: 0,
  STDOUT: 1,
  STDERR: 2,
  STDIN_EOF: 3,
  RESIZE: 4,
  OWNER: 6,
  EXIT: 7,
  RELEASED: 8,
  SUBSCRIBE: 9,
} as const

/** Bits of a SUBSCRIBE frame; a client that sends none gets everything. */
export const SUBSCRIPTION = { STDIN: 1, STDOUT: 2, STDERR: 4 } as const

/** The largest payload that init sends or accepts in one frame. */
export const FRAME_LIMIT = { MAX_BYTES: 1048576 } as const

/** The kernel's CLONE_NEW* bits (linux/sched.h). */
export const CLONE_FLAG = {
  time: 0x80,
  mnt: 0x20000,
  cgroup: 0x2000000,
  uts: 0x4000000,
  ipc: 0x8000000,
  user: 0x10000000,
  pid: 0x20000000,
  net: 0x40000000,
} as const

export type NamespaceType = keyof typeof CLONE_FLAG

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

export type Propagation =
  | 'private'
  | 'rprivate'
  | 'slave'
  | 'rslave'
  | 'shared'
  | 'rshared'
  | 'unbindable'
  | 'runbindable'

/** What is executed in the container, and as whom. */
export interface InitProcess {
  readonly args: readonly string[]
  readonly env: readonly string[]
  /** Inside the container. In run mode a missing one is created, in exec mode it is an error. */
  readonly cwd: string
  readonly uid: number
  readonly gid: number
  readonly additionalGids: readonly number[]
  /** Default 0022. */
  readonly umask?: number
  readonly tty: boolean
  readonly consoleSize?: { readonly rows: number; readonly columns: number }
  /** False: /dev/null. */
  readonly stdin: boolean
  /** Close the container's stdin when the first client that wrote to it goes away or sends STDIN_EOF. */
  readonly stdinOnce: boolean
  /** A small init as pid 1 that forwards signals and reaps. */
  readonly init: boolean
  readonly noNewPrivileges: boolean
  /** Bit n is capability n. */
  readonly capabilities: {
    readonly bounding: bigint
    readonly effective: bigint
    readonly permitted: bigint
    readonly inheritable: bigint
    readonly ambient: bigint
  }
  readonly rlimits: readonly { readonly resource: number; readonly soft: bigint; readonly hard: bigint }[]
  readonly oomScoreAdj?: number
  /** A `struct sock_filter` array, 8 bytes an instruction. */
  readonly seccomp?: Uint8Array
  /** SECCOMP_FILTER_FLAG_* bits for seccomp(2). Default 0. */
  readonly seccompFlags?: number
  readonly apparmorProfile?: string
  readonly selinuxLabel?: string
}

/** One line of uid_map or gid_map. */
export interface IdMapping {
  readonly containerId: number
  readonly hostId: number
  readonly size: number
}

/** What becomes the container's `/`. All paths are the host's. */
export interface InitRootfs {
  /** An existing directory; the mount is visible in the container's mount namespace only. */
  readonly target: string
  readonly readonly: boolean
  readonly propagation: Propagation
  readonly source:
    | {
        readonly kind: 'overlay'
        /** Top layer first. */
        readonly lowerDirs: readonly string[]
        readonly upperDir: string
        readonly workDir: string
        /** Further options of the overlay, comma separated: `volatile,xino=off`. */
        readonly options: string
      }
    | { readonly kind: 'directory'; readonly path: string }
}

export interface InitMount {
  /** Resolved inside the rootfs, whatever its symlinks say; created when missing. */
  readonly destination: string
  /** The filesystem type; ignored for a bind. */
  readonly type: string
  /** A bind's source is a host path. */
  readonly source: string
  /** MS_ bits of mount(2), without propagation bits. */
  readonly flags: number | bigint
  /** Default `rprivate` for binds. */
  readonly propagation?: Propagation
  readonly data: string
  /** Make every mount below read-only too; needs kernel 5.12. */
  readonly recursiveReadOnly?: boolean
  /** tmpfs only: start with what the image has at `destination`. */
  readonly tmpCopyUp?: boolean
  /** Skip this mount when it cannot be made. */
  readonly optional?: boolean
}

export interface InitDevice {
  readonly path: string
  readonly type: 'c' | 'b' | 'p'
  readonly major: number
  readonly minor: number
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Where the host has it, for when mknod is forbidden (user namespaces). Default: `path`. */
  readonly hostPath?: string
}

/** A host port held for the monitor's life, so that a clash is found now and by whoever comes later. */
export interface ReservedPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  /** 4 or 16 bytes, network order. */
  readonly address: Uint8Array
  readonly port: number
  /** Where the monitor itself carries what arrives, for what the kernel cannot translate; not with sctp. */
  readonly target?: { readonly address: Uint8Array; readonly port: number }
}

/** The process outside the container: sockets, log, exit record, teardown. */
export interface InitMonitor {
  /** A unix socket to create (mode 0600); any length of path. */
  readonly attachSocket?: string
  /** CRI lines. `maxBytes` 0: never rotate. `maxFiles` counts the current one; 0: keep all. */
  readonly log?: { readonly path: string; readonly maxBytes: number; readonly maxFiles: number }
  /** Written whole (temporary file, rename), mode 0600. */
  readonly exitFile?: string
  /** The monitor turns into this after the exit record, unless a client owns the teardown. Empty: nothing. */
  readonly exitCommand: readonly string[]
  readonly exitEnv: readonly string[]
  /** memory.events (v2) or memory.oom_control (v1) files to find an OOM kill in. */
  readonly oomFiles: readonly string[]
  readonly reservedPorts: readonly ReservedPort[]
}

/** Everything tsrun-init needs; it takes no other input. */
export interface InitConfig {
  /** `exec` joins the container whose init's pidfd is fd 5. */
  readonly mode: 'run' | 'exec'
  readonly id: string
  readonly process: InitProcess
  readonly namespaces: {
    readonly create: readonly NamespaceType[]
    /** Without `path` (exec mode): the container's, through the pidfd. */
    readonly join: readonly { readonly type: NamespaceType; readonly path?: string }[]
  }
  /** Run mode: fd 5 is the network namespace to enter. */
  readonly netnsFd: boolean
  readonly cgroup: {
    /** The cgroup v2 directory to be born in. */
    readonly v2Dir?: string
    /** cgroup.procs files that the process is written into: v1 hierarchies, or v2 where it cannot be born there. */
    readonly procsFiles: readonly string[]
  }
  readonly uidMappings: readonly IdMapping[]
  readonly gidMappings: readonly IdMapping[]
  readonly hostname?: string
  readonly domainname?: string
  readonly sysctls: readonly { readonly name: string; readonly value: string }[]
  readonly rootfs?: InitRootfs
  readonly mounts: readonly InitMount[]
  readonly devices: readonly InitDevice[]
  readonly symlinks: readonly { readonly path: string; readonly target: string }[]
  readonly maskedPaths: readonly string[]
  readonly readonlyPaths: readonly string[]
  readonly monitor: InitMonitor
  /** Tests only: `<fault point>:fail|kill`; `tsrun-init --fault-points` lists the points. */
  readonly fault?: string
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
    (mount.optional === true ? MOUNT_OPTION.OPTIONAL : 0)
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

const IP_PROTOCOL = { tcp: 6, udp: 17, sctp: 132 } as const

function encodeMonitor(out: AttributeWriter, monitor: InitMonitor): void {
  if (monitor.attachSocket !== undefined) out.text(TAG.ATTACH_SOCKET, monitor.attachSocket)
  const log = monitor.log
  if (log !== undefined) out.record(TAG.LOG, r => r.u64(BigInt(log.maxBytes)).u32(log.maxFiles).str(log.path))
  if (monitor.exitFile !== undefined) out.text(TAG.EXIT_FILE, monitor.exitFile)
  out.texts(TAG.EXIT_ARG, monitor.exitCommand)
  out.texts(TAG.EXIT_ENV, monitor.exitEnv)
  out.texts(TAG.OOM_FILE, monitor.oomFiles)
  for (const { protocol, address, port, target } of monitor.reservedPorts)
    out.record(TAG.RESERVED_PORT, r => {
      r.u32(IP_PROTOCOL[protocol]).u32(port).u32(address.length).raw(address)
      if (target !== undefined) r.u32(target.port).u32(target.address.length).raw(target.address)
    })
}

/** What tsrun-init reports. `pid` is the host's number for the container's init. */
export type InitMessage =
  | { readonly kind: 'ready'; readonly pid: number }
  | { readonly kind: 'started' }
  | {
      readonly kind: 'failed'
      /** Which phase: a fault point's name. */
      readonly stage: string
      /** What was attempted, without the errno: `mount proc on /proc`. */
      readonly what: string
      /** 0 when no system call failed. */
      readonly errno: number
      /** `exec`: everything was ready and execve(2) refused the command. */
      readonly phase: 'setup' | 'exec'
    }

/** Cuts the stream from fd 3 into messages. */
export class InitMessageDecoder {
  #rest: Buffer = Buffer.alloc(0)

  /**
   * The messages that `chunk` completes.
   * @throws Error when the stream is not tsrun-init's.
   */
  push(chunk: Uint8Array): InitMessage[] {
    this.#rest = Buffer.concat([this.#rest, chunk])
    const messages: InitMessage[] = []
    while (this.#rest.length >= 8) {
      const reader = new Reader(this.#rest)
      const type = reader.u32()
      const length = reader.u32()
      if (length > 65536) throw new Error(`a message of ${length} bytes from tsrun-init`)
      if (this.#rest.length < 8 + length) break
      messages.push(parseMessage(type, this.#rest.subarray(8, 8 + length)))
      this.#rest = this.#rest.subarray(8 + length)
    }
    return messages
  }
}

function parseMessage(type: number, payload: Buffer): InitMessage {
  const reader = new Reader(payload)
  if (type === MESSAGE.READY) return { kind: 'ready', pid: reader.u32() }
  if (type === MESSAGE.STARTED) return { kind: 'started' }
  if (type === MESSAGE.FAILED) {
    const phase = reader.u32() === 1 ? 'exec' : 'setup'
    const errno = reader.u32() | 0
    const stage = reader.str()
    return { kind: 'failed', stage, what: reader.str(), errno, phase }
  }
  throw new Error(`an unknown message ${type} from tsrun-init`)
}

/** One frame for the attach socket. For bulk data write `encodeFrameHeader` and the payload apart, without the copy. */
export function encodeFrame(type: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  return Buffer.concat([encodeFrameHeader(type, payload.length), payload])
}

/** The 8 bytes before a payload of `length` bytes; at most FRAME_LIMIT.MAX_BYTES. */
export function encodeFrameHeader(type: number, length: number): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt8(type, 0)
  header.writeUInt32BE(length, 4)
  return header
}

/** A RESIZE frame. */
export function encodeResize(rows: number, columns: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt16BE(rows & 0xffff, 0)
  payload.writeUInt16BE(columns & 0xffff, 2)
  return encodeFrame(FRAME.RESIZE, payload)
}

/** The exit code in an EXIT frame's payload. */
export function parseExit(payload: Buffer): number {
  return payload.readInt32BE(0)
}

/** A whole frame, or, for STDIN, STDOUT and STDERR, the part of one that has arrived. */
export interface Frame {
  readonly type: number
  /** A view into the chunk given to `push`, or of bytes kept from an earlier one. */
  readonly payload: Buffer
}

/**
 * Cuts the attach socket's stream into frames. Stream data is passed on as it arrives and is never gathered, so a
 * frame may come out in several parts; control frames come out whole.
 */
export class FrameDecoder {
  #head: Buffer = Buffer.alloc(0)
  #type = -1
  #left = 0

  /**
   * @throws Error when the stream is not the monitor's.
   */
  push(chunk: Uint8Array): Frame[] {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const frames: Frame[] = []
    for (;;) {
      if (this.#type >= 0) {
        if (rest.length === 0) return frames
        const part = rest.subarray(0, this.#left)
        rest = rest.subarray(part.length)
        this.#left -= part.length
        frames.push({ type: this.#type, payload: part })
        if (this.#left === 0) this.#type = -1
        continue
      }
      if (this.#head.length > 0) rest = Buffer.concat([this.#head, rest])
      this.#head = Buffer.alloc(0)
      const wanted = frameBytesNeeded(rest)
      if (rest.length < wanted) {
        this.#head = Buffer.from(rest)
        return frames
      }
      const type = rest.readUInt8(0)
      const length = rest.readUInt32BE(4)
      if (isStream(type) && length > 0) {
        this.#type = type
        this.#left = length
        rest = rest.subarray(8)
      } else {
        frames.push({ type, payload: rest.subarray(8, 8 + length) })
        rest = rest.subarray(8 + length)
      }
    }
  }
}

function isStream(type: number): boolean {
  return type <= FRAME.STDERR
}

/** How much must have arrived before the frame at the start of `bytes` can be taken. */
function frameBytesNeeded(bytes: Buffer): number {
  if (bytes.length < 8) return 8
  const type = bytes.readUInt8(0)
  const length = bytes.readUInt32BE(4)
  if (type > FRAME.SUBSCRIBE || length > FRAME_LIMIT.MAX_BYTES || (!isStream(type) && length > 64))
    throw new Error(`a frame of type ${type} and ${length} bytes on the attach socket`)
  return isStream(type) ? 8 : 8 + length
}

const littleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1

/** Host-endian fields, one after the other, without padding. */
class Writer {
  #buffer = Buffer.allocUnsafe(256)
  #length = 0

  get length(): number {
    return this.#length
  }

  u32(value: number): this {
    const at = this.#grow(4)
    if (littleEndian) this.#buffer.writeUInt32LE(value >>> 0, at)
    else this.#buffer.writeUInt32BE(value >>> 0, at)
    return this
  }

  u64(value: bigint): this {
    const at = this.#grow(8)
    const bits = BigInt.asUintN(64, value)
    if (littleEndian) this.#buffer.writeBigUInt64LE(bits, at)
    else this.#buffer.writeBigUInt64BE(bits, at)
    return this
  }

  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length)
    this.#buffer.set(bytes, at)
    return this
  }

  /** {u32 length without the NUL, bytes, NUL}. */
  str(text: string): this {
    const bytes = textBytes(text)
    return this.u32(bytes.length - 1).raw(bytes)
  }

  /** Overwrites the u32 at `at`: a length that is known only now. */
  patch(at: number, value: number): void {
    if (littleEndian) this.#buffer.writeUInt32LE(value, at)
    else this.#buffer.writeUInt32BE(value, at)
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  #grow(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, this.#buffer.length * 2))
      this.#buffer.copy(larger, 0, 0, at)
      this.#buffer = larger
    }
    return at
  }
}

function textBytes(text: string): Buffer {
  if (text.includes('\0')) throw new Error(`a NUL byte in ${JSON.stringify(text)}`)
  return Buffer.from(`${text}\0`, 'utf8')
}

class AttributeWriter {
  #out = new Writer()

  u32(tag: number, value: number): void {
    this.record(tag, r => r.u32(value))
  }

  /** The text and its NUL. */
  text(tag: number, value: string): void {
    this.record(tag, r => r.raw(textBytes(value)))
  }

  texts(tag: number, values: readonly string[]): void {
    for (const value of values) this.text(tag, value)
  }

  record(tag: number, fill: (out: Writer) => unknown): void {
    const at = this.#out.length
    this.#out.u32(0).u32(tag)
    fill(this.#out)
    this.#out.patch(at, this.#out.length - at - 8)
  }

  bytes(): Buffer {
    return this.#out.bytes()
  }
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  u32(): number {
    const at = this.#at
    this.#at += 4
    return littleEndian ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at)
  }

  str(): string {
    const length = this.u32()
    const start = this.#at
    this.#at += length
    if (this.#at > this.#bytes.length) throw new Error('a truncated message from tsrun-init')
    return this.#bytes.toString('utf8', start, this.#at)
  }
}

/** Lets the container's command run. Sent once, after READY. Down here because it needs the Writer at load time. */
export const GO: Buffer = new Writer().u32(MESSAGE.GO).u32(0).bytes()
