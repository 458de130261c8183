// From the host to a published port: the rule, the listener in the container, and a real connection.

import { readFileSync } from 'node:fs'
import { PacketTrace } from '../../../kernel/nftables/trace.ts'
import { connectTcp } from '../../../kernel/probe.ts'
import { parseSocketTable } from '../../../kernel/socket-owner.ts'
import { formatAddress } from '../../../lib/ip.ts'
import type { PortMapping } from '../../../model/network.ts'
import { heldPorts } from '../port-routes.ts'
import { bad, bare, type EndpointScene, good, type Steps } from './diagnosis.ts'
import { describeDrop, publishedTo } from './target-checks.ts'

const answerMs = 1500
// The states of /proc/net/tcp and udp in which somebody waits.
const waiting = { tcp: '0A', udp: '07' } as const

/** Steps for every published port of the endpoint. */
export function* checkPorts(scene: EndpointScene): Steps {
  for (const port of heldPorts(scene.endpoint)) yield* checkPort(scene, port)
}

function* checkPort(scene: EndpointScene, port: PortMapping & { readonly proxyTo?: string }): Steps {
  const { endpoint } = scene
  const label = `port ${port.hostIp.includes(':') ? `[${port.hostIp}]` : port.hostIp}:${port.hostPort}/${port.protocol}`
  const target = endpoint.addresses.map(bare).find(each => each.includes(':') === port.hostIp.includes(':'))
  if (port.proxyTo === undefined) {
    const found = publishedTo(scene).find(
      each => each.protocol === port.protocol && each.hostIp === port.hostIp && each.hostPort === port.hostPort,
    )
    const reload = 'tsrun network reload'
    if (found === undefined) return yield bad(label, `no rule leads it to ${endpoint.containerName}`, reload)
    if (found.containerIp !== target || found.containerPort !== port.containerPort)
      return yield bad(label, `its rule leads to ${found.containerIp}:${found.containerPort}`, reload)
  }
  const address = port.proxyTo ?? target ?? ''
  yield* checkListener(scene, port, { label, address })
  if (port.protocol !== 'tcp') return
  using trace = new PacketTrace(hostAddress(address), address)
  const result = connectTcp(address, port.containerPort, answerMs)
  if (result.kind === 'answered') return yield good(label, `${address}:${port.containerPort} answers the host`)
  const [drop] = trace.drops()
  yield drop === undefined
    ? bad(label, `${address}:${port.containerPort} ${result.kind === 'refused' ? 'says no' : 'does not answer'}`)
    : describeDrop(drop)
}

function* checkListener(
  { run, endpoint }: EndpointScene,
  { protocol, containerPort }: PortMapping,
  { label, address }: { label: string; address: string },
): Steps {
  if (protocol === 'sctp') return
  const sockets = [protocol, `${protocol}6`].flatMap(file =>
    parseSocketTable(readFileSync(`/proc/${run.pid}/net/${file}`, 'latin1'), waiting[protocol]),
  )
  const onPort = sockets.filter(socket => socket.port === containerPort).map(socket => formatAddress(socket.address))
  if (onPort.some(each => each === '0.0.0.0' || each === '::' || each === address))
    return yield good(label, `something listens on port ${containerPort} in the container`)
  if (onPort.length > 0)
    return yield bad(
      label,
      `the program in "${endpoint.containerName}" listens on ${onPort.join(', ')} alone, where only the container itself reaches it`,
      'make it listen on 0.0.0.0',
    )
  // Beside what is there for the container itself, such as tsrun's resolver.
  const open = sockets.filter(socket => !formatAddress(socket.address).startsWith('127.'))
  const others = [...new Set(open.map(socket => socket.port))].filter(port => port > 0)
  yield bad(
    label,
    `nothing listens on ${protocol} port ${containerPort} in "${endpoint.containerName}"${others.length === 0 ? '' : `, but on ${others.join(', ')}`}`,
    others.length === 1 ? `tsrun run -p HOSTPORT:${others[0]} ...` : undefined,
  )
}

/** Whichever address the host uses towards the container: the trace only has to see both ways. */
function hostAddress(address: string): string {
  return address.includes(':') ? '::/0' : '0.0.0.0/0'
}
