import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { shortId } from '../../engine/ids.ts'
import { contains, networkOf, tryParseAddress, tryParsePrefix } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network, NetworkSpec } from '../../model/network.ts'
import { collect } from '../collect.ts'
import { forceFlag, isAgreed } from '../confirm.ts'
import { forEach } from '../each.ts'
import { matchesLabel, parseFilters, parsePruneFilter, parseTruth, passesFilters } from '../filters.ts'
import { renderInspection, renderListing } from '../format.ts'
import { labelList, labelMethod } from '../labels.ts'
import { inspectNetwork } from '../network-view.ts'
import { parsePairs } from '../parse-pairs.ts'
import { print, printError } from '../print.ts'
import { renderError } from '../render-error.ts'
import { addCapture } from './network-capture.ts'
import { addConnect, addDisconnect } from './network-connect.ts'
import { addDoctor } from './network-doctor.ts'
import { addGraph } from './network-graph.ts'
import { addUpdate, parsePeers } from './network-update.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const network = program
    .command('network')
    .description('Create, list, inspect and remove networks; join containers to them.')
  addCreate(network)
  addList(network)
  addInspect(network, exit)
  addRemove(network, exit)
  addPrune(network)
  addReload(network, exit)
  addGraph(network)
  addConnect(network)
  addDisconnect(network)
  addDoctor(network, exit)
  addUpdate(network)
  addCapture(network)
  return network
}

interface CreateFlags {
  readonly driver?: string
  readonly subnet?: string[]
  readonly gateway?: string[]
  readonly ipRange?: string[]
  readonly auxAddress?: string[]
  readonly ipamDriver?: string
  readonly ipamOpt?: string[]
  readonly peer?: string[]
  readonly ipv4?: boolean
  readonly ipv6?: boolean
  readonly internal?: boolean
  readonly label?: string[]
  readonly opt?: string[]
}

function addCreate(network: Command): void {
  network
    .command('create')
    .description('Create a network; prints its id.')
    .argument('<name>')
    .option('-d, --driver <driver>', 'bridge (default), ptp, routed, macvlan, ipvlan, phys, host or none')
    .option('--subnet <cidr>', 'its addresses; default: the first free range', collect)
    .option('--gateway <address>', "the host's address on it; default: the first", collect)
    .option('--ip-range <cidr>', 'give addresses only out of this part', collect)
    .option('--aux-address <name=address>', 'never give this address out: another machine has it', collect)
    .option('--ipam-driver <driver>', 'who decides about addresses: file (default), dhcp, null (nobody), or a package')
    .option('--ipam-opt <key=value>', 'option of the IPAM driver', collect)
    .option('--ipv6', "IPv6 as well, out of this host's own range unless a subnet is given")
    .option('--ipv4', 'IPv4, as always; --ipv4=false with --ipv6: only IPv6')
    .option('--peer <subnet=address>', 'driver routed: a subnet on another host, and that host', collect)
    .option('--internal', 'no way out or in')
    .option('--label <key=value>', 'set a label', collect)
    .option('-o, --opt <key=value>', 'driver option, e.g. mtu=1400', collect)
    .addHelpText(
      'after',
      [
        '\nExamples:\n  tsrun network create --subnet 192.168.0.0/24 br',
        '  tsrun network create --ipv6 -o icc=false -o mtu=1400 both',
        '  tsrun network create -d routed --subnet 192.168.1.0/24 --peer 192.168.2.0/24=10.0.2.16 apps',
        '  tsrun network create -d macvlan -o parent=eth0 --ipam-driver dhcp lan',
        '  tsrun network create -d macvlan -o parent=eth0 --subnet 192.168.1.0/24 --ip-range 192.168.1.192/27 lan',
      ].join('\n'),
    )
    .action(async (name: string, flags: CreateFlags) => {
      const spec: NetworkSpec = {
        name,
        ...(flags.driver === undefined ? {} : { driver: flags.driver }),
        pools: toPools(flags),
        ...(flags.ipamDriver === undefined ? {} : { ipamDriver: flags.ipamDriver }),
        ...(flags.ipamOpt === undefined ? {} : { ipamOptions: parsePairs('--ipam-opt', flags.ipamOpt) }),
        ...(flags.ipv4 === undefined ? {} : { ipv4: flags.ipv4 }),
        ...(flags.ipv6 === undefined ? {} : { ipv6: flags.ipv6 }),
        ...(flags.peer === undefined ? {} : { peers: parsePeers('--peer', flags.peer) }),
        internal: flags.internal === true,
        labels: parsePairs('--label', flags.label ?? []),
        options: parsePairs('--opt', flags.opt ?? []),
      }
      await using engine = await Engine.open()
      const { id } = await engine.networks.create(spec)
      print(`${id}\n`)
    })
}

