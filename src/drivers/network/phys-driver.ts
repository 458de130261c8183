// The driver of phys networks: an interface of the host itself (a NIC, a virtual function of one) moves into the container and
// comes back. While it is away the container's namespace is pinned under a name of ours: the kernel destroys virtual devices
// with their namespace and hands hardware back under any name, so neither may happen before we have put it back, even when the
// monitor is killed. Its alias says whose it is, wherever it is found.

import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../ffi/errno.ts'
import { getLink, type Link, linkMove, linkSet, listLinks } from '../../kernel/netlink/link.ts'
import { findDefaultRoute } from '../../kernel/netlink/route.ts'
import { type NetlinkSocket, withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { openNetnsSocket } from '../../kernel/netns.ts'
import { pinNetns, unpinNetns, withPinnedNetns } from '../../kernel/netns-pin.ts'
import type { Undo } from '../../lib/rollback.ts'
import { driversOwnOptions } from '../../model/endpoint-options.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, Network, NetworkDriver, NetworkSpec, PoolPlan, Sandbox } from '../../model/network.ts'
import type { NetworkDriverOptions } from './bridge-driver.ts'
import { cannotCreate } from './bridge-options.ts'
import { assertInterfaceName, readOptions } from './driver-options.ts'
import { hostHasIpv6 } from './forwarding.ts'
import { type DeviceState, readDeviceState, restoreDevice } from './phys-state.ts'
import { cannotConnect, configureSandbox, explainConflict } from './sandbox-interface.ts'

const names = { device: 'device', parent: 'device' }

export class PhysDriver implements NetworkDriver {
  readonly name = 'phys'
  readonly hasEndpoints = true
  readonly endpointOptions: readonly string[] = Object.keys(names)
  readonly #engineId: string
  readonly #pins: string

  constructor({ engineId, stateDirectory }: Pick<NetworkDriverOptions, 'engineId' | 'stateDirectory'>) {
    this.#engineId = engineId
    this.#pins = join(stateDirectory, 'netns')
  }

  validate(network: Network, others: readonly Network[] = []): Network {
    const devices = devicesOf(network)
    if (devices.length === 0)
      throw new TsrunError('invalid', 'no-device', `${cannotCreate(network)}: it has no device`, {
        hint: 'name an interface of the host, or several for as many containers: -o device=eth1,eth2',
      })
    for (const other of others) {
      const shared = other.driver === 'phys' ? devicesOf(other).find(device => devices.includes(device)) : undefined
      if (shared !== undefined && other.id !== network.id)
        throw new TsrunError(
          'conflict',
          'device-in-use',
          `${cannotCreate(network)}: "${shared}" belongs to network "${other.name}"`,
        )
    }
    withNetlinkSocket(host => {
      for (const device of devices) {
        assertInterfaceName(network, device)
        const link = getLink(host, device)
        // One that is in a container of another engine, or not plugged in yet, may come.
        if (link !== undefined) assertSpare(host, link, cannotCreate(network))
      }
    })
    return { ...network, options: { device: devices.join(',') } }
  }

  planPools(_network: Network, wanted: NetworkSpec['pools']): PoolPlan {
    return { wanted, isOutside: true }
  }

  async create(): Promise<void> {}

  async prepareEndpoint(network: Network, endpoint: Endpoint): Promise<Endpoint> {
    const cannot = cannotConnect({ network, endpoint })
    if (endpoint.ports.length > 0)
      throw new TsrunError('invalid', 'cannot-publish', `${cannot}: no port can be published through a phys network`, {
        hint: 'the container is on the LAN of its device: leave -p out, or join a bridge network as well',
      })
    return withNetlinkSocket(host => {
      const link = chooseDevice(host, { network, endpoint, cannot })
      const { hostInterface: _none, ...rest } = endpoint
      return { ...rest, mac: link.mac, driverData: { ...readDeviceState(host, link) } }
    })
  }

  async connect(network: Network, endpoint: Endpoint, sandbox: Sandbox, undo: Undo): Promise<void> {
    const before = stateOf(endpoint)
    const pin = this.#pinOf(endpoint)
    if (before === undefined) throw new Error(`the endpoint of "${endpoint.containerName}" has no device`)
    undo.add('pin network namespace', () => unpinNetns(pin))
    pinNetns(sandbox.netnsFd, pin)
    withNetlinkSocket(host => {
      const link = getLink(host, before.name)
      if (link === undefined) throw noDevice(cannotConnect({ network, endpoint }), before.name)
      undo.add('move device', () => {
        this.#fetch(endpoint, before)
        this.#restore(endpoint, before)
      })
      host.apply(linkSet(before.name, { alias: this.#mark(endpoint), up: false }))
      const to = { netnsFd: sandbox.netnsFd, netnsLabel: endpoint.containerName, name: endpoint.containerInterface }
      try {
        host.apply(linkMove(link, to))
      } catch (error) {
        throw explainConflict({ network, endpoint }, error)
      }
    })
    configureSandbox({ network, endpoint, sandbox, ipv6: hostHasIpv6(), announce: true })
  }

  /** Whether or not the sandbox goes: the device is brought back from it, and it is not kept alive any longer. */
  async disconnect(_network: Network, endpoint: Endpoint): Promise<void> {
    const before = stateOf(endpoint)
    if (before === undefined) return
    // Were the device still in there it might go with the namespace: this is what the pin is for.
    this.#fetch(endpoint, before)
    try {
      this.#restore(endpoint, before)
    } finally {
      unpinNetns(this.#pinOf(endpoint))
    }
  }

  async remove(): Promise<void> {}

  async inspect(network: Network): Promise<Readonly<Record<string, unknown>>> {
    return withNetlinkSocket(host => ({
      devices: devicesOf(network).map(device => {
        const link = getLink(host, device)
        const state = link === undefined ? 'away' : link.up ? 'up' : 'down'
        return { interface: device, state, ...(link === undefined ? {} : { mac: link.mac, mtu: link.mtu }) }
      }),
    }))
  }

  /** Moves the device to the host, under its name if that is free, unless it is there. Idempotent. */
  #fetch(endpoint: Endpoint, before: DeviceState): void {
    withPinnedNetns(this.#pinOf(endpoint), fd => {
      const inside = openPinned(fd, endpoint)
      if (inside === undefined) return
      const home = openSync('/proc/thread-self/ns/net', 'r')
      try {
        const link = findInside(inside, this.#mark(endpoint), endpoint, before)
        if (link === undefined) return
        inside.apply(linkSet(link.name, { alias: this.#mark(endpoint), up: false }))
        const isFree = withNetlinkSocket(host => getLink(host, before.name) === undefined)
        const name = isFree ? before.name : `phys${endpoint.id.slice(0, 10)}`
        inside.apply(linkMove(link, { netnsFd: home, netnsLabel: '1', name }))
      } finally {
        closeSync(home)
        inside.close()
      }
    })
  }

  /** Makes the device on the host what it was, if it still carries our mark. Idempotent. */
  #restore(endpoint: Endpoint, before: DeviceState): void {
    const mark = this.#mark(endpoint)
    withNetlinkSocket(host => {
      const link = listLinks(host).find(candidate => candidate.alias === mark)
      if (link !== undefined) restoreDevice(host, link, before)
    })
  }

  #pinOf(endpoint: Endpoint): string {
    return join(this.#pins, endpoint.id)
  }

  #mark(endpoint: Endpoint): string {
    return `${this.#engineId} device ${endpoint.id.slice(0, 12)}.${endpoint.id.slice(32, 44)}`
  }
}

/** The first device of the network that is on the host, or the one that the endpoint asks for. @throws TsrunError */
function chooseDevice(
  host: NetlinkSocket,
  { network, endpoint, cannot }: { network: Network; endpoint: Endpoint; cannot: string },
): Link {
  const devices = devicesOf(network)
  const asked = readOptions({ ...network, options: driversOwnOptions(endpoint.options ?? {}) }, names).get('device')
  if (asked !== undefined && !devices.includes(asked))
    throw new TsrunError('invalid', 'no-device', `${cannot}: "${asked}" is no device of the network`, {
      hint: `its devices are ${devices.join(', ')}`,
    })
  const wanted = asked === undefined ? devices : [asked]
  for (const device of wanted) {
    const link = getLink(host, device)
    if (link === undefined || /^tsrun(-[0-9a-f]{8})? device /.test(link.alias ?? '')) continue
    assertSpare(host, link, cannot)
    return link
  }
  throw noDevice(cannot, wanted.join('" or "'))
}

function noDevice(cannot: string, device: string): TsrunError {
  return new TsrunError('unavailable', 'no-device', `${cannot}: the host has no interface "${device}"`, {
    hint: 'it is missing, or another container has it: `tsrun network inspect` lists the containers of the network',
  })
}

/** @throws TsrunError conflict for an interface whose loss would cut the host off or take somebody else's link apart */
function assertSpare(host: NetlinkSocket, link: Link, cannot: string): void {
  const refuse = (why: string) => {
    throw new TsrunError('conflict', 'device-in-use', `${cannot}: "${link.name}" ${why}`, {
      hint: 'choose a device that the host does not need itself',
    })
  }
  if (link.master !== undefined) refuse('is part of a bridge or bond')
  if (findDefaultRoute(host)?.index === link.index) refuse("is the host's way out: its default route goes there")
  if (link.kind === 'bridge') refuse('is a bridge, which cannot move')
}

/** A container with CAP_NET_ADMIN may have changed the mark: then the name or the MAC address tells. */
function findInside(inside: NetlinkSocket, mark: string, endpoint: Endpoint, before: DeviceState): Link | undefined {
  const candidates = listLinks(inside).filter(link => link.kind === before.kind && link.name !== 'lo')
  return (
    candidates.find(link => link.alias === mark) ??
    candidates.find(link => link.mac === before.mac) ??
    candidates.find(link => link.name === endpoint.containerInterface)
  )
}

/** undefined where the file is no namespace: pinning was cut off, or the machine restarted. */
function openPinned(fd: number, endpoint: Endpoint): NetlinkSocket | undefined {
  try {
    return openNetnsSocket(fd, endpoint.containerName)
  } catch (error) {
    if (hasCode(error, 'EINVAL')) return undefined
    throw error
  }
}

function devicesOf(network: Network): string[] {
  const text = readOptions(network, names).get('device') ?? ''
  return text.split(',').filter(device => device !== '')
}

function stateOf({ driverData }: Endpoint): DeviceState | undefined {
  return driverData === undefined ? undefined : (driverData as unknown as DeviceState)
}
