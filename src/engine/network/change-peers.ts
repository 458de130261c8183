// Changes the peers of a network while it is in use. The record goes first: a command that dies behind it leaves a network that the
// next one brings in line.

import { formatPrefix, networkOf, tryParsePrefix } from '../../lib/ip.ts'
import { withRollback } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network, Peer } from '../../model/network.ts'
import { noPeers } from './check-peers.ts'
import type { NetworkDrivers } from './connect-sandbox.ts'
import type { NetworkStore } from './network-store.ts'

/** What is to change of a network. */
export interface NetworkUpdate {
  /** Of a subnet that is a peer already the address changes. */
  readonly addPeers?: readonly Peer[]
  /** Subnets. */
  readonly removePeers?: readonly string[]
}

/** The caller holds the network's lock. @throws TsrunError invalid, conflict, not-found */
export async function changePeers(
  { driver, firewall }: NetworkDrivers,
  store: NetworkStore,
  current: Network,
  update: NetworkUpdate,
): Promise<Network> {
  const { addPeers = [], removePeers = [] } = update
  if (driver.checkPeers === undefined) throw noPeers(current)
  const others = store.list().filter(({ id }) => id !== current.id)
  const changed = driver.validate({ ...current, peers: peersAfter(current, addPeers, removePeers) }, others)
  const added = new Set(addPeers.map(({ subnet }) => canonical(subnet)))
  driver.checkPeers(
    changed,
    (changed.peers ?? []).filter(({ subnet }) => added.has(subnet)),
  )
  return withRollback(async undo => {
    // Before the write: it may fail when it is done.
    undo.add('network record', () => store.replace(current))
    store.replace(changed)
    undo.add('peers', async () => {
      await withRollback(async again => {
        await driver.create(current, again)
        again.keep()
      })
    })
    await driver.create(changed, undo)
    await firewall.reload()
    undo.keep()
    return changed
  })
}

function peersAfter(network: Network, added: readonly Peer[], removed: readonly string[]): Peer[] {
  const before = network.peers ?? []
  for (const subnet of removed)
    if (!before.some(peer => peer.subnet === canonical(subnet)))
      throw new TsrunError('not-found', 'no-such-peer', `network "${network.name}" has no peer ${subnet}`, {
        hint: before.length === 0 ? 'it has none' : `it has ${before.map(peer => peer.subnet).join(', ')}`,
      })
  const gone = new Set([...removed, ...added.map(({ subnet }) => subnet)].map(canonical))
  return [...before.filter(({ subnet }) => !gone.has(subnet)), ...added]
}

/** What is no subnet stays as it is: the driver refuses it. */
function canonical(subnet: string): string {
  const prefix = tryParsePrefix(subnet)
  return prefix === undefined ? subnet : formatPrefix(networkOf(prefix))
}