/** Gateways and ranges belong to subnets in the order given, reserved addresses to the subnet that they are in. */
function toPools(flags: CreateFlags): NetworkSpec['pools'] {
  const { subnet = [], gateway = [], ipRange = [] } = flags
  const auxiliary = Object.entries(parsePairs('--aux-address', flags.auxAddress ?? []))
  const poolOf = (address: string) => subnet.findIndex(cidr => isWithin(address, cidr))
  const [lost] = auxiliary.filter(([, address]) => poolOf(address) < 0)
  if (lost !== undefined)
    throw new TsrunError(
      'invalid',
      'aux-address',
      `cannot reserve the address "${lost.join('=')}": no --subnet has it`,
      {
        hint: 'write it as NAME=ADDRESS, e.g. --subnet 192.168.1.0/24 --aux-address printer=192.168.1.7',
      },
    )
  const needsSubnet = subnet.length === 0 && (gateway.length > 0 || ipRange.length > 0)
  if (needsSubnet || gateway.length > subnet.length || ipRange.length > subnet.length)
    throw new TsrunError('invalid', 'pools', 'cannot tell which subnet each --gateway and --ip-range belongs to', {
      hint: 'give one --subnet for each, in the same order',
    })
  return subnet.map((cidr, index) => ({
    subnet: cidr,
    ...(gateway[index] === undefined ? {} : { gateway: gateway[index] }),
    ...(ipRange[index] === undefined ? {} : { ipRange: ipRange[index] }),
    ...ofPool(auxiliary.filter(([, address]) => poolOf(address) === index)),
  }))
}

function ofPool(auxiliary: readonly (readonly [string, string])[]): { auxiliary?: Record<string, string> } {
  return auxiliary.length === 0 ? {} : { auxiliary: Object.fromEntries(auxiliary) }
}

/** A subnet that is none is refused later, by whoever knows what to say. */
function isWithin(address: string, cidr: string): boolean {
  const [parsed, prefix] = [tryParseAddress(address), tryParsePrefix(cidr)]
  return parsed !== undefined && prefix !== undefined && contains(networkOf(prefix), parsed)
}

function addList(network: Command): void {
  network
    .command('list')
    .alias('ls')
    .description('List networks.')
    .option('-q, --quiet', 'only ids')
    .option('--no-trunc', 'do not cut ids short')
    .option('--format <format>', 'json, or a Go template')
    .option('-f, --filter <key=value>', 'only those that match', collect)
    .addHelpText('after', "\nExample:\n  tsrun network ls --format '{{.Name}} {{.Subnet}}'")
    .action(async (flags: { quiet?: boolean; trunc: boolean; format?: string; filter?: string[] }) => {
      await using engine = await Engine.open()
      const filters = parseFilters(flags.filter ?? [], ['name', 'id', 'driver', 'label', 'scope', 'type', 'dangling'])
      const used = new Set(filters.has('dangling') ? await usedNetworks(engine) : [])
      const networks = engine.networks.list().filter(each => passesFilters(filters, testsOf(each, used)))
      if (flags.quiet === true) {
        print(networks.map(each => `${flags.trunc ? shortId(each.id) : each.id}\n`).join(''))
        return
      }
      const rows = networks.map(each => toRow(each, !flags.trunc))
      print(renderListing({ columns, rows }, flags.format))
    })
}

const columns = [
  ['NETWORK ID', 'ID'],
  ['NAME', 'Name'],
  ['DRIVER', 'Driver'],
  ['SCOPE', 'Scope'],
  ['SUBNET', 'Subnet'],
] as const

