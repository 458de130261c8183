/**
 * tsrun as a library: the same engine that the command line drives.
 *
 * @example
 * import { Engine } from 'tsrun'
 * await using engine = await Engine.open()
 * const job = await engine.containers.run({ image: 'busybox', command: ['echo', 'hello'], autoRemove: true })
 * for await (const chunk of job.stdout) process.stdout.write(chunk)
 * console.log('exit code', await job.wait())
 */

export type { BootStep } from './engine/boot.ts'
export type { BuildEvent, BuildOptions, BuildSecret, BuildStepState, BuiltImage } from './engine/build/build-types.ts'
export type { PruneBuildsOptions, PrunedBuilds } from './engine/build/build-usage.ts'
export type { CommitOptions } from './engine/commit-container.ts'
export { Attachment, type AttachOptions } from './engine/container/attachment.ts'
export type { CaptureOptions } from './engine/container/capture.ts'
export type { ContainerUpdate } from './engine/container/change-container.ts'
export type { PortChange } from './engine/container/change-ports.ts'
export {
  ContainerService,
  type ContainerView,
  type PrunedContainers,
  type RelayedContainer,
  type RemoveOptions,
  type StartAttachedOptions,
  type StartedContainer,
  type StopOptions,
} from './engine/container/container-service.ts'
export type { ExecSpec } from './engine/container/exec-container.ts'
export type { LogLine, LogOptions as LogReadOptions } from './engine/container/logs.ts'
export type { ContainerClient, OutputTargets } from './engine/container/output-relay.ts'
export { type CreateOptions, RunningContainer, type RunOptions } from './engine/container/running-container.ts'
export type { StartOptions } from './engine/container/start-container.ts'
export type { ContainerStats, StatsOptions } from './engine/container/stats.ts'
export type { ProcessTable } from './engine/container/top.ts'
export type { UsageLine } from './engine/disk-usage.ts'
export { type PreflightCheck, preflight } from './engine/doctor.ts'
export { Engine, type EngineOptions } from './engine/engine.ts'
export type { EngineEvent, EventBus, EventRange } from './engine/events.ts'
export { setExplainer } from './engine/explain.ts'
export { ContainerFiles } from './engine/files/container-files.ts'
export type { CopyOptions } from './engine/files/copy-files.ts'
export type { FileChange } from './engine/files/diff.ts'
export type { ImportImageOptions, LoadedImageSummary, LoadImagesOptions } from './engine/image/image-options.ts'
export { ImageService } from './engine/image/image-service.ts'
export type { HistoryLine, ImageInspect, ImageSummary, ImageUsage } from './engine/image/list-images.ts'
export { type LoginRequest, type LoginResult, login, logout } from './engine/image/login.ts'
export type { PulledImage, RemoteManifest } from './engine/image/pull-image.ts'
export type { PushedImage } from './engine/image/push-image.ts'
export type { RemovedImages } from './engine/image/remove-image.ts'
export type { ResolvedImage } from './engine/image/resolve-image.ts'
export type { ArchiveFormat } from './engine/image/save-image.ts'
export type {
  OnTransfer,
  PullImageOptions,
  PullPolicy,
  TransferEvent,
  TransferOptions,
  TransferState,
} from './engine/image/transfer-events.ts'
export type { NetworkUpdate } from './engine/network/change-peers.ts'
export type { Diagnosis, DiagnosisStep } from './engine/network/doctor/diagnosis.ts'
export type {
  ChildLinkSpec,
  IpamDriverFactory,
  IpamDriverHost,
  IpamKit,
  Ipv6AddressMode,
  Link,
  LinkSettings,
  MacvlanMode,
  NetlinkChange,
  NetlinkMessage,
  NetlinkSocket,
  NetworkDriverFactory,
  NetworkDriverHost,
  NetworkKit,
  RouteSpec,
  SandboxInterface,
  VethSpec,
} from './engine/network/driver-types.ts'
export type {
  GraphEndpoint,
  GraphInterface,
  GraphNetwork,
  GraphPeer,
  GraphSourceRoute,
  GraphTranslation,
  NetworkGraph,
} from './engine/network/network-graph.ts'
export { type NetworkInspection, NetworkService } from './engine/network/network-service.ts'
export type { Pruned, PruneOptions } from './engine/prune.ts'
export type { PruneFilter } from './engine/prune-filter.ts'
export type { SystemInfo } from './engine/system-info.ts'
export {
  type PrunedVolumes,
  type Volume,
  type VolumeCreateOptions,
  VolumeService,
} from './engine/volume/volume-service.ts'
export { CleanupError, type Undo } from './lib/rollback.ts'
export type * from './model/container.ts'
export { type ErrorKind, TsrunError } from './model/errors.ts'
export type { IdMapping, IdMaps } from './model/id-maps.ts'
export type { ContainerDefaults, Digest, Healthcheck, HistoryEntry, ImageConfig, Platform } from './model/image.ts'
export type { AddressRequest, IpamDriver, LeaseRequest } from './model/ipam.ts'
export type { Lease, LeasedRoute } from './model/lease.ts'
export type {
  DisconnectOptions,
  Endpoint,
  Network,
  NetworkDriver,
  NetworkSpec,
  Peer,
  Pool,
  PoolPlan,
  PoolRequest,
  PoolUsage,
  PortMapping,
  Protocol,
  Sandbox,
} from './model/network.ts'
export type { PortRequest } from './model/port-request.ts'
export type { DeviceRate, DeviceRule, Resources } from './model/resources.ts'
