// The IPAM driver `dhcp`: a server on the network leases each container its address. The client runs in the container's network
// namespace for as long as the container lives, beside a keeper that gives the lease back at its end (kernel/lease-keeper.ts).

import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { DHCP_CLIENT_REMEDY, dhcpClientCommand, findDhcpClient } from '../../kernel/dhcp-client.ts'
import { isRehearsal, record, shellQuote } from '../../kernel/explain.ts'
import {
  EVENT_PROGRAM,
  endLeaseKeeper,
  readLeaseFailure,
  readLeaseText,
  startLeaseKeeper,
} from '../../kernel/lease-keeper.ts'
import { faultPoint } from '../../lib/fault.ts'
import type { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { IpamDriver, LeaseRequest } from '../../model/ipam.ts'
import type { Lease } from '../../model/lease.ts'
import type { Endpoint, Network } from '../../model/network.ts'
import { parseLease, parseRefusal } from './dhcp-lease.ts'
import { assertKnownOptions } from './plain-drivers.ts'

const defaultTimeout = 10
/** Below the 30 s that others wait for the container's lock. */
const longestTimeout = 25
const pauseMs = 5

/** What the driver needs of the engine. */
export interface DhcpDriverOptions {
  /** One folder an endpoint. */
  readonly leaseDirectory: string
  /** The program, tsrun-init. */
  readonly initPath: string
  /** What a keeper calls when a lease has changed. */
  leaseCommand(endpointId: string): readonly string[]
}

export class DhcpDriver implements IpamDriver {
  readonly name = 'dhcp'
  readonly gives = 'leases'
  readonly #options: DhcpDriverOptions

  constructor(options: DhcpDriverOptions) {
    this.#options = options
  }

  validate(network: Network): Network {
    assertKnownOptions(this.name, network, ['timeout'])
    timeoutOf(network)
    if (findDhcpClient() === undefined) throw noClient(`cannot create network "${network.name}"`)
    return network
  }

  async openLease(request: LeaseRequest, undo: Undo): Promise<Lease | undefined> {
    const folder = this.#folderOf(request.endpoint)
    const client = clientOf(request)
    record(() => explained(request.endpoint, client))
    if (isRehearsal()) return undefined
    // What a life before may have left: its client would answer for this one.
    await endLeaseKeeper(folder)
    this.#start(request, client, false)
    undo.add('dhcp client', () => this.closeLease(request.endpoint))
    const lease = await this.#waitForLease(request)
    faultPoint('dhcp lease')
    return lease
  }

  readLease(endpoint: Endpoint): Lease | undefined {
    const folder = this.#folderOf(endpoint)
    const text = readLeaseText(folder)
    if (text === undefined) return undefined
    const writtenAt = statSync(`${folder}/lease`, { throwIfNoEntry: false })?.mtime ?? new Date()
    return parseLease(text, writtenAt.toISOString())
  }

  async keepLease(request: LeaseRequest): Promise<void> {
    if (!isRehearsal()) this.#start(request, clientOf(request), true)
  }

  async closeLease({ id }: Pick<Endpoint, 'id'>): Promise<void> {
    if (!isRehearsal()) await endLeaseKeeper(this.#folderOf({ id }))
  }

  #start({ endpoint, sandbox, pid }: LeaseRequest, client: readonly string[], tellsFirst: boolean): void {
    const { initPath, leaseCommand } = this.#options
    startLeaseKeeper({
      folder: this.#folderOf(endpoint),
      initPath,
      pid,
      netnsFd: sandbox.netnsFd,
      client,
      command: leaseCommand(endpoint.id),
      tellsFirst,
    })
  }

  async #waitForLease(request: LeaseRequest): Promise<Lease> {
    const { endpoint, network } = request
    const cannot = `cannot lease "${endpoint.containerName}" an address on network "${network.name}"`
    const seconds = timeoutOf(network)
    const deadline = performance.now() + seconds * 1000
    for (;;) {
      const lease = this.readLease(endpoint)
      if (lease !== undefined) return lease
      const { refused, ended } = readLeaseFailure(this.#folderOf(endpoint))
      if (ended !== undefined)
        throw new TsrunError('unavailable', 'dhcp-client', `${cannot}: the DHCP client ended with code ${ended}`, {
          hint: `\`${findDhcpClient()?.join(' ') ?? 'udhcpc'} --help\` shows whether this busybox has udhcpc; ${DHCP_CLIENT_REMEDY}`,
        })
      if (performance.now() > deadline) throw noLease(cannot, { refused, seconds })
      await sleep(pauseMs)
    }
  }

  #folderOf({ id }: Pick<Endpoint, 'id'>): string {
    return `${this.#options.leaseDirectory}/${id}`
  }
}

/** Its script is left out: what that leads to is shown by itself. */
function explained({ containerName }: Endpoint, client: readonly string[]): string {
  const words = client.map(word => shellQuote(word === EVENT_PROGRAM ? '/bin/true' : word))
  return `ip netns exec ${shellQuote(containerName)} ${words.join(' ')} &`
}

/** The words that start the client for one endpoint. @throws TsrunError unavailable */
function clientOf({ network, endpoint, hostname, preferred }: LeaseRequest): string[] {
  const client = findDhcpClient()
  if (client === undefined) throw noClient(`cannot lease "${endpoint.containerName}" an address`)
  return dhcpClientCommand(client, {
    interfaceName: endpoint.containerInterface,
    // Of the container and of the network, so that it is another one on each.
    clientId: endpoint.id.slice(0, 16) + endpoint.id.slice(32, 48),
    hostname,
    ...(preferred === undefined ? {} : { preferred }),
    broadcast: network.driver === 'ipvlan',
  })
}

function timeoutOf(network: Network): number {
  const text = network.ipamOptions?.timeout
  if (text === undefined) return defaultTimeout
  const seconds = /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (seconds >= 1 && seconds <= longestTimeout) return seconds
  throw new TsrunError(
    'invalid',
    'bad-option',
    `cannot create network "${network.name}": the timeout "${text}" is no number of seconds`,
    { hint: `a number from 1 to ${longestTimeout}; ${defaultTimeout} where none is given` },
  )
}

function noClient(cannot: string): TsrunError {
  return new TsrunError('unavailable', 'no-dhcp-client', `${cannot}: there is no DHCP client on this host (udhcpc)`, {
    hint: DHCP_CLIENT_REMEDY,
  })
}

function noLease(cannot: string, { refused, seconds }: { refused: string | undefined; seconds: number }): TsrunError {
  const why = refused === undefined ? `no DHCP server answered within ${seconds} s` : parseRefusal(refused)
  return new TsrunError('unavailable', 'no-lease', `${cannot}: ${why}`, {
    hint:
      refused === undefined
        ? '`tsrun network capture` shows what is said; is a server on that network, and does the switch let new MAC addresses in? --ipam-opt timeout=SECONDS waits longer'
        : "the server's log says why",
  })
}
