// Several hosts with an engine each, for networks that span hosts: the host and the neighbour of the world on one LAN, and a third
// machine behind the router, with no layer 2 in common.
//
//     near 198.51.100.10 ---+--- beside 198.51.100.20
//                           |
//            router 198.51.100.1 / 10.9.0.1 --- far 10.9.0.2

import { join } from 'node:path'
import { type CommandOptions, eventually, execute, type Result } from './command.ts'
import { Namespace } from './namespace.ts'
import { addresses, faceCommand, inWorld, pageServer, type World } from './world.ts'

/** One host with its own engine. */
export class Machine {
  readonly ns: Namespace
  readonly env: NodeJS.ProcessEnv
  /** Towards the other machines. */
  readonly address: string
  /** `10.N.0.0/24` is for its containers. */
  readonly number: number

  constructor(ns: Namespace, number: number, { address, env }: { address: string; env: NodeJS.ProcessEnv }) {
    this.ns = ns
    this.number = number
    this.address = address
    this.env = env
  }

  get subnet(): string {
    return `10.${this.number}.0.0/24`
  }

  get subnet6(): string {
    return `fd00:${this.number}::/64`
  }

  /** Runs tsrun there, whatever its exit code. */
  async tsrun(line: string | readonly string[], options: CommandOptions = {}): Promise<Result> {
    const [program = '', ...rest] = faceCommand()
    const args = typeof line === 'string' ? line.split(' ') : line
    return execute(this.ns.command(program, [...rest, ...args]), { env: this.env, ...options })
  }

  /** Runs a tsrun command there that must succeed. */
  async ok(line: string | readonly string[]): Promise<string> {
    const { stdout, stderr, code } = await this.tsrun(line)
    if (code !== 0) throw new Error(`exit ${code} on machine ${this.number}: tsrun ${line}\n${stdout}${stderr}`)
    return stdout.trim()
  }

  /** Starts the container `cN`, which serves pages, and waits until it does. */
  async serve(network: string): Promise<void> {
    const name = `c${this.number}`
    await this.ok(['run', '-d', '--name', name, '-net', network, 'busybox', 'sh', '-c', pageServer(name)])
    const asked = ['exec', name, 'wget', '-q', '-O', '-', 'http://127.0.0.1/']
    await eventually(`${name} serves`, async () => (await this.tsrun(asked)).code === 0, 15_000)
  }

  /** What the container `cN` gets from an address, or nothing. */
  async fetch(address: string, { timeoutSeconds = 10 } = {}): Promise<string> {
    const args = [
      'exec',
      `c${this.number}`,
      'timeout',
      String(timeoutSeconds),
      'wget',
      '-q',
      '-O',
      '-',
      `http://${address}/`,
    ]
    return (await this.tsrun(args)).stdout
  }

  /** Whether nothing comes from an address. */
  async isCutOff(address: string): Promise<boolean> {
    return (await this.fetch(address, { timeoutSeconds: 1 })) === ''
  }

  /** Removes all containers and networks. */
  async clear(): Promise<void> {
    const containers = (await this.tsrun('ps -aq')).stdout.split(/\s+/).filter(word => word !== '')
    if (containers.length > 0) await this.ok(['rm', '-f', ...containers])
    const networks = (await this.tsrun('network ls -q')).stdout.split(/\s+/).filter(word => word !== '')
    if (networks.length > 0) await this.ok(['network', 'rm', ...networks])
  }
}

export type Machines = readonly [near: Machine, beside: Machine, far: Machine]

/** A test in a world with three machines. */
export function withMachines(test: (machines: Machines, world: World) => Promise<void>): () => Promise<void> {
  return inWorld(async world => {
    const far = await Namespace.create('far', join(world.dir, 'netns', 'far'), world.env)
    try {
      await world.outside.sh(`
        ip link add far type veth peer name eth0 netns ${far.path}
        ip address add 10.9.0.1/24 dev far; ip link set far up
        ip -6 address add 2001:db8:9::1/64 dev far nodad
        echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding`)
      await far.sh(`
        echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
        ip address add 10.9.0.2/24 dev eth0; ip -6 address add 2001:db8:9::2/64 dev eth0 nodad; ip link set eth0 up
        ip route add default via 10.9.0.1; ip -6 route add default via 2001:db8:9::1`)
      const envOf = (name: string) => ({
        ...world.env,
        TSRUN_ROOT: join(world.dir, `root-${name}`),
        TSRUN_STATE: join(world.dir, `state-${name}`),
      })
      const machines: Machines = [
        new Machine(world.host, 1, { address: addresses.host, env: world.env }),
        new Machine(world.neighbour, 2, { address: addresses.neighbour, env: envOf('beside') }),
        new Machine(far, 3, { address: '10.9.0.2', env: envOf('far') }),
      ]
      try {
        await test(machines, world)
      } finally {
        for (const machine of machines) await machine.clear()
      }
      await world.outside.sh('ip link delete dev far')
    } finally {
      await far.remove()
    }
  })
}
