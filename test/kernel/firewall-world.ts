// The world of firewall.test.ts: a host with two bridges and containers on them, a machine outside, and a neighbour on
// the same LAN that routes container subnets to the host. Made with `ip`, not with our own drivers.

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Endpoint, Network, PortMapping } from '../../src/model/network.ts'
import { type Running, start } from '../helpers/command.ts'
import { Namespace, plainEnvironment } from '../helpers/namespace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const bun = `${root}node_modules/@oven/bun-linux-x64/bin/bun`

export interface Answer {
  readonly error?: { readonly code?: string; readonly message: string; readonly hint?: string }
  readonly milliseconds: number
  readonly explained: readonly string[]
}

/** The driver, running in the host's namespace. */
export class Agent {
  readonly #running: Running
  #answers = 0

  constructor(host: Namespace) {
    if (!existsSync(bun)) throw new Error(`cannot run the tests: "${bun}" is missing (npm install)`)
    this.#running = start(host.command(bun, [`${root}test/kernel/firewall-agent.ts`]), { env: plainEnvironment })
  }

  /** Makes one call of the driver; its failure is in the answer. */
  async try(call: string, args: object = {}): Promise<Answer> {
    const number = ++this.#answers
    this.#running.write(`${JSON.stringify({ call, ...args })}\n`)
    await this.#running.waitFor(new RegExp(`^(?:[^\\n]*\\n){${number}}`))
    return JSON.parse(this.#running.stdout().split('\n')[number - 1] ?? '')
  }

  /** Makes one call that must succeed. */
  async call(call: string, args: object = {}): Promise<Answer> {
    const answer = await this.try(call, args)
    if (answer.error !== undefined) throw new Error(`${call}: ${answer.error.message}`)
    return answer
  }

  async stop(): Promise<void> {
    this.#running.endInput()
    await this.#running.result
  }
}

/** A network on bridge `br-<number>` with 10.210.<number>.0/24 and fd00:<number>::/64. */
export function makeNetwork(number: number, changes: Partial<Network> = {}): Network {
  return {
    id: number.toString(16).padStart(12, '0').padEnd(64, '0'),
    name: `net${number}`,
    driver: 'bridge',
    pools: [
      { subnet: `10.210.${number}.0/24`, gateway: `10.210.${number}.1` },
      { subnet: `fd00:${number}::/64`, gateway: `fd00:${number}::1` },
    ],
    internal: false,
    labels: {},
    options: {},
    hostInterface: `br-${number}`,
    createdAt: '2026-01-01T00:00:00Z',
    ...changes,
  }
}

let endpoints = 0

/** An endpoint with address `.host` in `network`; each has another id. */
export function makeEndpoint(network: Network, name: string, host: number, ports: readonly PortMapping[]): Endpoint {
  const number = network.pools[0]?.gateway.split('.')[2]
  return {
    id: (0xe00000 + ++endpoints).toString(16).padStart(12, '0').padEnd(64, '0'),
    networkId: network.id,
    containerId: 'c'.repeat(64),
    containerName: name,
    containerInterface: 'eth0',
    mac: '02:42:00:00:00:01',
    addresses: [`10.210.${number}.${host}/24`, `fd00:${number}::${host}/64`],
    gateways: [],
    ports,
  }
}

export function publishedPort(hostPort: number, containerPort: number, hostIp = '0.0.0.0'): PortMapping {
  return { protocol: 'tcp', hostIp, hostPort, containerPort }
}

export interface World {
  readonly host: Namespace
  /** 198.51.100.2, behind the host's eth0; knows no container subnet. */
  readonly outside: Namespace
  /** 192.0.2.3 on the host's eth1 LAN, with routes to the container subnets through the host. */
  readonly neighbour: Namespace
  /** 10.210.0.2 and .3 on br-0. */
  readonly web: Namespace
  readonly peer: Namespace
  /** 10.210.1.2 on br-1. */
  readonly other: Namespace
  readonly agent: Agent
  remove(): Promise<void>
}

/** Builds the world. Every container, the host and the outside serve their name and the client's address on port 8000, TCP and UDP. */
export async function makeWorld(label: string): Promise<World> {
  const make = (name: string) => Namespace.create(name, `/run/netns/fwt-${process.pid}-${label}-${name}`)
  const [host, outside, neighbour, web, peer, other] = await Promise.all(
    ['host', 'outside', 'neighbour', 'web', 'peer', 'other'].map(make),
  )
  if (!host || !outside || !neighbour || !web || !peer || !other) throw new Error('no namespaces')
  const all = [web, peer, other, outside, neighbour, host]
  const name = (namespace: Namespace) => namespace.path.replace(/.*\//, '')
  await host.sh(`
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
    ip link add eth0 type veth peer name eth0 netns ${name(outside)}
    ip link add eth1 type veth peer name eth0 netns ${name(neighbour)}
    ip addr add 198.51.100.1/24 dev eth0; ip addr add 2001:db8:1::1/64 dev eth0 nodad; ip link set eth0 up
    ip addr add 192.0.2.1/24 dev eth1; ip addr add 2001:db8:2::1/64 dev eth1 nodad; ip link set eth1 up`)
  for (const bridge of [0, 1])
    await host.sh(`
      ip link add br-${bridge} type bridge
      ip addr add 10.210.${bridge}.1/24 dev br-${bridge}; ip addr add fd00:${bridge}::1/64 dev br-${bridge} nodad
      ip link set br-${bridge} up
      sysctl -qw net.ipv4.conf.br-${bridge}.route_localnet=1`)
  const plug = async (container: Namespace, bridge: number, address: number) => {
    await host.sh(`
      ip link add v${bridge}-${address} type veth peer name eth0 netns ${name(container)}
      ip link set v${bridge}-${address} master br-${bridge} up
      bridge link set dev v${bridge}-${address} hairpin on`)
    await container.sh(`
      ip addr add 10.210.${bridge}.${address}/24 dev eth0; ip addr add fd00:${bridge}::${address}/64 dev eth0 nodad
      ip link set eth0 up; ip route add default via 10.210.${bridge}.1; ip -6 route add default via fd00:${bridge}::1`)
    await serve(container)
  }
  await plug(web, 0, 2)
  await plug(peer, 0, 3)
  await plug(other, 1, 2)
  await outside.sh(`ip addr add 198.51.100.2/24 dev eth0; ip addr add 2001:db8:1::2/64 dev eth0 nodad
    ip link set eth0 up`)
  await neighbour.sh(`ip addr add 192.0.2.3/24 dev eth0; ip addr add 2001:db8:2::3/64 dev eth0 nodad
    ip link set eth0 up; ip route add 10.210.0.0/16 via 192.0.2.1; ip route add 127.0.0.0/8 via 192.0.2.1 table 99
    ip -6 route add fd00::/16 via 2001:db8:2::1`)
  await serve(outside)
  await serve(host)
  const agent = new Agent(host)
  const remove = async () => {
    await agent.stop()
    for (const namespace of all) await namespace.remove()
  }
  return { host, outside, neighbour, web, peer, other, agent, remove }
}

const server = `
const name = process.argv[1]
require('node:net').createServer(s => { s.on('error', () => {}); s.end('HTTP/1.0 200 OK\\r\\n\\r\\n' + name + ' saw ' + s.remoteAddress.replace('::ffff:', '')) }).listen(8000, '::')
const udp = require('node:dgram').createSocket('udp4')
udp.on('message', (m, from) => udp.send(name + ' saw ' + from.address + ' ' + m, from.port, from.address)).bind(8000, () => console.log('ready'))`

async function serve(namespace: Namespace): Promise<void> {
  const running = namespace.start(process.execPath, ['-e', server, namespace.name])
  await running.waitFor(/ready/)
}

/** Fetches `url` from `from`: what the server said, or 'refused' or 'timeout'. */
export async function fetchFrom(from: Namespace, url: string): Promise<string> {
  const { body, code } = await from.curl(url, { timeoutSeconds: 1 })
  if (code === 0) return body
  if (code === 7) return 'refused'
  return code === 28 ? 'timeout' : `curl failed: ${code}`
}