function toRow(network: Network, full: boolean) {
  return {
    ID: full ? network.id : shortId(network.id),
    Name: network.name,
    Driver: network.driver,
    Scope: 'local',
    Subnet: network.pools.map(pool => pool.subnet).join(', '),
    Gateway: network.pools.map(pool => pool.gateway).join(', '),
    Internal: String(network.internal),
    IPv4: String(network.pools.some(pool => !pool.subnet.includes(':'))),
    IPv6: String(network.pools.some(pool => pool.subnet.includes(':'))),
    CreatedAt: network.createdAt,
    Labels: labelList(network.labels),
    Label: labelMethod(network.labels),
  }
}

/** What each filter says of one network. @param used names of those that containers have */
function testsOf(network: Network, used: ReadonlySet<string>): Readonly<Record<string, (value: string) => boolean>> {
  const isBuiltIn = ['bridge', 'host', 'none'].includes(network.name)
  return {
    name: value => network.name.includes(value),
    id: value => network.id.startsWith(value),
    driver: value => network.driver === value,
    label: value => matchesLabel(network.labels, value),
    scope: value => value === 'local',
    type: value => value === (isBuiltIn ? 'builtin' : 'custom'),
    dangling: value =>
      (!isBuiltIn && !used.has(network.name) && !used.has(network.id)) === parseTruth('dangling', value),
  }
}

/** Names or ids of the networks that any container has, running or not. */
async function usedNetworks(engine: Engine): Promise<string[]> {
  const views = await engine.containers.list({ all: true })
  return views.flatMap(({ container }) => (container.spec.networks ?? []).map(({ network }) => network))
}

function addInspect(network: Command, exit: (code: number) => void): void {
  network
    .command('inspect')
    .description('Show everything about networks, as JSON.')
    .argument('<name...>')
    .option('-f, --format <format>', 'json, or a Go template')
    .addHelpText('after', "\nExample:\n  tsrun network inspect -f '{{(index .IPAM.Config 0).Subnet}}' br")
    .action(async (names: string[], flags: { format?: string }) => {
      await using engine = await Engine.open()
      const found: unknown[] = []
      for (const name of names) {
        try {
          found.push(await inspectNetwork(engine, name))
        } catch (error) {
          printError(renderError(error))
          exit(1)
        }
      }
      print(renderInspection(found, flags.format))
    })
}

function addRemove(network: Command, exit: (code: number) => void): void {
  network
    .command('remove')
    .alias('rm')
    .description('Remove networks that no running container is on.')
    .argument('<name...>')
    .option('-f, --force', 'a missing network is no error')
    .addHelpText('after', '\nExample:\n  tsrun network rm br')
    .action(async (names: string[], flags: { force?: boolean }) => {
      await using engine = await Engine.open()
      exit(
        await forEach(names, async name => {
          try {
            await engine.networks.remove(name)
            return name
          } catch (error) {
            if (flags.force === true && error instanceof TsrunError && error.kind === 'not-found') return undefined
            throw error
          }
        }),
      )
    })
}

function addReload(network: Command, exit: (code: number) => void): void {
  network
    .command('reload')
    .description(
      'Put networks back as they should be: interfaces, settings, firewall rules. Containers notice nothing.',
    )
    .argument('[name...]', 'default: all')
    .addHelpText(
      'after',
      '\nExample:\n  tsrun network reload    (after `nft flush ruleset`, or when a bridge was deleted)',
    )
    .action(async (names: string[]) => {
      await using engine = await Engine.open()
      const wanted = names.length > 0 ? names : engine.networks.list().map(each => each.id)
      exit(await forEach(wanted, async name => (await engine.networks.reload(name)).name))
    })
}

function addPrune(network: Command): void {
  network
    .command('prune')
    .description('Remove all networks that no running container is on.')
    .option(...forceFlag)
    .option('--filter <key=value>', 'only those that match: until=TIME, label=KEY[=VALUE], label!=..', collect)
    .addHelpText('after', '\nExample:\n  tsrun network prune --filter until=24h')
    .action(async (flags: { force?: boolean; filter?: string[] }) => {
      const filter = parsePruneFilter(flags.filter)
      if (!(await isAgreed(flags, 'This will remove all custom networks not used by at least one container.'))) return
      await using engine = await Engine.open()
      const names = await engine.networks.prune(filter)
      if (names.length > 0) print(`Deleted Networks:\n${names.join('\n')}\n`)
    })
}
