// A container under docker's field names: the row that `ps` shows and the object that `inspect` prints. Pure.

import type { ContainerView } from '../engine/container/container-service.ts'
import { printable, shortId } from '../engine/ids.ts'
import type { HealthState } from '../model/container.ts'
import type { Endpoint, Network, PortMapping } from '../model/network.ts'
import type { Row } from './format.ts'
import { formatAgo, formatDuration, truncate } from './table.ts'

/** @param full do not cut ids and commands short */
export function toPsRow({ container, state }: ContainerView, full: boolean): Row {
  const command = printable(container.process.args.join(' '))
  const ports = state.run?.endpoints.flatMap(endpoint => endpoint.ports) ?? []
  return {
    ID: full ? container.id : shortId(container.id),
    Image: printable(container.image.reference),
    Command: `"${full ? command : truncate(command, 20)}"`,
    CreatedAt: container.createdAt,
    RunningFor: formatAgo(container.createdAt),
    Status: formatStatus({ container, state }),
    State: state.status,
    Ports: formatPorts(ports),
    Names: container.name,
    Labels: Object.entries(container.spec.labels ?? {})
      .map(([k, v]) => printable(`${k}=${v}`))
      .join(','),
    Networks: (container.spec.networks ?? []).map(n => n.network).join(','),
    Mounts: (container.spec.mounts ?? []).map(m => printable(m.source)).join(','),
  }
}

function formatStatus({ state }: ContainerView): string {
  if (state.status === 'created') return 'Created'
  if (state.status === 'running' || state.status === 'paused') {
    const since = Date.parse(state.run?.startedAt ?? '')
    const up = Number.isNaN(since) ? 'Up' : `Up ${formatDuration(Date.now() - since)}`
    if (state.status === 'paused') return `${up} (Paused)`
    if (state.health === undefined) return up
    return `${up} (${state.health.status === 'starting' ? 'health: starting' : state.health.status})`
  }
  if (state.status === 'restarting' && state.exit !== undefined)
    return `Restarting (${state.exit.exitCode}) ${formatAgo(state.exit.finishedAt)}`
  return state.exit === undefined ? 'Exited' : `Exited (${state.exit.exitCode}) ${formatAgo(state.exit.finishedAt)}`
}

/** `0.0.0.0:8080->80/tcp`, with runs of ports as ranges. */
export function formatPorts(ports: readonly PortMapping[]): string {
  const sorted = [...ports].sort((a, b) => a.containerPort - b.containerPort)
  const runs: { first: PortMapping; length: number }[] = []
  for (const port of sorted) {
    const run = runs.at(-1)
    const continues =
      run !== undefined &&
      run.first.hostIp === port.hostIp &&
      run.first.protocol === port.protocol &&
      port.containerPort === run.first.containerPort + run.length &&
      port.hostPort === run.first.hostPort + run.length
    if (continues) run.length += 1
    else runs.push({ first: port, length: 1 })
  }
  const range = (first: number, length: number) => (length === 1 ? `${first}` : `${first}-${first + length - 1}`)
  return runs
    .map(
      ({ first, length }) =>
        `${hostOf(first)}:${range(first.hostPort, length)}->${range(first.containerPort, length)}/${first.protocol}`,
    )
    .join(', ')
}

function hostOf(port: PortMapping): string {
  return port.hostIp.includes(':') ? `[${port.hostIp}]` : port.hostIp
}

