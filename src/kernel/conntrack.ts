// Connections that the kernel remembers. A UDP "connection" outlives what it led to: datagrams of a client that keeps
// its port go on to a dead container, or past a container that was published after the first datagram
// (traps 2.2#18). TCP resets itself and is left alone, so most calls here do nothing.

import { networkInterfaces } from 'node:os'
import { hasCode } from '../ffi/errno.ts'
import type { ByteReader, ByteWriter } from '../lib/bytes.ts'
import {
  addressBytes,
  addressFromBytes,
  formatAddress,
  type IpAddress,
  parseAddress,
  tryParseAddress,
} from '../lib/ip.ts'
import { record } from './explain.ts'
import { attribute, bytesAttribute, nested, readAttributes } from './nftables/attributes.ts'
import { type NfMessage, type Nfnetlink, SUBSYS_CTNETLINK } from './nftables/nfnetlink.ts'

const CT_GET = (SUBSYS_CTNETLINK << 8) | 1
const CT_DELETE = (SUBSYS_CTNETLINK << 8) | 2
const CTA_TUPLE_ORIG = 1
const CTA_TUPLE_REPLY = 2
const CTA_ID = 12
const CTA_FILTER = 25
const protocolNumbers = { udp: 17, sctp: 132 } as const

export interface FlowSelection {
  /** Flows to these ports of this host, whichever container they lead to. TCP is passed over. */
  readonly ports: readonly { readonly protocol: string; readonly hostIp: string; readonly hostPort: number }[]
  /** With or without prefix length: flows that are answered from these addresses. */
  readonly containerAddresses?: readonly string[]
}

/**
 * Forgets UDP and SCTP flows, for when a port was published or withdrawn. Does nothing when there is
 * no such port.
 * Equivalent to: `conntrack -D -p udp --orig-port-dst $port`, kept to flows towards this host.
 */
export function flushFlows(socket: Nfnetlink, { ports, containerAddresses = [] }: FlowSelection): void {
  const datagramPorts = ports.filter(port => port.protocol === 'udp' || port.protocol === 'sctp')
  if (datagramPorts.length === 0) return
  const local = localAddresses()
  for (const { protocol, hostIp, hostPort } of datagramPorts) {
    const { family, value } = parseAddress(hostIp)
    record(() => `conntrack -D -f ipv${family} -p ${protocol} --orig-port-dst ${hostPort}`)
    const matching = listFlows(socket, family, { protocol: protocol as 'udp' | 'sctp', port: hostPort })
    deleteFlows(
      socket,
      // A flow of this host to port 53 of somebody else is none of ours.
      matching.filter(flow => (value === 0n ? local.has(flow.originalTo) : flow.originalTo === hostIp)),
    )
  }
  for (const text of containerAddresses) {
    const address = tryParseAddress(text.replace(/\/.*/, ''))
    if (address === undefined) continue
    for (const protocol of new Set(datagramPorts.map(port => port.protocol as 'udp' | 'sctp'))) {
      record(() => `conntrack -D -p ${protocol} --reply-src ${formatAddress(address)}`)
      deleteFlows(socket, listFlows(socket, address.family, { protocol, answeredFrom: address }))
    }
  }
}

interface Flow {
  readonly family: 4 | 6
  readonly protocol: number
  /** Destination of the first packet, before any translation. */
  readonly originalTo: string
  readonly originalPort: number
  readonly answeredFrom: string
  /** The attribute as it came: it names the flow when it is deleted. */
  readonly tuple: Buffer
  readonly id: Buffer | undefined
}

interface Wanted {
  readonly protocol: 'udp' | 'sctp'
  readonly port?: number
  readonly answeredFrom?: IpAddress
}

/** Flows that match; the kernel sorts out the others before they are copied (since 5.8), and we look again. */
function listFlows(socket: Nfnetlink, family: 4 | 6, wanted: Wanted): Flow[] {
  const replies = socket.dump({
    type: CT_GET,
    family: family === 4 ? 2 : 10,
    flags: 0,
    body: writer => writeFilter(writer, wanted),
  })
  return replies.flatMap(reader => {
    const flow = parseFlow(reader, family)
    if (flow === undefined || flow.protocol !== protocolNumbers[wanted.protocol]) return []
    if (wanted.port !== undefined && flow.originalPort !== wanted.port) return []
    if (wanted.answeredFrom !== undefined && flow.answeredFrom !== formatAddress(wanted.answeredFrom)) return []
    return [flow]
  })
}

