// Ports of endpoints in the table: published in one transaction, withdrawn in one, and never a successor's.

import { errno } from '../../ffi/errno.ts'
import {
  addressField,
  concatenate,
  portField,
  protocolField,
  protocolOf,
  type SetElement,
  type StoredElement,
} from '../../kernel/nftables/elements.ts'
import { type NfFailure, throwFailure } from '../../kernel/nftables/nfnetlink.ts'
import { addressFromBytes, formatAddress, parseAddress } from '../../lib/ip.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, PortMapping } from '../../model/network.ts'
import {
  endpointKey,
  formatMapping,
  heldElements,
  mappingKey,
  openedElement,
  ownerName,
  type PortElement,
  type PublishedElements,
} from './nft-rules.ts'
import type { NftTable } from './nft-table.ts'

/**
 * Adds what publishes an endpoint's ports.
 * @returns false when the table is gone: make it anew and call again
 * @throws TsrunError conflict when a port is published already
 */
export function publish(table: NftTable, endpoint: Endpoint, published: PublishedElements): boolean {
  const { owner, ports, opened, shared } = published
  if (ports.length === 0) return true
  const failures = table.add([
    { element: owner, exclusive: true },
    ...ports.map(({ element }) => ({ element, exclusive: true })),
    ...shared.map(({ element }) => ({ element, exclusive: false })),
    ...opened.map(element => ({ element, exclusive: false })),
  ])
  if (failures.length === 0) return true
  if (failures.some(failure => failure.errno === errno.ENOENT)) return false
  if (failures.some(failure => failure.index === 0 && failure.errno === errno.EEXIST)) {
    // All came in one transaction, so with this very owner element the rest stands too. Another one is of an earlier
    // life of the container that ended without a teardown.
    if (table.find(owner)?.comment === owner.comment) return true
    deleteAllOf(table, endpoint, owner)
    return publish(table, endpoint, published)
  }
  const clash = failures.find(failure => failure.errno === errno.EEXIST || failure.errno === errno.EBUSY)
  const entry = clash === undefined ? undefined : [...ports, ...shared][clash.index - 1]
  if (entry === undefined) throwFailure(`cannot publish the ports of "${endpoint.containerName}"`, failures)
  throw portTaken(table, endpoint, entry)
}

/**
 * Deletes what publishes an endpoint's ports, if it is still this endpoint's. The owner element came with the ports in
 * one transaction and goes with them: while it is there the ports are this endpoint's; once it is gone they may be a
 * successor's, and its absence (ENOENT) makes the kernel refuse the whole. The look before only saves the time of that.
 */
export function withdraw(
  table: NftTable,
  endpoint: Endpoint,
  { owner, ports, opened, shared }: PublishedElements,
): void {
  const standing = table.find(owner)
  if (standing === undefined) return
  if (standing.comment === owner.comment) {
    const own = [owner, ...ports.map(({ element }) => element), ...opened]
    const failures =
      shared.length === 0
        ? table.socket.transaction(table.deletions(own))
        : // Whether others still hold the port must be read: the kernel refuses the change if that has passed meanwhile.
          table.optimistically(() => table.deletions([...own, ...unheld(table, endpoint, shared)]))
    if (failures.length === 0 || failures.some(isOwnerMissing)) return
  }
  // Other ports than these, or some that were deleted by hand: the comments say which are this endpoint's.
  deleteAllOf(table, endpoint, owner)
}

function isOwnerMissing({ index, errno: code }: NfFailure): boolean {
  return index === 0 && code === errno.ENOENT
}

/** Deletes every port that carries the endpoint's comment, found by reading all. */
function deleteAllOf(table: NftTable, endpoint: Endpoint, owner: SetElement): void {
  const failures = table.optimistically(() => {
    if (!table.has(owner)) return []
    const own = portMaps.flatMap(set =>
      table
        .list(set)
        .flatMap(element => (isOwnedBy(element.comment, endpoint) ? [parsePortElement(set, element)] : [])),
    )
    const held = own.flatMap(({ mapping }) => heldElements(mapping).map(element => ({ element, mapping })))
    const surplus = unheld(table, endpoint, held).filter(element => table.has(element))
    return table.deletions([owner, ...own.map(({ element }) => element), ...surplus, ...openedOf(table, endpoint)])
  })
  if (failures.length > 0) throwFailure(`cannot withdraw the ports of "${endpoint.containerName}"`, failures)
}

