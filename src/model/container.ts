// What a container is: the user's wish (ContainerSpec), the record on disk (Container) and how it is doing (ContainerState).
// Plain data that goes to disk as JSON as it is.

import type { IdMapping, IdMaps } from './id-maps.ts'
import type { Healthcheck } from './image.ts'
import type { Endpoint, PortMapping } from './network.ts'
import type { PortRequest } from './port-request.ts'
import type { DeviceRule, Resources } from './resources.ts'

/** What to mount into a container. */
export interface MountSpec {
  readonly type: 'bind' | 'volume' | 'tmpfs'
  /** Host path (bind) or volume name (volume; empty for an anonymous one). */
  readonly source: string
  /** Absolute path in the container. */
  readonly target: string
  readonly readonly: boolean
  /** Mount propagation of a bind; default `rprivate`. */
  readonly propagation?: string
  /** tmpfs: mount options such as `size=64m,mode=1777`. */
  readonly data?: string
  /** volume: do not fill a new volume with the image's content. */
  readonly noCopy?: boolean
  /** Give the source the SELinux label of containers (`shared`, `:z`) or of this one alone (`private`, `:Z`), where there is SELinux. */
  readonly relabel?: 'shared' | 'private'
  /**
   * bind: what becomes of mounts below the source. `enabled` (default): they come along, and are read-only with the rest where the
   * kernel can (5.12); `writable`: they come along and stay writable; `readonly`: as enabled, or an error; `disabled`: they do not.
   */
  readonly recursive?: 'enabled' | 'disabled' | 'writable' | 'readonly'
  /** volume: a folder or file in it, instead of all of it. */
  readonly subpath?: string
  /** Give the source, with all in it, to the container's user at each start (podman's `:U`). */
  readonly chown?: boolean
  /** bind, in a container with mapped users: files have the container's ids on disk, as those of volumes have. */
  readonly idmap?: boolean
  /** bind: make the source a directory when it is missing, as `-v` does and `--mount` does not. */
  readonly createSource?: boolean
}

/** How a container joins one network. */
export interface NetworkAttachment {
  /** Name or id; `host`, `none`, `container:NAME` and `ns:PATH` are networks of their own kind and stand alone. */
  readonly network: string
  /** A static address of either family. It stays the container's for as long as the container exists. */
  readonly ip?: string
  /** A static IPv6 address, for networks with both families. */
  readonly ip6?: string
  /** `02:42:..`, lower case; default: made from the address. */
  readonly mac?: string
  readonly aliases?: readonly string[]
  /** Name of the interface in the container; default `eth0`, `eth1` .. in the order of the attachments. */
  readonly interfaceName?: string
  /** The network with the highest gives the default route; default 0; among equals the first does. */
  readonly gwPriority?: number
  /** Further addresses that no pool knows: 169.254.0.0/16 and fe80::/10. */
  readonly linkLocalIps?: readonly string[]
  /** Options for the network's driver. */
  readonly driverOptions?: Readonly<Record<string, string>>
}

/** When the container is started again by itself. */
export interface RestartPolicy {
  readonly name: 'no' | 'on-failure' | 'always' | 'unless-stopped'
  /** on-failure: at most this often; 0 means without limit. */
  readonly maximumRetryCount: number
}