function deleteFlows(socket: Nfnetlink, flows: readonly Flow[]): void {
  for (const flow of flows) {
    const message: NfMessage = {
      type: CT_DELETE,
      family: flow.family === 4 ? 2 : 10,
      flags: 0,
      body: writer => {
        nested(writer, CTA_TUPLE_ORIG, () => writer.bytes(flow.tuple))
        if (flow.id !== undefined) bytesAttribute(writer, CTA_ID, flow.id)
      },
    }
    try {
      socket.request(message)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error // It ended by itself.
    }
  }
}

/** CTA_FILTER names the fields that count, as bits of CTA_FILTER_F_* in net/netfilter/nf_conntrack_netlink.c. */
function writeFilter(writer: ByteWriter, { protocol, port, answeredFrom }: Wanted): void {
  const [srcAddress, protocolBit, dstPort] = [1 << 0, 1 << 3, 1 << 5]
  const tuple = answeredFrom === undefined ? CTA_TUPLE_ORIG : CTA_TUPLE_REPLY
  nested(writer, tuple, () => {
    if (answeredFrom !== undefined)
      nested(writer, 1, () => bytesAttribute(writer, answeredFrom.family === 4 ? 1 : 3, addressBytes(answeredFrom)))
    nested(writer, 2, () => {
      attribute(writer, 1, () => writer.u8(protocolNumbers[protocol]))
      if (port !== undefined) attribute(writer, 3, () => writer.u16be(port))
    })
  })
  const flags = protocolBit | (port === undefined ? 0 : dstPort) | (answeredFrom === undefined ? 0 : srcAddress)
  nested(writer, CTA_FILTER, () => {
    // Host byte order: the kernel reads these two with nla_get_u32.
    attribute(writer, 1, () => writer.u32(tuple === CTA_TUPLE_ORIG ? flags : 0))
    attribute(writer, 2, () => writer.u32(tuple === CTA_TUPLE_REPLY ? flags : 0))
  })
}

function parseFlow(reader: ByteReader, family: 4 | 6): Flow | undefined {
  const attributes = readAttributes(reader, 0, reader.length)
  const original = attributes.get(CTA_TUPLE_ORIG)
  const reply = attributes.get(CTA_TUPLE_REPLY)
  if (original === undefined || reply === undefined) return undefined
  const to = readTuple(reader, original, family)
  const back = readTuple(reader, reply, family)
  if (to.destination === undefined || back.source === undefined) return undefined
  const id = attributes.get(CTA_ID)
  return {
    family,
    protocol: to.protocol,
    originalTo: to.destination,
    originalPort: to.port,
    answeredFrom: back.source,
    tuple: Buffer.from(reader.slice(original[0], original[1])),
    id: id === undefined ? undefined : Buffer.from(reader.slice(id[0], id[1])),
  }
}

function readTuple(reader: ByteReader, [from, to]: readonly [number, number], family: 4 | 6) {
  const parts = readAttributes(reader, from, to)
  const ip = parts.get(1)
  const proto = parts.get(2)
  const addresses = ip === undefined ? undefined : readAttributes(reader, ip[0], ip[1])
  const numbers = proto === undefined ? undefined : readAttributes(reader, proto[0], proto[1])
  const address = (type: number) => {
    const range = addresses?.get(type)
    const parsed = range === undefined ? undefined : addressFromBytes(reader.slice(range[0], range[1]))
    return parsed === undefined ? undefined : formatAddress(parsed)
  }
  const protocol = numbers?.get(1)
  const port = numbers?.get(3)
  return {
    source: address(family === 4 ? 1 : 3),
    destination: address(family === 4 ? 2 : 4),
    protocol: protocol === undefined ? -1 : reader.u8(protocol[0]),
    port: port === undefined ? -1 : reader.u16be(port[0]),
  }
}

function localAddresses(): Set<string> {
  const found = Object.values(networkInterfaces()).flatMap(list => list ?? [])
  return new Set(found.map(({ address }) => address.replace(/%.*/, '')))
}
