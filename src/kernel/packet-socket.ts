// packet(7): every packet that passes an interface of one network namespace, as the kernel sees it.

import { closeSync } from 'node:fs'
import { hasCode } from '../ffi/errno.ts'
import { call, getsockopt, setsockopt, socket } from '../ffi/libc.ts'
import { pollReadable } from '../ffi/unix-stream.ts'
import { littleEndian } from '../lib/bytes.ts'
import type { CapturedPacket } from '../lib/pcap.ts'

const AF_PACKET = 17
const SOCK_DGRAM = 2
const ETH_P_ALL_BE = 0x0300
const SOL_SOCKET = 1
const SO_RCVBUFFORCE = 33
const SOL_PACKET = 263
const PACKET_STATISTICS = 6
const SIOCGSTAMPNS = 0x8907
const MSG_DONTWAIT = 0x40
const MSG_TRUNC = 0x20
const PACKET_OUTGOING = 4
const ARPHRD_LOOPBACK = 772
const bufferBytes = 16 << 20

/** An open packet socket. */
export class PacketSocket {
  readonly #fd: number
  readonly #buffer: Buffer
  readonly #address = Buffer.alloc(20)
  #closed = false

  /**
   * Listens on all interfaces, present and future, of the calling thread's network namespace; the object keeps that
   * namespace alive until it is closed.
   * @param snapLength how much of each packet is kept, in bytes
   * @throws SyscallError EPERM without CAP_NET_RAW
   */
  constructor(snapLength: number) {
    this.#fd = socket(AF_PACKET, SOCK_DGRAM, ETH_P_ALL_BE)
    this.#buffer = Buffer.alloc(snapLength)
    setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes)
  }

  /** Waits at most `timeoutMs` for packets. @returns whether there are any */
  waitForPackets(timeoutMs: number): Promise<boolean> {
    return pollReadable(this.#fd, timeoutMs)
  }

  /** The next packet that is there already, or undefined. @throws SyscallError */
  read(): CapturedPacket | undefined {
    for (;;) {
      const length = this.#receive()
      if (length === undefined) return undefined
      const view = new DataView(this.#address.buffer, this.#address.byteOffset, 20)
      const direction = view.getUint8(10)
      const hardwareType = view.getUint16(8, littleEndian)
      // The loopback shows each packet twice: as it leaves and as it arrives.
      if (direction === PACKET_OUTGOING && hardwareType === ARPHRD_LOOPBACK) continue
      return {
        timeNs: this.#timeOfLast(),
        interfaceIndex: view.getInt32(4, littleEndian),
        hardwareType,
        direction,
        protocol: view.getUint16(2, false),
        sender: Buffer.from(this.#address.subarray(12, 12 + Math.min(view.getUint8(11), 8))),
        bytes: Buffer.from(this.#buffer.subarray(0, Math.min(length, this.#buffer.length))),
        length,
      }
    }
  }

  /** How many packets found the buffer full since the last call. */
  countDropped(): number {
    // struct tpacket_stats { unsigned int tp_packets; unsigned int tp_drops; }
    return new DataView(getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, 8).buffer).getUint32(4, littleEndian)
  }

  /** Idempotent. */
  close(): void {
    if (!this.#closed) closeSync(this.#fd)
    this.#closed = true
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** @returns the packet's length on the wire, or undefined when there is none */
  #receive(): number | undefined {
    const addressLength = new Uint32Array([20])
    try {
      return call('recvfrom', 'long recvfrom(int, void *, size_t, int, void *, void *)', [
        this.#fd,
        this.#buffer,
        this.#buffer.length,
        MSG_DONTWAIT | MSG_TRUNC,
        this.#address,
        addressLength,
      ])
    } catch (error) {
      // ENETDOWN: an interface went away; the others go on.
      if (hasCode(error, 'EAGAIN', 'ENETDOWN')) return undefined
      throw error
    }
  }

  #timeOfLast(): bigint {
    const time = new BigInt64Array(2)
    try {
      call('ioctl', 'int ioctl(int, unsigned long, void *)', [this.#fd, SIOCGSTAMPNS, time])
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      return BigInt(Date.now()) * 1_000_000n
    }
    return (time[0] ?? 0n) * 1_000_000_000n + (time[1] ?? 0n)
  }
}
