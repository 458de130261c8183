// Ports of endpoints in the table: published, changed and withdrawn in one transaction each, and never a successor's.

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
  formatMapping,
  heldElements,
  mappingKey,
  openedElement,
  ownerElement,
  ownerIn,
  ownerName,
  ownerOf,
  type PortElement,
  type PublishedElements,
} from './nft-rules.ts'
import type { Addition, NftTable } from './nft-table.ts'

/**
 * Adds what publishes an endpoint's ports. Where other ports of it stand, those in both stay untouched, and what goes and what
 * comes is one transaction.
 * @returns the ports that came or went; undefined when the table is gone: make it anew and call again
 * @throws TsrunError conflict when a port is published already
 */
export function publish(
  table: NftTable,
  endpoint: Endpoint,
  published: PublishedElements,
): readonly PortMapping[] | undefined {
  const { owner, ports } = published
  if (ports.length === 0) return []
  const additions = additionsOf(published)
  const failures = table.add(additions)
  if (failures.length === 0) return endpoint.ports
  if (failures.some(failure => failure.errno === errno.ENOENT)) return undefined
  if (failures.some(failure => failure.index === 0 && failure.errno === errno.EEXIST)) {
    // All came in one transaction, so with this very owner element the rest stands too. Another one is of other ports, or of
    // an earlier life of the container that ended without a teardown.
    return table.find(owner)?.comment === owner.comment ? endpoint.ports : replace(table, endpoint, published)
  }
  throwRefusal(table, endpoint, { published, additions, failures })
}

/** The owner element comes first: whether that is there decides what a refusal means. */
function additionsOf({ owner, ports, opened, shared }: PublishedElements): Addition[] {
  return [
    { element: owner, exclusive: true },
    ...ports.map(({ element }) => ({ element, exclusive: true })),
    ...shared.map(({ element }) => ({ element, exclusive: false })),
    ...opened.map(element => ({ element, exclusive: false })),
  ]
}

interface Refusal {
  readonly published: PublishedElements
  readonly additions: readonly Addition[]
  /** By their index among the additions. */
  readonly failures: readonly NfFailure[]
}

/** @throws TsrunError conflict where a port is taken, else SyscallError */
function throwRefusal(table: NftTable, endpoint: Endpoint, { published, additions, failures }: Refusal): never {
  const clash = failures.find(failure => failure.errno === errno.EEXIST || failure.errno === errno.EBUSY)
  const refused = additions[clash?.index ?? -1]?.element
  const entry = [...published.ports, ...published.shared].find(({ element }) => element === refused)
  if (entry === undefined) throwFailure(`cannot publish the ports of "${endpoint.containerName}"`, failures)
  throw portTaken(table, endpoint, entry)
}

/**
 * Makes one transaction of what stands of an endpoint, found by the comments, and what is wanted: one or the other is there at
 * every moment, whatever happens to this process. @returns the ports that came or went @throws as publish()
 */
function replace(table: NftTable, endpoint: Endpoint, published: PublishedElements): readonly PortMapping[] {
  const wanted = additionsOf(published)
  let changed: readonly PortMapping[] = []
  let deletions: readonly SetElement[] = []
  let additions: readonly Addition[] = []
  const failures = table.optimistically(() => {
    const standing = standingOf(table, ownerOf(endpoint))
    const gone = standing.filter(({ set, stored }) => !wanted.some(({ element }) => isStored(element, set, stored)))
    const isThere = (element: SetElement) => standing.some(({ set, stored }) => isStored(element, set, stored))
    additions = wanted.filter(({ element }) => !isThere(element))
    const goneHeld = surplusOf(table, ownerOf(endpoint), gone).filter(
      held => !published.shared.some(({ element }) => isSameKey(element, held)),
    )
    const owner = table.has(published.owner) ? [published.owner] : []
    deletions = [...owner, ...gone.map(({ element }) => element), ...goneHeld]
    changed = [
      ...gone.flatMap(({ mapping }) => mapping ?? []),
      ...published.ports.flatMap(({ element, mapping }) => (isThere(element) ? [] : [mapping])),
    ]
    return table.changes(deletions, additions)
  })
  if (failures.length === 0) return changed
  const ofAdditions = failures.map(failure => ({ ...failure, index: failure.index - deletions.length }))
  throwRefusal(table, endpoint, { published, additions, failures: ofAdditions })
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
          table.optimistically(() => table.deletions([...own, ...unheld(table, ownerOf(endpoint), shared)]))
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
  const failures = table.optimistically(() =>
    table.has(owner) ? table.deletions(everythingOf(table, ownerOf(endpoint)).elements) : [],
  )
  if (failures.length > 0) throwFailure(`cannot withdraw the ports of "${endpoint.containerName}"`, failures)
}

