// What must hold whenever no command is under way, whatever was killed before. Read from the files with JSON.parse, from the kernel
// with ip, nft and /proc.

import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { eventually, execute } from '../helpers/command.ts'
import type { World } from '../helpers/world.ts'

interface RunFile {
  readonly phase: string
  readonly pid: number
  readonly endpoints: readonly {
    readonly addresses: readonly string[]
    readonly ports: readonly { readonly protocol: string; readonly hostPort: number; readonly containerPort: number }[]
  }[]
}

interface Live {
  readonly id: string
  readonly run: RunFile
}

/** @returns what does not hold, one line each; waits for what is still on its way */
export async function brokenInvariants(world: World): Promise<string[]> {
  let broken: string[] = []
  await eventually(
    'the invariants hold',
    async () => {
      // Any command clears away what was cut off; looking at each container finds those whose monitor was killed.
      const { code, stderr } = await world.tsrun(['ps', '-a'], { timeoutMs: 60_000 })
      broken = code === 0 ? await look(world) : [`ps -a: ${stderr.trim()}`]
      return broken.length === 0
    },
    20_000,
  ).catch(() => {})
  return broken
}

/** The monitors of containers; those of further processes have the same title and belong to the same container. */
export function monitors(world: World): { pid: number; id: string }[] {
  return world.processes().flatMap(({ pid, command }) => {
    const id = /^tsrun-monitor ([0-9a-f]{12})/.exec(command)?.[1]
    return id === undefined ? [] : [{ pid, id }]
  })
}

/** Both processes of tsrun-dns. */
export function resolvers(world: World): { pid: number }[] {
  return world.processes().filter(({ command }) => command.startsWith('tsrun-dns'))
}

async function look(world: World): Promise<string[]> {
  const ids = names(join(world.root, 'containers'))
  const live = names(join(world.state, 'containers')).flatMap(id => {
    const run = readJson(join(world.state, 'containers', id, 'run.json')) as RunFile | undefined
    return run === undefined ? [] : [{ id, run }]
  })
  return [
    ...live
      .filter(({ run }) => run.phase !== 'running' || !existsSync(`/proc/${run.pid}`))
      .map(dead => `${short(dead)} has a run record and no process`),
    ...checkMonitors(world, live),
    ...ids
      .filter(id => !live.some(other => other.id === id) && !hasEnd(world, id))
      .map(id => `${id.slice(0, 12)} was started, does not run and has no exit record`),
    ...checkNames(world, ids),
    ...checkAddresses(world, live),
    ...(await checkKernelAddresses(live)),
    ...(await checkPorts(world, live)),
  ]
}

function checkMonitors(world: World, live: readonly Live[]): string[] {
  const found = monitors(world)
  return [
    ...found
      .filter(({ id }) => !live.some(other => other.id.startsWith(id)))
      .map(({ pid, id }) => `monitor ${pid} has no container ${id}`),
    ...live
      .filter(({ id }) => !found.some(monitor => id.startsWith(monitor.id)))
      .map(one => `${short(one)} has no monitor`),
  ]
}

/** Never started, ended on record, or going to be started again. */
function hasEnd(world: World, id: string): boolean {
  const record = readJson(join(world.root, 'containers', id, 'container.json')) as { startedAt?: string } | undefined
  return (
    record?.startedAt === undefined ||
    existsSync(join(world.root, 'containers', id, 'exit.json')) ||
    existsSync(join(world.state, 'restarting', id))
  )
}

/** Each container has the name of its record, and nobody another. */
function checkNames(world: World, ids: readonly string[]): string[] {
  const taken = names(join(world.root, 'names')).map(
    name => `${name} of ${readlinkSync(join(world.root, 'names', name)).slice(0, 12)}`,
  )
  const records = ids.map(id => {
    const record = readJson(join(world.root, 'containers', id, 'container.json')) as { name?: string } | undefined
    return `${record?.name} of ${id.slice(0, 12)}`
  })
  return [
    ...difference(taken, records).map(entry => `name ${entry} is taken and nobody has it`),
    ...difference(records, taken).map(entry => `name ${entry} is on record and not taken`),
  ]
}

/** Addresses that are taken on disk are those of the live endpoints, each once. */
function checkAddresses(world: World, live: readonly Live[]): string[] {
  const taken = names(join(world.root, 'ipam')).flatMap(pool =>
    names(join(world.root, 'ipam', pool))
      .filter(name => /^[\d.]+$/.test(name) || name.includes(':'))
      .map(name => `${name} of ${readlinkSync(join(world.root, 'ipam', pool, name)).slice(0, 12)}`),
  )
  const used = live.flatMap(one => addressesOf(one).map(address => `${address} of ${short(one)}`))
  const all = used.map(entry => entry.split(' ')[0])
  return [
    ...difference(taken, used).map(entry => `address ${entry} is taken and nobody has it`),
    ...difference(used, taken).map(entry => `address ${entry} is in use and not taken`),
    ...all.filter((address, index) => all.indexOf(address) !== index).map(address => `two containers have ${address}`),
  ]
}

/** Each container has in the kernel the addresses that it has on record. */
async function checkKernelAddresses(live: readonly Live[]): Promise<string[]> {
  const problems = live.map(async one => {
    const { stdout } = await execute(['nsenter', '-t', String(one.run.pid), '-n', 'ip', '-j', '-4', 'address'])
    const links =
      stdout.trim() === '' ? [] : (JSON.parse(stdout) as { ifname: string; addr_info: { local: string }[] }[])
    const inKernel = links
      .filter(({ ifname }) => ifname !== 'lo')
      .flatMap(link => link.addr_info.map(({ local }) => local))
    const onRecord = addressesOf(one)
    return [
      ...difference(inKernel, onRecord).map(address => `${short(one)} has ${address}, not on record`),
      ...difference(onRecord, inKernel).map(address => `${short(one)} lacks ${address}`),
    ]
  })
  return (await Promise.all(problems)).flat()
}

/** Elements of the map of ports are the ports on record, each once. */
async function checkPorts(world: World, live: readonly Live[]): Promise<string[]> {
  const onRecord = live.flatMap(one =>
    one.run.endpoints.flatMap(({ addresses, ports }) =>
      ports.map(port => `${port.protocol} ${port.hostPort} to ${addresses[0]?.split('/')[0]} ${port.containerPort}`),
    ),
  )
  const ruleset = await world.host.exec('nft', ['list', 'ruleset'])
  const elements = [...ruleset.matchAll(/\b(tcp|udp) \. (\d+) comment "tsrun:[^"]*" : ([\d.]+) \. (\d+)/g)]
  const inMap = elements.map(([, protocol, host, address, inside]) => `${protocol} ${host} to ${address} ${inside}`)
  const held = onRecord.map(entry => entry.split(' to ')[0])
  return [
    ...difference(inMap, onRecord).map(entry => `port ${entry} is in the map and not on record`),
    ...difference(onRecord, inMap).map(entry => `port ${entry} is on record and not in the map`),
    ...held.filter((port, index) => held.indexOf(port) !== index).map(port => `two containers have port ${port}`),
  ]
}

function addressesOf({ run }: Live): string[] {
  return run.endpoints.flatMap(endpoint =>
    endpoint.addresses.filter(address => address !== '').map(address => address.split('/')[0] ?? ''),
  )
}

function short({ id }: { readonly id: string }): string {
  return id.slice(0, 12)
}

function difference(all: readonly string[], known: readonly string[]): string[] {
  return all.filter(entry => !known.includes(entry))
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}
