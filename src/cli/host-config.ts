// `HostConfig` of `docker inspect`: what the user asked for, under docker's names. Pure.

import type { Container } from '../model/container.ts'
import type { DeviceRate } from '../model/resources.ts'
import { portMap } from './port-map.ts'

export function inspectHostConfig(container: Container): unknown {
  const { spec } = container
  const mounts = spec.mounts ?? []
  return {
    Binds: nullIfEmpty(
      mounts
        .filter(({ type, source }) => type !== 'tmpfs' && source !== '')
        .map(({ source, target, readonly }) => `${source}:${target}${readonly ? ':ro' : ''}`),
    ),
    ContainerIDFile: '',
    LogConfig: {
      Type: spec.log?.driver ?? 'json-file',
      Config: {
        ...(spec.log?.maxSizeBytes ? { 'max-size': String(spec.log.maxSizeBytes) } : {}),
        ...(spec.log && spec.log.maxFiles > 1 ? { 'max-file': String(spec.log.maxFiles) } : {}),
      },
    },
    NetworkMode: spec.networks?.[0]?.network ?? 'bridge',
    PortBindings: portMap(container.ports),
    RestartPolicy: { Name: spec.restart?.name ?? 'no', MaximumRetryCount: spec.restart?.maximumRetryCount ?? 0 },
    AutoRemove: spec.autoRemove === true,
    VolumeDriver: '',
    VolumesFrom: nullIfEmpty(spec.volumesFrom ?? []),
    Annotations: spec.annotations ?? null,
    CapAdd: nullIfEmpty(spec.capAdd ?? []),
    CapDrop: nullIfEmpty(spec.capDrop ?? []),
    CgroupnsMode: spec.cgroupnsMode ?? 'private',
    Dns: spec.dns ?? [],
    DnsOptions: spec.dnsOptions ?? [],
    DnsSearch: spec.dnsSearch ?? [],
    ExtraHosts: nullIfEmpty(spec.extraHosts ?? []),
    GroupAdd: nullIfEmpty(spec.groupAdd ?? []),
    IpcMode: spec.ipcMode ?? 'shareable',
    Cgroup: '',
    Links: null,
    OomScoreAdj: spec.oomScoreAdj ?? 0,
    PidMode: spec.pidMode ?? '',
    Privileged: spec.privileged === true,
    PublishAllPorts: spec.publishAll === true,
    ReadonlyRootfs: spec.readonlyRootfs === true,
    SecurityOpt: nullIfEmpty(spec.securityOpt ?? []),
    UTSMode: spec.utsMode ?? '',
    UsernsMode: spec.userns ?? '',
    ShmSize: spec.shmSizeBytes ?? 64 * 1024 * 1024,
    Sysctls: spec.sysctls ?? {},
    Tmpfs: Object.fromEntries(mounts.filter(({ type }) => type === 'tmpfs').map(m => [m.target, m.data ?? ''])),
    Runtime: 'tsrun-init',
    Isolation: '',
    Init: spec.init === true,
    ...limits(container),
  }
}

function limits({ spec }: Container): Record<string, unknown> {
  const { resources = {} } = spec
  const rates = (list: readonly DeviceRate[] | undefined) =>
    nullIfEmpty((list ?? []).map(({ path, rate }) => ({ Path: path, Rate: rate })))
  return {
    CpuShares: resources.cpuShares ?? 0,
    Memory: resources.memoryBytes ?? 0,
    NanoCpus: Math.round((resources.cpus ?? 0) * 1e9),
    CgroupParent: spec.cgroupParent ?? '',
    BlkioWeight: resources.blkioWeight ?? 0,
    BlkioWeightDevice: [],
    BlkioDeviceReadBps: rates(resources.deviceReadBps),
    BlkioDeviceWriteBps: rates(resources.deviceWriteBps),
    BlkioDeviceReadIOps: rates(resources.deviceReadIops),
    BlkioDeviceWriteIOps: rates(resources.deviceWriteIops),
    CpuPeriod: resources.cpuPeriodUs ?? 0,
    CpuQuota: resources.cpuQuotaUs ?? 0,
    CpusetCpus: resources.cpusetCpus ?? '',
    CpusetMems: resources.cpusetMems ?? '',
    Devices: (spec.devices ?? []).map(({ hostPath, path, access }) => ({
      PathOnHost: hostPath,
      PathInContainer: path,
      CgroupPermissions: access,
    })),
    DeviceCgroupRules: nullIfEmpty(
      (spec.deviceRules ?? []).map(({ type, major, minor, access }) => `${type} ${major}:${minor} ${access}`),
    ),
    MemoryReservation: resources.memoryReservationBytes ?? 0,
    // What the kernel is told where nobody says: as much swap as memory.
    MemorySwap: resources.memorySwapBytes ?? Math.max(0, 2 * (resources.memoryBytes ?? 0)),
    OomKillDisable: resources.oomKillDisable ?? null,
    PidsLimit: resources.pidsLimit ?? null,
    Ulimits: (spec.ulimits ?? []).map(({ name, soft, hard }) => ({ Name: name, Hard: hard, Soft: soft })),
  }
}

/** As Go prints a list that is not there. */
export function nullIfEmpty<T>(list: readonly T[]): readonly T[] | null {
  return list.length === 0 ? null : list
}
