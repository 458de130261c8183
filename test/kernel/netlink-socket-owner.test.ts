import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { expect, test } from 'vitest'
import { runInNetns } from '../../src/kernel/netns.ts'
import { findSocketOwner, parseSocketTable } from '../../src/kernel/socket-owner.ts'
import { formatAddress } from '../../src/lib/ip.ts'
import { describeInNetns, newBox } from './netlink-world.ts'

const me = { pid: process.pid, command: readFileSync('/proc/self/comm', 'utf8').trim() }

async function listen(port: number, host: string): Promise<Server> {
  const server = createServer().listen(port, host)
  await once(server, 'listening')
  return server
}

describeInNetns('findSocketOwner()', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', '0.0.0.0', true],
    ['0.0.0.0', '127.0.0.1', true],
    ['::', '0.0.0.0', true],
    ['::1', '::', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['::1', '127.0.0.1', false],
  ])('a listener on %s is found for %s: %s', async (bound, wanted, found) => {
    const server = await listen(4711, bound)

    expect(findSocketOwner('tcp', wanted, 4711)).toEqual(found ? me : undefined)
    expect(findSocketOwner('tcp', wanted, 4712)).toBeUndefined()
    expect(findSocketOwner('udp', wanted, 4711)).toBeUndefined()
    server.close()
  })

  test('a bound UDP socket is found', async () => {
    const socket = createSocket('udp4').bind(4713, '127.0.0.1')
    await once(socket, 'listening')

    expect(findSocketOwner('udp', '0.0.0.0', 4713)).toEqual(me)
    socket.close()
  })

  test('listeners of another namespace are none of ours', async () => {
    const server = await listen(4714, '0.0.0.0')

    expect(runInNetns(newBox().fd, () => findSocketOwner('tcp', '0.0.0.0', 4714))).toBeUndefined()
    server.close()
  })
})

test('parseSocketTable() reads addresses of both families and skips what it does not know', () => {
  const text = `  sl  local_address rem_address   st
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100
   1: 0100007F:1F91 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0 100
   2: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 77 1
   nonsense
   3: XYZ:12 0:0 0A`

  expect(parseSocketTable(text, '0A').map(found => [formatAddress(found.address), found.port, found.inode])).toEqual([
    ['127.0.0.1', 8080, '4242'],
    ['::1', 80, '77'],
  ])
})