/** The object that `docker inspect` prints, as far as tsrun has what it names. */
export function toInspection(view: ContainerView, networks: readonly Network[]): unknown {
  const { container, state } = view
  const { spec, process } = container
  const [program = '', ...args] = process.args
  return {
    Id: container.id,
    Created: container.createdAt,
    Path: program,
    Args: args,
    State: {
      Status: state.status,
      Running: state.status === 'running' || state.status === 'paused' || state.status === 'restarting',
      Paused: state.status === 'paused',
      Restarting: state.status === 'restarting',
      OOMKilled: state.exit?.oomKilled ?? false,
      Dead: false,
      Pid: state.status === 'running' || state.status === 'paused' ? (state.run?.pid ?? 0) : 0,
      ExitCode: state.exit?.exitCode ?? 0,
      Error: state.exit?.error ?? '',
      StartedAt: state.run?.startedAt ?? state.exit?.startedAt ?? '0001-01-01T00:00:00Z',
      FinishedAt: state.exit?.finishedAt ?? '0001-01-01T00:00:00Z',
      ...(state.health === undefined ? {} : { Health: toHealth(state.health) }),
    },
    Image: container.image.id,
    Name: `/${container.name}`,
    RestartCount: container.restartCount ?? 0,
    Driver: 'overlay',
    Mounts: (spec.mounts ?? []).map(mount => ({
      Type: mount.type,
      ...(mount.type === 'volume' ? { Name: mount.source } : {}),
      Source: mount.source,
      Destination: mount.target,
      RW: !mount.readonly,
      Propagation: mount.propagation ?? (mount.type === 'bind' ? 'rprivate' : ''),
    })),
    Config: {
      Hostname: spec.hostname ?? shortId(container.id),
      User: process.user,
      Tty: spec.tty === true,
      OpenStdin: spec.openStdin === true,
      StdinOnce: spec.stdinOnce === true,
      Env: process.env,
      Cmd: spec.command ?? null,
      Entrypoint: spec.entrypoint ?? null,
      Image: container.image.reference,
      WorkingDir: process.cwd,
      Labels: spec.labels ?? {},
      StopSignal: container.stopSignal,
      ...(container.healthcheck === undefined ? {} : { Healthcheck: container.healthcheck }),
    },
    HostConfig: {
      NetworkMode: spec.networks?.[0]?.network ?? 'bridge',
      AutoRemove: spec.autoRemove === true,
      Privileged: spec.privileged === true,
      ReadonlyRootfs: spec.readonlyRootfs === true,
      RestartPolicy: { Name: spec.restart?.name ?? 'no', MaximumRetryCount: spec.restart?.maximumRetryCount ?? 0 },
      Memory: spec.resources?.memoryBytes ?? 0,
      NanoCpus: Math.round((spec.resources?.cpus ?? 0) * 1e9),
      PidsLimit: spec.resources?.pidsLimit ?? null,
      CapAdd: spec.capAdd ?? [],
      CapDrop: spec.capDrop ?? [],
      SecurityOpt: spec.securityOpt ?? [],
      PortBindings: portMap(container.ports),
      Init: spec.init === true,
    },
    NetworkSettings: networkSettings(state.run?.endpoints ?? [], networks),
  }
}

function toHealth(health: HealthState): unknown {
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

function networkSettings(endpoints: readonly Endpoint[], networks: readonly Network[]): unknown {
  const byName: Record<string, unknown> = {}
  for (const endpoint of endpoints) {
    const network = networks.find(n => n.id === endpoint.networkId)
    const v4 = endpoint.addresses.find(a => !a.includes(':'))?.split('/') ?? []
    const v6 = endpoint.addresses.find(a => a.includes(':'))?.split('/') ?? []
    byName[network?.name ?? endpoint.networkId] = {
      NetworkID: endpoint.networkId,
      EndpointID: endpoint.id,
      Gateway: endpoint.gateways.find(g => !g.includes(':')) ?? '',
      IPAddress: v4[0] ?? '',
      IPPrefixLen: Number(v4[1] ?? 0),
      IPv6Gateway: endpoint.gateways.find(g => g.includes(':')) ?? '',
      GlobalIPv6Address: v6[0] ?? '',
      GlobalIPv6PrefixLen: Number(v6[1] ?? 0),
      MacAddress: endpoint.mac,
      HostInterface: endpoint.hostInterface ?? '',
      Interface: endpoint.containerInterface,
    }
  }
  return { Ports: portMap(endpoints.flatMap(endpoint => endpoint.ports)), Networks: byName }
}

function portMap(ports: readonly PortMapping[]): Record<string, { HostIp: string; HostPort: string }[]> {
  const map: Record<string, { HostIp: string; HostPort: string }[]> = {}
  for (const port of ports) {
    const key = `${port.containerPort}/${port.protocol}`
    map[key] = [...(map[key] ?? []), { HostIp: port.hostIp, HostPort: String(port.hostPort) }]
  }
  return map
}
