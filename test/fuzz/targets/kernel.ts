// Answers of the kernel, and of tsrun-init. Whatever the bytes are, they are read or they are a FormatError.

import { FrameDecoder, parseExit, parsePortResult } from '../../../src/kernel/init/frames.ts'
import { InitMessageDecoder } from '../../../src/kernel/init/messages.ts'
import { FRAME } from '../../../src/kernel/init/numbers.ts'
import { parseMountInfo } from '../../../src/kernel/mount-info.ts'
import { parseInterfaceAddress } from '../../../src/kernel/netlink/address.ts'
import { parseLink } from '../../../src/kernel/netlink/link.ts'
import {
  type NetlinkMessage,
  NLMSG_DONE,
  NLMSG_ERROR,
  parseAcknowledgement,
  parseDone,
  parseMessages,
} from '../../../src/kernel/netlink/message.ts'
import { parseRoute } from '../../../src/kernel/netlink/route.ts'
import { parseRule } from '../../../src/kernel/netlink/rule.ts'
import { commentOf, parseElements } from '../../../src/kernel/nftables/elements.ts'
import type { Nfnetlink } from '../../../src/kernel/nftables/nfnetlink.ts'
import { countInTables, listBaseChains, listRules } from '../../../src/kernel/nftables/ruleset.ts'
import { parseSeccompProfile } from '../../../src/kernel/seccomp/parse-profile.ts'
import { ByteReader } from '../../../src/lib/bytes.ts'
import type { FuzzTarget } from '../fuzzer.ts'
import { assert, isFormatError, isForUsers } from '../target.ts'

const netlink: FuzzTarget = {
  name: 'netlink',
  kind: 'bytes',
  run: input => parseMessages(input).map(readMessage).join(),
  refuses: isFormatError,
}

/** Whatever type it says: each reader takes any payload. */
function readMessage(message: NetlinkMessage): string {
  if (message.type === NLMSG_ERROR) return `error ${parseAcknowledgement(message).text !== undefined}`
  if (message.type === NLMSG_DONE) return `done ${parseDone(message).errno === 0}`
  const readers = [parseLink, parseRoute, parseRule, parseInterfaceAddress]
  return readers.map(read => attempt(() => read(message))).join()
}

/** The first byte is the family, the rest what stands behind the header of an nftables message. */
const nftables: FuzzTarget = {
  name: 'nftables',
  kind: 'bytes',
  run: input => {
    const replies = [{ family: input[0] ?? 0, reader: new ByteReader(input.subarray(1)) }]
    const readers = replies.map(({ reader }) => reader)
    // The only two that a listing asks for; a socket has private parts, which nothing else can have.
    const socket = { dumpWithFamily: () => replies, dump: () => readers } as unknown as Nfnetlink
    return [
      attempt(() => parseElements(readers)),
      attempt(() => commentOf(input)),
      attempt(() => listBaseChains(socket)),
      attempt(() => countInTables(socket, 1)),
      attempt(() => listRules(socket, { family: 1, table: 'tsrun' })),
    ].join()
  },
  refuses: () => false,
}

function attempt(read: () => unknown): string {
  try {
    const value = read()
    return Array.isArray(value) ? `list of ${Math.min(value.length, 2)}` : typeof value
  } catch (error) {
    if (!isFormatError(error)) throw error
    return 'refused'
  }
}

/** The attach socket's stream: the same frames wherever it is cut. */
const frames: FuzzTarget = {
  name: 'frames',
  kind: 'bytes',
  run: input => {
    const at = input.length - ((input[0] ?? 0) % (input.length + 1))
    const whole = readFrames([input])
    const parts = readFrames([input.subarray(0, at), input.subarray(at)])
    assert(whole === parts, `${whole} in one piece, ${parts} in two`)
    return whole.replace(/[0-9]+ /g, '')
  },
  refuses: () => false,
}

function readFrames(chunks: readonly Buffer[]): string {
  const decoder = new FrameDecoder()
  const bytes = new Map<number, number>()
  let refused = ''
  try {
    for (const chunk of chunks)
      for (const { type, payload } of decoder.push(chunk)) {
        if (type === FRAME.EXIT) parseExit(payload)
        if (type === FRAME.PORT_RESULT) parsePortResult(payload)
        bytes.set(type, (bytes.get(type) ?? 0) + payload.length)
      }
  } catch (error) {
    if (!isFormatError(error)) throw error
    refused = 'refused'
    // What came before is passed on only when it came in a chunk of its own.
    bytes.clear()
  }
  return `${[...bytes].map(([type, length]) => `${length} of ${type}`).join()} ${refused}`
}

/** tsrun-init's words on descriptor 3. */
const initMessages: FuzzTarget = {
  name: 'init-messages',
  kind: 'bytes',
  run: input =>
    new InitMessageDecoder()
      .push(input)
      .map(({ kind }) => kind)
      .join(),
  refuses: isFormatError,
}

const mountInfo: FuzzTarget = {
  name: 'mountinfo',
  kind: 'text',
  run: input => parseMountInfo(input.toString('utf8')).length > 0,
  refuses: isFormatError,
}

const seccomp: FuzzTarget = {
  name: 'seccomp',
  kind: 'json',
  run: input => parseSeccompProfile(input.toString('utf8'), 'profile.json').syscalls?.length,
  refuses: isForUsers,
}

export const kernelTargets: readonly FuzzTarget[] = [netlink, nftables, frames, initMessages, mountInfo, seccomp]
