// The frames on the attach socket: Docker's stream framing, both directions. Pure.

import { ByteReader, FormatError } from '../../lib/bytes.ts'
import { IP_PROTOCOL } from './bootstrap.ts'
import type { ReservedPort } from './config.ts'
import { FRAME, FRAME_LIMIT } from './numbers.ts'

/** One frame for the attach socket; the payload is at most FRAME_LIMIT.MAX_BYTES. */
export function encodeFrame(type: number, payload: Uint8Array = new Uint8Array(0)): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt8(type, 0)
  header.writeUInt32BE(payload.length, 4)
  return Buffer.concat([header, payload])
}

/** A RESIZE frame. */
export function encodeResize(rows: number, columns: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt16BE(rows, 0)
  payload.writeUInt16BE(columns, 2)
  return encodeFrame(FRAME.RESIZE, payload)
}

/**
 * A HOLD_PORT or RELEASE_PORT frame; native/live_ports.c has the form. The monitor answers with PORT_RESULT, and only to a
 * client that has subscribed to no output.
 */
export function encodePortRequest(verb: 'hold' | 'release', { protocol, address, port, target }: ReservedPort): Buffer {
  const header = Buffer.from([IP_PROTOCOL[protocol], address.length, target?.address.length ?? 0, 0, 0, 0, 0, 0])
  header.writeUInt16BE(port, 4)
  header.writeUInt16BE(target?.port ?? 0, 6)
  const payload = Buffer.concat([header, address, target?.address ?? Buffer.alloc(0)])
  return encodeFrame(verb === 'hold' ? FRAME.HOLD_PORT : FRAME.RELEASE_PORT, payload)
}

/** The errno in a PORT_RESULT frame's payload; 0: done. @throws FormatError */
export function parsePortResult(payload: Buffer): number {
  return new ByteReader(payload).u32be(0) | 0
}

/** The exit code in an EXIT frame's payload. @throws FormatError */
export function parseExit(payload: Buffer): number {
  return new ByteReader(payload).u32be(0) | 0
}

/** A whole frame, or, for STDIN, STDOUT and STDERR, the part of one that has arrived. */
export interface Frame {
  readonly type: number
  /** A view into the chunk given to `push`, or of bytes kept from an earlier one. */
  readonly payload: Buffer
}

/**
 * Cuts the attach socket's stream into frames. Stream data is passed on as it arrives and is never gathered, so a
 * frame may come out in several parts; control frames come out whole.
 */
export class FrameDecoder {
  #head: Buffer = Buffer.alloc(0)
  #type = -1
  #left = 0

  /**
   * @throws FormatError when the stream is not the monitor's.
   */
  push(chunk: Uint8Array): Frame[] {
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const frames: Frame[] = []
    for (;;) {
      if (this.#type >= 0) {
        if (rest.length === 0) return frames
        const part = rest.subarray(0, this.#left)
        rest = rest.subarray(part.length)
        this.#left -= part.length
        frames.push({ type: this.#type, payload: part })
        if (this.#left === 0) this.#type = -1
        continue
      }
      if (this.#head.length > 0) rest = Buffer.concat([this.#head, rest])
      this.#head = Buffer.alloc(0)
      const wanted = frameBytesNeeded(rest)
      if (rest.length < wanted) {
        this.#head = Buffer.from(rest)
        return frames
      }
      const type = rest.readUInt8(0)
      const length = rest.readUInt32BE(4)
      if (isStream(type) && length > 0) {
        this.#type = type
        this.#left = length
        rest = rest.subarray(8)
      } else {
        frames.push({ type, payload: rest.subarray(8, 8 + length) })
        rest = rest.subarray(8 + length)
      }
    }
  }
}

function isStream(type: number): boolean {
  return type <= FRAME.STDERR
}

/** How much must have arrived before the frame at the start of `bytes` can be taken. */
function frameBytesNeeded(bytes: Buffer): number {
  if (bytes.length < 8) return 8
  const type = bytes.readUInt8(0)
  const length = bytes.readUInt32BE(4)
  if (type > FRAME.PORT_RESULT || length > FRAME_LIMIT.MAX_BYTES || (!isStream(type) && length > 64))
    throw new FormatError(`a frame of type ${type} and ${length} bytes on the attach socket`)
  return isStream(type) ? 8 : 8 + length
}
