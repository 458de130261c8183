// A container as the row that `ps` shows, under docker's field names. Pure. For `inspect` see container-inspect.ts.

import type { ContainerView } from '../engine/container/container-service.ts'
import { printable, shortId } from '../engine/ids.ts'
import type { PortMapping } from '../model/network.ts'
import type { Row } from './format.ts'
import { quoteGo } from './go-template/escapes.ts'
import { labelList, labelMethod } from './labels.ts'
import { formatAgo, formatDate, formatDuration, truncate } from './table.ts'

/** @param full do not cut ids and commands short */
export function toPsRow({ container, state }: ContainerView, full: boolean): Row {
  const command = commandLine(container.process.args)
  const ports = state.run?.endpoints.flatMap(endpoint => endpoint.ports) ?? []
  const mounts = () =>
    (container.spec.mounts ?? []).filter(({ type, source }) => type !== 'tmpfs' && source !== '').map(m => m.source)
  // What the default table does not show is made when somebody asks for it.
  return {
    ID: full ? container.id : shortId(container.id),
    Image: printable(container.image.reference),
    Command: quoteGo(full ? command : truncate(command, 20), '"'),
    get CreatedAt() {
      return formatDate(container.createdAt)
    },
    RunningFor: formatAgo(container.createdAt),
    Status: formatStatus({ container, state }),
    State: state.status,
    Ports: formatPorts(ports),
    Names: container.name,
    get Labels() {
      return labelList(container.spec.labels)
    },
    Label: labelMethod(container.spec.labels),
    get Networks() {
      return (container.spec.networks ?? []).map(n => n.network).join(',')
    },
    get Mounts() {
      return mounts()
        .map(mount => printable(full ? mount : truncate(mount, 15)))
        .join(',')
    },
    get LocalVolumes() {
      return String((container.spec.mounts ?? []).filter(mount => mount.type === 'volume').length)
    },
    Platform: null,
    Size: '0B',
    Health: state.health?.status ?? '',
    HealthStatus: state.health?.status ?? '',
  }
}

/** As docker shows it: words with a space in single quotes. */
function commandLine(args: readonly string[]): string {
  return args.map((word, index) => (index > 0 && word.includes(' ') ? `'${word}'` : word)).join(' ')
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
    // Not only the last one: those of 0.0.0.0 and of :: take turns.
    const run = runs.findLast(
      ({ first, length }) =>
        first.hostIp === port.hostIp &&
        first.protocol === port.protocol &&
        port.containerPort === first.containerPort + length &&
        port.hostPort === first.hostPort + length,
    )
    if (run !== undefined) run.length += 1
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
