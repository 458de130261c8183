// Asks a container's monitor to hold host ports, or to let go of them, while the container runs.

import { closeSync, openSync } from 'node:fs'
import { connect } from 'node:net'
import { basename, dirname } from 'node:path'
import { describePortFailure, type NameOf } from '../../drivers/runtime/init-failure.ts'
import { toReservedPort } from '../../drivers/runtime/oci-to-init.ts'
import { errnoName, hasCode } from '../../ffi/errno.ts'
import { encodeFrame, encodePortRequest, FRAME, FrameDecoder, parsePortResult } from '../../kernel/init-protocol.ts'
import { TsrunError } from '../../model/errors.ts'
import type { HeldPort } from '../network/port-routes.ts'

/** A monitor that does not answer in this time is stuck, or is one of an older build. */
const patienceMs = 10_000

/** For messages: the container's name, and how to find another's by the start of its id. */
export interface PortSubject {
  readonly name: string
  readonly nameOf: NameOf
}

/**
 * Holds some ports and releases others, in the order given; what is so already is no error. Stops at the first that cannot be
 * had. @param socketPath the monitor's attach socket @throws TsrunError conflict (port taken), system
 */
export async function changeHeldPorts(
  socketPath: string,
  subject: PortSubject,
  { hold, release }: { readonly hold: readonly HeldPort[]; readonly release: readonly HeldPort[] },
): Promise<void> {
  const requests = [
    ...hold.map(port => ({ verb: 'hold' as const, port })),
    ...release.map(port => ({ verb: 'release' as const, port })),
  ]
  if (requests.length === 0) return
  const results = await ask(
    socketPath,
    requests.map(({ verb, port }) => encodePortRequest(verb, toReservedPort(port))),
  ).catch((error: unknown) => {
    // It has ended, and let go of everything.
    if (hasCode(error, 'ENOENT', 'ECONNREFUSED')) return []
    throw error
  })
  for (const [index, { verb, port }] of requests.entries()) {
    const errno = results[index] ?? 0
    if (errno === 0 || port.optional === true) continue
    const code = errnoName(errno)
    const place = `${port.protocol} ${port.hostIp.includes(':') ? `[${port.hostIp}]` : port.hostIp}:${port.hostPort}`
    if (verb === 'hold') throw describePortFailure(`"${subject.name}"`, place, code, subject.nameOf)
    throw new TsrunError(
      'system',
      'port-kept',
      `cannot withdraw ${place} of "${subject.name}": its monitor refused (${code})`,
    )
  }
}

/** @returns an errno for each request; fewer when one failed or the monitor went away */
async function ask(socketPath: string, requests: readonly Buffer[]): Promise<number[]> {
  // sockaddr_un holds 108 bytes: a longer path is reached through a descriptor of its folder.
  const folder = openSync(dirname(socketPath), 'r')
  const socket = connect(`/proc/self/fd/${folder}/${basename(socketPath)}`)
  try {
    return await new Promise((resolve, reject) => {
      const decoder = new FrameDecoder()
      const results: number[] = []
      socket.setTimeout(patienceMs, () => reject(new Error(`the monitor behind ${socketPath} does not answer`)))
      socket.once('connect', () => {
        socket.write(encodeFrame(FRAME.SUBSCRIBE, Buffer.from([0])))
        socket.write(Buffer.concat(requests))
      })
      socket.on('data', (bytes: Buffer) => {
        for (const frame of decoder.push(bytes))
          if (frame.type === FRAME.PORT_RESULT) results.push(parsePortResult(frame.payload))
        if (results.length === requests.length) resolve(results)
      })
      socket.on('error', reject)
      socket.on('close', () => resolve(results))
    })
  } finally {
    socket.destroy()
    closeSync(folder)
  }
}
