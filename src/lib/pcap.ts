// The pcap file format, nanosecond variant, with packets of any interface behind a "Linux cooked capture v2" header - what
// `tcpdump -i any` writes. https://www.tcpdump.org/manpages/pcap-savefile.5.html, https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html

const MAGIC_NANOSECONDS = 0xa1b23c4d
const LINKTYPE_LINUX_SLL2 = 276
const COOKED_HEADER_BYTES = 20

/** A packet as a packet socket gives it. */
export interface CapturedPacket {
  /** Nanoseconds since 1970. */
  readonly timeNs: bigint
  /** Interface index in the namespace that was listened to. */
  readonly interfaceIndex: number
  /** ARPHRD_* of linux/if_arp.h: 1 Ethernet, 772 loopback. */
  readonly hardwareType: number
  /** PACKET_* of linux/if_packet.h: 0 to us, 1 broadcast, 2 multicast, 3 to another host, 4 from us. */
  readonly direction: number
  /** EtherType. */
  readonly protocol: number
  /** The sender's link-layer address, at most 8 bytes. */
  readonly sender: Uint8Array
  /** From behind the link-layer header on, perhaps cut short. */
  readonly bytes: Uint8Array
  /** How long `bytes` was on the wire. */
  readonly length: number
}

/** What stands at the beginning of the file. @param snapLength the longest packet, in bytes */
export function pcapFileHeader(snapLength: number): Buffer {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(MAGIC_NANOSECONDS, 0)
  header.writeUInt16LE(2, 4)
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(snapLength + COOKED_HEADER_BYTES, 16)
  header.writeUInt32LE(LINKTYPE_LINUX_SLL2, 20)
  return header
}

/** One packet with its record header. */
export function pcapRecord(packet: CapturedPacket): Buffer {
  const record = Buffer.alloc(16 + COOKED_HEADER_BYTES + packet.bytes.length)
  record.writeUInt32LE(Number(packet.timeNs / 1_000_000_000n), 0)
  record.writeUInt32LE(Number(packet.timeNs % 1_000_000_000n), 4)
  record.writeUInt32LE(COOKED_HEADER_BYTES + packet.bytes.length, 8)
  record.writeUInt32LE(COOKED_HEADER_BYTES + packet.length, 12)
  record.writeUInt16BE(packet.protocol, 16)
  record.writeUInt32BE(packet.interfaceIndex, 20)
  record.writeUInt16BE(packet.hardwareType, 24)
  record.writeUInt8(packet.direction, 26)
  record.writeUInt8(packet.sender.length, 27)
  record.set(packet.sender.subarray(0, 8), 28)
  record.set(packet.bytes, 36)
  return record
}
