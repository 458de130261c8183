// The traffic of one container, all its interfaces, as a pcap file that is written while it happens.

import { closeSync } from 'node:fs'
import { runInNetns } from '../../kernel/netns.ts'
import { PacketSocket } from '../../kernel/packet-socket.ts'
import { pcapFileHeader, pcapRecord } from '../../lib/pcap.ts'
import type { Container, RunRecord } from '../../model/container.ts'
import type { EngineContext } from '../context.ts'
import { openContainerNetns } from './container-netns.ts'
import { isAlive } from './container-store.ts'
import { runningOrThrow } from './running-or-throw.ts'

/** What to capture, and until when. */
export interface CaptureOptions {
  /** How much of each packet is kept, in bytes; default 65535, all of it. */
  readonly snapLength?: number
  /** Ends after so many packets; default: never. */
  readonly count?: number
  /** Ends it. */
  readonly signal?: AbortSignal
  /** Called at the end with how many packets were written, and how many were lost because nobody read fast enough. */
  readonly onEnd?: (summary: { readonly packets: number; readonly dropped: number }) => void
}

const wholePacket = 65535
const pollMs = 200
const chunkBytes = 64 * 1024

/**
 * Pieces of a pcap file (nanoseconds, Linux cooked v2); the header comes at once, and from then on nothing is missed.
 * @throws TsrunError conflict when it is not running; SyscallError
 */
export async function* captureContainer(
  context: EngineContext,
  container: Container,
  options: CaptureOptions,
): AsyncGenerator<Buffer> {
  const { snapLength = wholePacket, count = Number.POSITIVE_INFINITY, signal } = options
  const run = runningOrThrow(context, container, 'capture from')
  using socket = openSocket(run, container.name, snapLength)
  let packets = 0
  try {
    yield pcapFileHeader(snapLength)
    while (packets < count) {
      // Asked before the buffer is read: what had come by then is written.
      const isOver = signal?.aborted === true || !isAlive(run)
      const records = readRecords(socket, count - packets)
      packets += records.length
      if (records.length > 0) yield Buffer.concat(records)
      else if (isOver) break
      else await socket.waitForPackets(pollMs)
    }
  } finally {
    options.onEnd?.({ packets, dropped: socket.countDropped() })
  }
}

function openSocket(run: RunRecord, name: string, snapLength: number): PacketSocket {
  const fd = openContainerNetns(run, name)
  try {
    return runInNetns(fd, () => new PacketSocket(snapLength))
  } finally {
    closeSync(fd)
  }
}

/** What is there now, at most `count` packets and about one chunk. */
function readRecords(socket: PacketSocket, count: number): Buffer[] {
  const records: Buffer[] = []
  for (let bytes = 0; bytes < chunkBytes && records.length < count; ) {
    const packet = socket.read()
    if (packet === undefined) break
    const record = pcapRecord(packet)
    records.push(record)
    bytes += record.length
  }
  return records
}