/** What a user asks for with `create` or `run`. Everything but `image` has a default. */
export interface ContainerSpec {
  readonly image: string
  /** Replaces the image's CMD. */
  readonly command?: readonly string[]
  /** Replaces the image's ENTRYPOINT; an empty list clears it. */
  readonly entrypoint?: readonly string[]
  readonly name?: string
  /** `KEY=value`, added to the image's. */
  readonly env?: readonly string[]
  readonly workingDir?: string
  /** `name|uid[:group|gid]`. */
  readonly user?: string
  readonly groupAdd?: readonly string[]
  readonly hostname?: string
  readonly domainname?: string
  readonly labels?: Readonly<Record<string, string>>
  /** What a client that starts it joins; default: its output, and its input with `openStdin`. */
  readonly attach?: readonly ('stdin' | 'stdout' | 'stderr')[]
  readonly tty?: boolean
  /** Keep stdin open (`-i`). */
  readonly openStdin?: boolean
  /** Close stdin when the first client goes away. */
  readonly stdinOnce?: boolean
  readonly init?: boolean
  readonly autoRemove?: boolean
  readonly networks?: readonly NetworkAttachment[]
  readonly publish?: readonly PortRequest[]
  /** Publish every port the image exposes on a free host port (`-P`). */
  readonly publishAll?: boolean
  /** Who carries the published ports; default: what the network says. */
  readonly publishMode?: 'nat' | 'proxy'
  /** Further exposed ports, `80/tcp`. */
  readonly expose?: readonly string[]
  readonly mounts?: readonly MountSpec[]
  /** `NAME[:ro|rw]` of containers whose binds and volumes are mounted as well. */
  readonly volumesFrom?: readonly string[]
  readonly readonlyRootfs?: boolean
  readonly resources?: Resources
  readonly ulimits?: readonly { readonly name: string; readonly soft: number; readonly hard: number }[]
  readonly shmSizeBytes?: number
  readonly oomScoreAdj?: number
  readonly capAdd?: readonly string[]
  readonly capDrop?: readonly string[]
  readonly privileged?: boolean
  readonly securityOpt?: readonly string[]
  readonly devices?: readonly { readonly hostPath: string; readonly path: string; readonly access: string }[]
  /** Devices that it may make and use, by number. */
  readonly deviceRules?: readonly DeviceRule[]
  /** Its cgroup goes below this one; default: the engine's. */
  readonly cgroupParent?: string
  readonly sysctls?: Readonly<Record<string, string>>
  readonly dns?: readonly string[]
  readonly dnsSearch?: readonly string[]
  readonly dnsOptions?: readonly string[]
  /** `name:ip`; `host-gateway` for the host's address. */
  readonly extraHosts?: readonly string[]
  /** `host`, or `container:NAME`. Default: a namespace of its own, as for the three below. */
  readonly pidMode?: string
  /**
   * `host`; `container:NAME`, its /dev/shm included; `shareable`, which is the default; `private`: no other container joins it;
   * `none`: without a /dev/shm.
   */
  readonly ipcMode?: string
  /** `host`, or `container:NAME`. */
  readonly utsMode?: string
  /** `private`, which is the default, or `host`. */
  readonly cgroupnsMode?: string
  /**
   * Whose users it has: `host`, `remap` (those of the engine's setting), `auto[:size=N]` (ids of its own) or `container:NAME`.
   * Default: those of the container whose namespaces it joins, else `remap` where the engine has that setting, else `host`.
   */
  readonly userns?: string
  /** Exactly these ids instead; a missing one of the two is like the other. */
  readonly uidMappings?: readonly IdMapping[]
  readonly gidMappings?: readonly IdMapping[]
  readonly stopSignal?: string
  readonly stopTimeoutSeconds?: number
  readonly restart?: RestartPolicy
  /** Fields that are absent are the image's; `Test: ['NONE']` turns its healthcheck off. */
  readonly healthcheck?: Healthcheck
  /** Notes for other programs; tsrun only keeps them. */
  readonly annotations?: Readonly<Record<string, string>>
  readonly log?: LogOptions
}

/** How output is kept. */
export interface LogOptions {
  readonly driver: 'json-file' | 'none'
  /** A full file is rotated; 0 means never. */
  readonly maxSizeBytes: number
  readonly maxFiles: number
  /** Labels and variables that `logs --details` shows. */
  readonly labels?: readonly string[]
  readonly env?: readonly string[]
}

