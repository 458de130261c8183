// Static addresses: the container's from its creation to its removal, running or not, so that nobody else is given one
// meanwhile. In the pool they look like every other address; what makes them static is the container's record.

import type { Undo } from '../../lib/rollback.ts'
import { unlessDamaged } from '../../lib/state-file.ts'
import type { Container, NetworkAttachment } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Network } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { shortId } from '../ids.ts'
import { familyOf, withoutPrefix } from './address-text.ts'
import { poolFor } from './connect-sandbox.ts'
import { hasFamily, staticIps } from './plan-endpoints.ts'

type Parts = Pick<EngineContext, 'networks' | 'ipam' | 'retryAfterReconcile'>

/** The addresses that stay with the container while it is stopped. */
export function reservedAddresses(container: Container): string[] {
  return (container.spec.networks ?? []).flatMap(staticIps)
}

/**
 * Takes one attachment's static addresses; a network that there is not yet is passed over, the start asks again.
 * @throws TsrunError conflict (taken, by whom), invalid (not in a subnet of the network, or the network has none of its family)
 */
export async function reserveStatic(
  parts: Parts,
  container: Pick<Container, 'id'>,
  attachment: NetworkAttachment,
  undo: Undo,
): Promise<void> {
  const network = networkOf(parts, attachment)
  if (network === undefined) return
  checkFamilies(network, attachment)
  for (const address of staticIps(attachment)) {
    const pool = poolFor(network.pools, address)
    if (pool === undefined) continue
    await parts.retryAfterReconcile(() => parts.ipam.requestAddress(pool, container.id, address))
    undo.add('static address', () => parts.ipam.releaseAddress(pool, address, container.id))
  }
}

/** @throws TsrunError invalid where the user chose an address that nothing on the network can be given */
export function checkFamilies(network: Network, attachment: NetworkAttachment): void {
  // Told with what else a server cannot grant.
  if (network.isLeased === true) return
  for (const address of staticIps(attachment)) {
    const family = familyOf(address)
    if (hasFamily(network, family)) continue
    throw new TsrunError(
      'invalid',
      'no-such-family',
      `cannot use address ${address}: network "${network.name}" has no IPv${family} addresses`,
      { hint: 'leave it out, or choose a network with a subnet that it is in' },
    )
  }
}

/**
 * Gives back one attachment's static addresses. Idempotent.
 * @returns false where the network's record cannot be read: it may have some
 */
export async function releaseStatic(
  parts: Parts,
  container: Pick<Container, 'id'>,
  attachment: NetworkAttachment,
): Promise<boolean> {
  const network = networkOf(parts, attachment)
  if (network === undefined) {
    const all = unlessDamaged(() => parts.networks.all())
    return all !== undefined && !all.some(({ id, name }) => [id, name].includes(attachment.network))
  }
  for (const address of staticIps(attachment))
    for (const pool of network.pools)
      if (familyOf(pool.subnet) === familyOf(address))
        await parts.ipam.releaseAddress(pool, withoutPrefix(address), container.id)
  return true
}

/** IPAM knows owners by id: here they get their names. */
export function withNames({ store, networks }: Pick<EngineContext, 'store' | 'networks'>, error: unknown): unknown {
  if (!(error instanceof TsrunError)) return error
  // What a network keeps from its containers is the host's, or has a name that the user gave it.
  const keeperOf = (network: Network) => {
    const auxiliary = network.pools.flatMap(pool => Object.entries(pool.auxiliary ?? {}))
    const [name] = auxiliary.find(([, address]) => error.message.includes(` ${address}: `)) ?? []
    return name === undefined ? 'the host' : `${name}" (--aux-address) of network "${network.name}`
  }
  const nameOf = (id: string) => {
    const network = networks.list().find(each => each.id === id)
    return store.read(id)?.name ?? (network === undefined ? shortId(id) : keeperOf(network))
  }
  const message = error.message.replace(/[0-9a-f]{64}/, nameOf)
  return new TsrunError(error.kind, error.code, message, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    cause: error,
  })
}

function networkOf({ networks }: Parts, { network }: NetworkAttachment): Network | undefined {
  return networks.named(network)
}
