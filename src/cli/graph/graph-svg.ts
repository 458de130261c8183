// `tsrun network graph --format svg`: the way out on the left, networks in the middle, containers on the right, and a line
// between the two ends of each veth pair with their names on it. Pure.

import { printable } from '../../engine/ids.ts'
import type { GraphEndpoint, GraphNetwork, NetworkGraph } from '../../engine/network/network-graph.ts'
import { answer, place, wayOut, wayToPeer } from './graph-text.ts'

const lineHeight = 17
const padding = 10
const columns = { uplink: 20, network: 260, container: 960 } as const
const widths = { uplink: 220, network: 400, container: 360 } as const

interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** @returns a whole SVG document that needs no font and no style from elsewhere */
export function renderGraphSvg(graph: NetworkGraph): string {
  const parts: string[] = []
  let y = 20
  const networkBoxes: { box: Box; isInternal: boolean }[] = []
  for (const network of graph.networks) {
    const block = networkPart(network, y)
    parts.push(...block.parts)
    networkBoxes.push({ box: block.box, isInternal: network.internal })
    y = block.bottom + 20
  }
  const uplinks = graph.uplinks.map((uplink, index) => {
    const lines = [
      `${uplink.name} (${uplink.index})`,
      ...uplink.addresses,
      ...uplink.gateways.map(g => `default via ${g}`),
    ]
    const box = { x: columns.uplink, y: 20 + index * 110, width: widths.uplink, height: heightOf(lines) }
    parts.push(drawBox(box, lines, 'uplink'))
    y = Math.max(y, box.y + box.height + 20)
    return box
  })
  for (const uplink of uplinks)
    for (const { box, isInternal } of networkBoxes) if (!isInternal) parts.unshift(drawLine(uplink, box, 'way-out'))
  const width = columns.container + widths.container + 20
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" font-family="monospace" font-size="12">
<title>Networks: ${escapeText(graph.networks.map(network => network.name).join(', '))}</title>
<style>
.box{fill:#fff;stroke:#333}.uplink{fill:#eef}.network{fill:#efe}.container{fill:#ffe}.broken{stroke:#c00;stroke-width:2}
.line{stroke:#333;fill:none}.shared{stroke-dasharray:2 3}.way-out{stroke-dasharray:5 4;stroke:#888}.wrong{fill:#c00}.first{font-weight:bold}
</style>
<rect width="100%" height="100%" fill="#fff"/>
${parts.join('\n')}
</svg>
`
}

function networkPart(network: GraphNetwork, y: number): { parts: string[]; box: Box; bottom: number } {
  const lines = [
    network.name,
    `${network.driver}${network.internal ? ', internal' : ''}`,
    ...(network.interfaces.length === 0 ? network.subnets : []),
    ...network.interfaces.flatMap(own => [`${own.name} (${own.index}) mtu ${own.mtu}`, ...own.addresses]),
    ...network.translations.map(wayOut),
    ...network.peers.map(wayToPeer),
    ...network.foreignPorts.map(name => `+ ${name}`),
    ...network.problems.map(problem => `✗ ${problem}`),
  ]
  const parts: string[] = []
  let bottom = y
  const ends: { box: Box; endpoint: GraphEndpoint }[] = []
  for (const endpoint of network.endpoints) {
    const text = endpointLines(endpoint)
    const box = { x: columns.container, y: bottom, width: widths.container, height: heightOf(text) }
    parts.push(drawBox(box, text, endpoint.problems.length > 0 ? 'container broken' : 'container'))
    ends.push({ box, endpoint })
    bottom += box.height + 12
  }
  const box = { x: columns.network, y, width: widths.network, height: Math.max(heightOf(lines), bottom - y - 12) }
  parts.push(drawBox(box, lines, network.problems.length > 0 ? 'network broken' : 'network'))
  for (const end of ends) parts.push(drawPair(box, end.box, end.endpoint))
  return { parts, box, bottom: Math.max(bottom, y + box.height) }
}

function endpointLines({ container, inside, asksResolver, ports, problems }: GraphEndpoint): string[] {
  return [
    container.name,
    `pid ${container.pid}${inside === undefined ? '' : `, ${inside.mac}`}`,
    ...(inside?.addresses ?? []),
    ...(inside?.gateways ?? []).map(gateway => `default via ${gateway}`),
    ...(inside?.sourceRoutes ?? []).map(answer),
    ...(asksResolver ? ['names from 127.0.0.11'] : []),
    ...ports.map(port => `${place(port.hostIp)}:${port.hostPort} → ${port.containerPort}/${port.protocol}`),
    ...problems.map(problem => `✗ ${problem}`),
  ]
}

/** The line from the bridge to the container, with the name of each end where it is. */
function drawPair(network: Box, container: Box, { host, parent, inside }: GraphEndpoint): string {
  const near = host ?? parent
  const y = container.y + lineHeight
  const from = network.x + network.width
  const label = (x: number, anchor: string, text: string) =>
    `<text x="${x}" y="${y - 4}" text-anchor="${anchor}">${escapeText(text)}</text>`
  return [
    `<path class="line${host === undefined ? ' shared' : ''}" d="M${from} ${y}H${container.x}"/>`,
    ...(near === undefined ? [] : [label(from + 5, 'start', `${near.name} (${near.index})`)]),
    ...(inside === undefined ? [] : [label(container.x - 5, 'end', `${inside.name} (${inside.index})`)]),
  ].join('')
}

function drawLine(from: Box, to: Box, kind: string): string {
  const start = `${from.x + from.width} ${from.y + from.height / 2}`
  return `<path class="line ${kind}" d="M${start}L${to.x} ${to.y + to.height / 2}"/>`
}

function drawBox({ x, y, width, height }: Box, lines: readonly string[], kind: string): string {
  const text = lines.map((line, index) => {
    const look = index === 0 ? ' class="first"' : line.startsWith('✗') ? ' class="wrong"' : ''
    return `<text x="${x + padding}" y="${y + padding + 8 + index * lineHeight}"${look}>${escapeText(line)}</text>`
  })
  return `<rect class="box ${kind}" x="${x}" y="${y}" width="${width}" height="${height}" rx="4"/>${text.join('')}`
}

function heightOf(lines: readonly string[]): number {
  return lines.length * lineHeight + padding
}

function escapeText(text: string): string {
  return printable(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
