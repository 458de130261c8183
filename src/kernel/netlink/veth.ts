// `ip link add .. type veth`: two interfaces that are joined, the second of which may be born in another namespace. Numbers are from
// linux/if_link.h and linux/veth.h.

import { shellQuote } from '../explain.ts'
import {
  IFLA_ADDRESS,
  IFLA_GROUP,
  IFLA_IFNAME,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_MTU,
  IFLA_NET_NS_FD,
  parseMac,
  RTM_NEWLINK,
  words,
  writeHeader,
} from './link.ts'
import { type NetlinkChange, NLM_F_CREATE, NLM_F_EXCL, type PayloadWriter } from './message.ts'

const IFLA_NUM_TX_QUEUES = 31
const IFLA_NUM_RX_QUEUES = 32
const VETH_INFO_PEER = 1

/** A veth pair, whose second end may be born in another namespace. Both ends are down. */
export interface VethSpec {
  readonly name: string
  readonly mtu?: number
  /**
   * Queues each way, on both ends. The kernel's default is one a processor, each with its entry in sysfs: on two
   * processors one queue makes the pair a quarter faster, on many it decides. A veth needs more for XDP alone.
   */
  readonly queues?: number
  /** Device group of the first end. */
  readonly group?: number
  /** The bridge that the first end is plugged into. */
  readonly master?: { readonly index: number; readonly name: string }
  readonly peer: {
    readonly name: string
    readonly mac?: string
    readonly mtu?: number
    /** Absent: in the same namespace. */
    readonly netnsFd?: number
    /** The namespace's name in the printed command. */
    readonly netnsLabel?: string
  }
}

/**
 * Equivalent to: `ip link add name $name master $bridge type veth peer name $eth netns $label`.
 * Applying it fails with EEXIST if either side already has a link of that name, ENODEV if the bridge is gone,
 * EXFULL if the bridge has no port number left (1023 are in use).
 */
export function linkAddVeth({ name, mtu, queues, group, master, peer }: VethSpec): NetlinkChange {
  const payload = writeHeader({}).attributeString(IFLA_IFNAME, name)
  if (mtu !== undefined) payload.attributeU32(IFLA_MTU, mtu)
  if (group !== undefined) payload.attributeU32(IFLA_GROUP, group)
  if (master !== undefined) payload.attributeU32(IFLA_MASTER, master.index)
  writeQueues(payload, queues)
  payload.nest(IFLA_LINKINFO, () => {
    payload.attributeString(IFLA_INFO_KIND, 'veth').nest(IFLA_INFO_DATA, () =>
      payload.nest(VETH_INFO_PEER, () => {
        writeHeader({}, payload).attributeString(IFLA_IFNAME, peer.name)
        if (peer.mtu !== undefined) payload.attributeU32(IFLA_MTU, peer.mtu)
        if (peer.mac !== undefined) payload.attribute(IFLA_ADDRESS, parseMac(peer.mac))
        writeQueues(payload, queues)
        if (peer.netnsFd !== undefined) payload.attributeU32(IFLA_NET_NS_FD, peer.netnsFd)
      }),
    )
  })
  return {
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    payload: payload.finish(),
    name: `add veth "${name}"`,
    command: () => {
      const size = [mtu && `mtu ${mtu}`, queues && `numtxqueues ${queues} numrxqueues ${queues}`]
      const peerSize = [peer.mtu && `mtu ${peer.mtu}`, size[1]]
      return words(
        [
          'link add name',
          name,
          ...size,
          group && `group ${group}`,
          master && `master ${master.name}`,
          'type veth peer name',
          peer.name,
        ],
        [...peerSize, peer.mac && `address ${peer.mac}`, peer.netnsLabel && `netns ${shellQuote(peer.netnsLabel)}`],
      )
    },
  }
}

function writeQueues(payload: PayloadWriter, queues: number | undefined): void {
  if (queues !== undefined) payload.attributeU32(IFLA_NUM_TX_QUEUES, queues).attributeU32(IFLA_NUM_RX_QUEUES, queues)
}
