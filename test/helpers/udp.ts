// UDP for the tests: a server in a container and a client anywhere.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { eventually, succeed } from './command.ts'
import { type Namespace, plainEnvironment } from './namespace.ts'
import type { World } from './world.ts'

/** Runs a container that sends each datagram back. */
export async function startUdpServer(
  world: World,
  name: string,
  flags: readonly string[],
  port: number,
): Promise<void> {
  const source = fileURLToPath(new URL('udp-echo.c', import.meta.url))
  const program = join(world.dir, 'udp-echo')
  await succeed(['musl-gcc', '-static', '-O1', '-o', program, source], { env: plainEnvironment })
  await world.ok([
    'run',
    '-d',
    '--name',
    name,
    ...flags,
    '-v',
    `${program}:/udp-echo:ro`,
    'busybox',
    '/udp-echo',
    String(port),
  ])
  await eventually(`${name} listens`, async () => (await world.ok(['logs', name])).includes('listening'))
}

/** Sends a datagram and returns the answer; an empty string after a second without one. */
export async function udpAsk(
  from: Namespace,
  address: string,
  port: number,
  message: string,
  options: { sourcePort?: number } = {},
): Promise<string> {
  const script = `
    const [address, port, message, sourcePort] = process.argv.slice(1)
    const socket = require('node:dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4')
    socket.on('message', data => { process.stdout.write(data); socket.close(); process.exit() })
    socket.bind(Number(sourcePort), () => socket.connect(Number(port), address, () => socket.send(message)))
    socket.on('error', () => {})
    setTimeout(() => process.exit(), 1000)`
  const args = ['-e', script, address, String(port), message, String(options.sourcePort ?? 0)]
  return from.exec(process.execPath, args)
}
