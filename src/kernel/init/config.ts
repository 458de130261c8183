// What tsrun-init is told: plain data, host paths, no policy left to decide. Pure.

import type { IdMapping } from '../../model/id-maps.ts'
import type { NamespaceType } from './numbers.ts'

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
  /** bind: what is on disk are the ids of the user namespace that is joined; needs Linux 5.12. */
  readonly idmap?: boolean
  /** bind: open the source before anything else, in the host's mounts: for a path through a descriptor of the engine. */
  readonly openFirst?: boolean
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

/** A host port held for the monitor's life, so that a clash is found now and by whoever comes later; or a range of them. */
export interface ReservedPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  /** 4 or 16 bytes, network order. */
  readonly address: Uint8Array
  readonly port: number
  /** This port and those behind it, each to the target's port as far behind; default 1. */
  readonly count?: number
  /** Where the monitor itself carries what arrives, for what the kernel cannot translate; not with sctp. */
  readonly target?: { readonly address: Uint8Array; readonly port: number }
  /** Passed over when it cannot be had. */
  readonly optional?: boolean
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
  /** Tests only: `<fault point>:fail|kill|stop`; `tsrun-init --fault-points` lists the points. */
  readonly fault?: string
}