/**
 * Withdraws the ports of all that are not in `owners`, each in one transaction that the kernel refuses if anything came or went
 * since the records were read.
 * @param owners asked again before each change: whoever publishes is on record before. Undefined: nobody can tell, and all stays
 * @returns the ports that went @throws SyscallError
 */
export function withdrawStrays(table: NftTable, owners: () => ReadonlySet<string> | undefined): PortMapping[] {
  const gone: PortMapping[] = []
  for (;;) {
    let found: Everything | undefined
    const failures = table.optimistically(() => {
      const standing = table.list('published').flatMap(({ comment }) => ownerIn(comment) ?? [])
      const known = owners()
      const stray = standing.find(owner => known?.has(owner) === false)
      found = stray === undefined ? undefined : everythingOf(table, stray)
      return table.deletions(found?.elements ?? [])
    })
    if (failures.length > 0) throwFailure('cannot withdraw ports that nobody owns', failures)
    if (found === undefined) return gone
    gone.push(...found.ports)
  }
}

/** What is to go with an owner. */
interface Everything {
  readonly elements: readonly SetElement[]
  readonly ports: readonly PortMapping[]
}

/** All that carries an owner's comment, the owner element first. */
function everythingOf(table: NftTable, owner: string): Everything {
  const own = standingOf(table, owner)
  return {
    elements: [ownerElement(owner), ...own.map(({ element }) => element), ...surplusOf(table, owner, own)],
    ports: own.flatMap(({ mapping }) => mapping ?? []),
  }
}

/** An element of an endpoint as it was found. */
interface StandingElement {
  readonly set: string
  readonly stored: StoredElement
  /** With the key alone: good for its deletion. */
  readonly element: SetElement
  /** Of a port, without what it leads to. Undefined for what lets clients in on the container's own address. */
  readonly mapping?: PortMapping
}

/** Ports, and what lets clients in on the container's own address, found by the comments. */
function standingOf(table: NftTable, owner: string): StandingElement[] {
  const ownIn = (set: string) => table.list(set).filter(({ comment }) => ownerIn(comment) === owner)
  return [
    ...portMaps.flatMap(set => ownIn(set).map(stored => ({ set, stored, ...parsePortElement(set, stored) }))),
    ...([4, 6] as const).flatMap(family => {
      const set = `opened${family}`
      return ownIn(set).flatMap(stored => {
        const address = addressFromBytes(stored.key.subarray(4, -4))
        if (address === undefined) return []
        const protocol = protocolOf(stored.key[0])
        const containerPort = portIn(stored.key)
        return [{ set, stored, element: openedElement(family, addressField(address), { protocol, containerPort }) }]
      })
    }),
  ]
}

/** The elements that kept `0.0.0.0` off the ports in `standing`, as far as nobody else needs them. */
function surplusOf(table: NftTable, owner: string, standing: readonly StandingElement[]): SetElement[] {
  const held = standing.flatMap(({ mapping }) =>
    mapping === undefined ? [] : heldElements(mapping).map(element => ({ element, mapping })),
  )
  return unheld(table, owner, held).filter(element => table.has(element))
}

/** Whether `stored`, found in `set`, is this very element, with the same data. */
function isStored(element: SetElement, set: string, { key, data, comment }: StoredElement): boolean {
  return (
    element.set === set &&
    concatenate(element.key).equals(key) &&
    concatenate(element.data ?? []).equals(data ?? Buffer.alloc(0)) &&
    element.comment === comment
  )
}

function isSameKey(a: SetElement, b: SetElement): boolean {
  return a.set === b.set && concatenate(a.key).equals(concatenate(b.key))
}

const portMaps = ['any4', 'any6', 'addr4', 'addr6'] as const

/** The key of an element as the kernel keeps it, in fields again. */
function parsePortElement(set: (typeof portMaps)[number], { key }: StoredElement): PortElement {
  const address = addressFromBytes(key.subarray(4, -4))
  const hostIp = address === undefined ? (set === 'any4' ? '0.0.0.0' : '::') : formatAddress(address)
  // What it leads to does not matter for its deletion.
  const mapping: PortMapping = { protocol: protocolOf(key[0]), hostIp, hostPort: portIn(key), containerPort: 0 }
  return { element: mappingKey(mapping), mapping }
}

/** The port at the end of a key. */
function portIn(key: Buffer): number {
  return key.readUInt16BE(key.length - 4)
}

/** Those of `shared` that nobody but `owner` needs. */
function unheld(table: NftTable, owner: string, shared: readonly PortElement[]): SetElement[] {
  const holders = new Set<string>()
  for (const family of new Set(shared.map(({ mapping }) => familyOf(mapping)))) {
    for (const { key, comment } of table.list(`addr${family}`))
      if (ownerIn(comment) !== owner) holders.add(`${family} ${portOf(key).toString('hex')}`)
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

function familyOf(mapping: PortMapping): 4 | 6 {
  return parseAddress(mapping.hostIp).family
}
