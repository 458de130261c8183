// network capture: what it writes, tcpdump reads, and nothing is missing.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually, succeed } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { inWorld } from '../helpers/world.ts'

test(
  'tcpdump reads the packets of all interfaces, loopback included, each once',
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'one'])
    await world.ok(['network', 'create', '--subnet', '192.168.1.0/24', 'two'])
    await world.ok(['run', '-d', '--name', 'web', '--network', 'one', '--network', 'two', 'busybox', 'sleep', '1000'])
    const file = join(world.dir, 'web.pcap')
    const capture = world.start(['network', 'capture', '-w', file, 'web'])
    await eventually('it listens', () => existsSync(file) && statSync(file).size >= 24)

    for (const address of ['192.168.0.1', '192.168.1.1', '127.0.0.1'])
      await world.ok(['exec', 'web', 'ping', '-c', '3', '-i', '0.1', '-s', '100', address])
    await world.host.exec('ping', ['-c', '2', '-i', '0.2', '192.168.0.2'])
    capture.kill('SIGINT')

    const { stderr, code } = await capture.result
    expect({ code, stderr: stderr.trim() }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^\d+ packets captured, 0 dropped$/),
    })
    const text = await succeed(['tcpdump', '-nr', file, 'icmp[icmptype] == icmp-echo'])
    const count = (pattern: RegExp) => text.split('\n').filter(line => pattern.test(line)).length
    expect(count(/> 192\.168\.0\.1: .*length 108/)).toBe(3)
    expect(count(/> 192\.168\.1\.1: .*length 108/)).toBe(3)
    expect(count(/> 127\.0\.0\.1: .*length 108/)).toBe(3)
    expect(count(/ In .*192\.168\.0\.1 > 192\.168\.0\.2: /)).toBe(2)
  }),
)

test(
  'ends after so many packets, cuts them short, and writes to a pipe',
  inWorld(async world => {
    await world.serve('web')
    const address = await world.addressOf('web')
    const capture = world.start(['network', 'capture', '-c', '5', '-s', '60', 'web'])
    const pings = world.host.exec('ping', ['-c', '50', '-i', '0.1', '-s', '1000', address])

    const { code, stderr } = await capture.result

    await pings
    expect(code).toBe(0)
    expect(stderr).toMatch(/^5 packets captured/)
  }),
)

test(
  'ends with the container',
  inWorld(async world => {
    await world.ok(['run', '-d', '--name', 'web', 'busybox', 'sleep', '1000'])
    const file = join(world.dir, 'web.pcap')
    const capture = world.start(['network', 'capture', '-w', file, 'web'])
    await eventually('it listens', () => existsSync(file) && statSync(file).size >= 24)

    await world.ok(['rm', '-f', 'web'])

    expect((await capture.result).code).toBe(0)
  }),
)

test(
  'refuses what makes no sense, and leaves files alone then',
  inWorld(async world => {
    await world.ok(['create', '--name', 'idle', 'busybox', 'true'])
    const file = join(world.dir, 'kept')
    await world.host.sh(`echo kept > ${file}`)

    expectError(await world.tsrun(['network', 'capture', '-w', file, 'nobody']), 1, /no such container: "nobody"/)
    expectError(
      await world.tsrun(['network', 'capture', '-w', '-', 'idle']),
      1,
      /cannot capture from "idle": it is not running/,
    )
    expectError(await world.tsrun(['network', 'capture', '-c', '-1', 'idle']), 1, /--count wants a number/)
    expect(readFileSync(file, 'utf8')).toBe('kept\n')
  }),
)