/** What lets clients in on the container's own address, found by the comments. */
function openedOf(table: NftTable, endpoint: Endpoint): SetElement[] {
  return ([4, 6] as const).flatMap(family =>
    table.list(`opened${family}`).flatMap(({ key, comment }) => {
      const address = addressFromBytes(key.subarray(4, -4))
      if (!isOwnedBy(comment, endpoint) || address === undefined) return []
      const containerPort = key.readUInt16BE(key.length - 4)
      return [openedElement(family, addressField(address), { protocol: protocolOf(key[0]), containerPort })]
    }),
  )
}

const portMaps = ['any4', 'any6', 'addr4', 'addr6'] as const

/** The key of an element as the kernel keeps it, in fields again. */
function parsePortElement(set: (typeof portMaps)[number], { key }: StoredElement): PortElement {
  const protocol = protocolOf(key[0])
  const hostPort = key.readUInt16BE(key.length - 4)
  const address = addressFromBytes(key.subarray(4, -4))
  const hostIp = address === undefined ? (set === 'any4' ? '0.0.0.0' : '::') : formatAddress(address)
  // What it leads to does not matter for its deletion.
  const mapping: PortMapping = { protocol, hostIp, hostPort, containerPort: 0 }
  return { element: mappingKey(mapping), mapping }
}

/** Those of `shared` that no other endpoint needs. */
function unheld(table: NftTable, endpoint: Endpoint, shared: readonly PortElement[]): SetElement[] {
  const holders = new Set<string>()
  for (const family of new Set(shared.map(({ mapping }) => familyOf(mapping)))) {
    for (const { key, comment } of table.list(`addr${family}`))
      if (!isOwnedBy(comment, endpoint)) holders.add(`${family} ${portOf(key).toString('hex')}`)
  }
  return shared.flatMap(({ element, mapping }) => {
    const key = concatenate([protocolField(mapping.protocol), portField(mapping.hostPort)])
    return holders.has(`${familyOf(mapping)} ${key.toString('hex')}`) ? [] : [element]
  })
}

/** Finds out who has the port; asked only when the kernel has refused it. */
function portTaken(table: NftTable, endpoint: Endpoint, { mapping }: PortElement): TsrunError {
  const family = familyOf(mapping)
  const anyAddress = mappingKey({ ...mapping, hostIp: family === 4 ? '0.0.0.0' : '::' })
  const wanted = concatenate([protocolField(mapping.protocol), portField(mapping.hostPort)])
  const found =
    [mappingKey(mapping), anyAddress]
      .map(key => table.find(key))
      .find(element => ownerName(element?.comment) !== undefined) ??
    table.list(`addr${family}`).find(({ key }) => portOf(key).equals(wanted))
  const owner = ownerName(found?.comment)
  const why = owner === undefined ? 'the port is given twice' : `the port is published by container "${owner}"`
  const hint =
    owner === undefined
      ? 'leave one of the two mappings out'
      : `choose another host port, or stop "${owner}": tsrun stop ${owner}`
  const message = `cannot publish ${formatMapping(mapping)} for "${endpoint.containerName}": ${why}`
  return new TsrunError('conflict', 'port-taken', message, { hint })
}

/** Protocol and port out of a key of addr4 or addr6, which has the address between them. */
function portOf(key: Buffer): Buffer {
  return Buffer.concat([key.subarray(0, 4), key.subarray(-4)])
}

function isOwnedBy(comment: string | undefined, endpoint: Endpoint): boolean {
  return comment?.startsWith(`tsrun:${endpointKey(endpoint.id).join('.')} `) === true
}

function familyOf(mapping: PortMapping): 4 | 6 {
  return parseAddress(mapping.hostIp).family
}
