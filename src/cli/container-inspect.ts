// The object that `docker inspect` prints of a container, as far as tsrun has what it names. Pure but for what it is given.

import type { ContainerView } from '../engine/container/container-service.ts'
import { shortId } from '../engine/ids.ts'
import type { Container, ContainerState, HealthState, MountSpec } from '../model/container.ts'
import type { Network } from '../model/network.ts'
import { inspectHostConfig, nullIfEmpty } from './host-config.ts'
import { inspectNetworks } from './network-settings.ts'

/** What the container's own record does not say. */
export interface InspectSurroundings {
  readonly networks: readonly Network[]
  /** The engine's root and state directories. */
  readonly root: string
  readonly state: string
  /** Host folder of a volume mount. */
  volumeFolder(container: Container, mount: MountSpec): { readonly name: string; readonly folder: string }
}

const never = '0001-01-01T00:00:00Z'

export function toInspection(
  { container, state }: ContainerView,
  around: InspectSurroundings,
): Record<string, unknown> {
  const { spec, process } = container
  const [program = '', ...args] = process.args
  const folder = `${around.root}/containers/${container.id}`
  return {
    Id: container.id,
    Created: container.createdAt,
    Path: program,
    Args: args,
    State: inspectState(state),
    Image: container.image.id,
    ResolvConfPath: `${folder}/resolv.conf`,
    HostnamePath: `${folder}/hostname`,
    HostsPath: `${folder}/hosts`,
    LogPath: spec.log?.driver === 'none' ? '' : `${folder}/container.log`,
    Name: `/${container.name}`,
    RestartCount: container.restartCount ?? 0,
    Driver: 'overlay2',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: null,
    HostConfig: inspectHostConfig(container),
    GraphDriver: {
      Name: 'overlay2',
      Data: {
        LowerDir: container.image.layerDirs.join(':'),
        MergedDir: `${around.state}/containers/${container.id}/rootfs`,
        UpperDir: `${folder}/upper`,
        WorkDir: `${folder}/work`,
      },
    },
    Mounts: (spec.mounts ?? [])
      .filter(({ type }) => type !== 'tmpfs')
      .map(mount => inspectMount(container, mount, around)),
    Config: inspectConfig(container),
    NetworkSettings: inspectNetworks(container, state.run?.endpoints ?? [], around.networks),
  }
}

function inspectState(state: ContainerState): unknown {
  const isUp = state.status === 'running' || state.status === 'paused'
  return {
    Status: state.status,
    Running: isUp || state.status === 'restarting',
    Paused: state.status === 'paused',
    Restarting: state.status === 'restarting',
    OOMKilled: state.exit?.oomKilled ?? false,
    Dead: false,
    Pid: isUp ? (state.run?.pid ?? 0) : 0,
    ExitCode: isUp ? 0 : (state.exit?.exitCode ?? 0),
    Error: isUp ? '' : (state.exit?.error ?? ''),
    StartedAt: state.run?.startedAt ?? state.exit?.startedAt ?? never,
    FinishedAt: state.exit?.finishedAt ?? never,
    ...(state.health === undefined ? {} : { Health: inspectHealth(state.health) }),
  }
}

function inspectHealth(health: HealthState): unknown {
  return {
    Status: health.status,
    FailingStreak: health.failingStreak,
    Log: health.log.map(({ start, end, exitCode, output }) => ({
      Start: start,
      End: end,
      ExitCode: exitCode,
      Output: output,
    })),
  }
}

function inspectMount(container: Container, mount: MountSpec, around: InspectSurroundings): unknown {
  const common = {
    Destination: mount.target,
    Mode: mount.readonly ? 'ro' : '',
    RW: !mount.readonly,
    Propagation: mount.propagation ?? (mount.type === 'bind' ? 'rprivate' : ''),
  }
  if (mount.type === 'bind') return { Type: 'bind', Source: mount.source, ...common }
  const { name, folder } = around.volumeFolder(container, mount)
  return { Type: 'volume', Name: name, Source: folder, Driver: 'local', ...common }
}

function inspectConfig(container: Container): unknown {
  const { spec, process } = container
  const published = container.ports.map(port => `${port.containerPort}/${port.protocol}`)
  const exposed = [...(container.exposed ?? []), ...(spec.expose ?? []), ...published]
  return {
    Hostname: spec.hostname ?? shortId(container.id),
    Domainname: spec.domainname ?? '',
    User: process.user,
    AttachStdin: spec.attach?.includes('stdin') ?? spec.stdinOnce === true,
    AttachStdout: spec.attach?.includes('stdout') ?? true,
    AttachStderr: spec.attach?.includes('stderr') ?? true,
    ...(exposed.length === 0
      ? {}
      : { ExposedPorts: Object.fromEntries(exposed.map(port => [port.includes('/') ? port : `${port}/tcp`, {}])) }),
    Tty: spec.tty === true,
    OpenStdin: spec.openStdin === true,
    StdinOnce: spec.stdinOnce === true,
    Env: process.env,
    Cmd: nullIfEmpty(container.command ?? container.process.args),
    ...(container.healthcheck === undefined ? {} : { Healthcheck: container.healthcheck }),
    Image: container.image.reference,
    Volumes: volumesOf(spec.mounts ?? []),
    WorkingDir: process.cwd,
    Entrypoint: nullIfEmpty(container.entrypoint ?? []),
    OnBuild: null,
    Labels: spec.labels ?? {},
    ...(container.shell === undefined ? {} : { Shell: container.shell }),
    StopSignal: container.stopSignal,
    ...(spec.stopTimeoutSeconds === undefined ? {} : { StopTimeout: spec.stopTimeoutSeconds }),
  }
}

function volumesOf(mounts: readonly MountSpec[]): Record<string, object> | null {
  const anonymous = mounts.filter(mount => mount.type === 'volume' && mount.source === '')
  return anonymous.length === 0 ? null : Object.fromEntries(anonymous.map(mount => [mount.target, {}]))
}
