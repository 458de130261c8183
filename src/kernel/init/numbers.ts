// The numbers that the engine and tsrun-init agree on: their single source. `native/bootstrap-tags.h` is generated from these
// tables (`node native/gen-tags.mjs`). Pure.

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
  OFFERED_PORT: 77, // *
  PORT_COUNT: 78, // * how many ports the one before it stands for
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
export const MOUNT_OPTION = { RECURSIVE_READ_ONLY: 1, TMP_COPY_UP: 2, OPTIONAL: 4, IDMAP: 8, OPEN_FIRST: 16 } as const

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
  HOLD_PORT: 10,
  RELEASE_PORT: 11,
  PORT_RESULT: 12,
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