/** The image as it was when the container was created. */
export interface ContainerImage {
  /** As the user wrote it. */
  readonly reference: string
  /** Digest of the image config: the image id. */
  readonly id: string
  /** Unpacked layers, the topmost first. */
  readonly layerDirs: readonly string[]
}

/** The process as it will be run: image defaults and the user's wishes merged. */
export interface ProcessSpec {
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly cwd: string
  readonly user: string
}

/** The record of a container, `containers/<id>/container.json`. */
export interface Container {
  /** 64 hex digits. */
  readonly id: string
  readonly name: string
  /** RFC 3339. */
  readonly createdAt: string
  readonly image: ContainerImage
  readonly process: ProcessSpec
  readonly spec: ContainerSpec
  /** Ports with the host ports that were chosen: kept over restarts. */
  readonly ports: readonly PortMapping[]
  readonly stopSignal: string
  /** Which ids of the host its users are; absent: the same. */
  readonly idMaps?: IdMaps
  /** The image's and the user's healthcheck merged; absent where there is none. */
  readonly healthcheck?: Healthcheck
  /** The image's SHELL, which runs a healthcheck of the form CMD-SHELL; absent for `/bin/sh -c`. */
  readonly shell?: readonly string[]
  /** The image's ports; the user's own are in `spec.expose`. */
  readonly exposed?: readonly string[]
  /** The image's ENTRYPOINT and CMD, as far as the user did not replace them: `process.args` is both in one. */
  readonly entrypoint?: readonly string[]
  readonly command?: readonly string[]
  /** RFC 3339: the last time it was started. */
  readonly startedAt?: string
  /** The addresses of its last start by network id, without prefix length: asked for again at the next one. */
  readonly lastAddresses?: Readonly<Record<string, readonly string[]>>
  /** Set by `stop` and `kill`: the restart policy leaves the container alone. */
  readonly stoppedByUser?: boolean
  /** Automatic restarts since somebody started it. */
  readonly restartCount?: number
  /** How long the last automatic restart waited: the next one waits twice as long. */
  readonly restartDelayMs?: number
}

/** What there is of a container while its process lives: `<state>/containers/<id>/run.json`. */
export interface RunRecord {
  readonly phase: 'starting' | 'running'
  /** In the host's pid namespace; 0 while starting. */
  readonly pid: number
  /** Field 22 of /proc/<pid>/stat: tells a reused pid from ours. */
  readonly pidStartTime: string
  readonly startedAt: string
  readonly endpoints: readonly Endpoint[]
  readonly cgroup: string
}

/** How a container ended: `containers/<id>/exit.json`, written by the monitor. */
export interface ExitRecord {
  /** 128 + signal when a signal ended it. */
  readonly exitCode: number
  readonly signal: number
  readonly oomKilled: boolean
  readonly startedAt: string
  readonly finishedAt: string
  /** Why it could not be started, if that is how it ended. */
  readonly error?: string
}

/** docker's words for how a container is doing. */
export type ContainerStatus = 'created' | 'running' | 'paused' | 'restarting' | 'exited' | 'dead'

/** What the healthcheck found: `<state>/containers/<id>/health.json`. */
export interface HealthState {
  readonly status: 'starting' | 'healthy' | 'unhealthy'
  /** Failures since the last success. */
  readonly failingStreak: number
  /** The last five probes, the oldest first. */
  readonly log: readonly HealthProbe[]
}

/** One run of a healthcheck. */
export interface HealthProbe {
  /** RFC 3339. */
  readonly start: string
  readonly end: string
  /** -1 when it took too long or could not be run. */
  readonly exitCode: number
  /** The first 4096 bytes of what it wrote. */
  readonly output: string
}

/** How a container is doing now: derived, never stored. */
export interface ContainerState {
  readonly status: ContainerStatus
  readonly run?: RunRecord
  readonly exit?: ExitRecord
  /** Where it has a healthcheck and lives. */
  readonly health?: HealthState
}
