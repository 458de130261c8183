// Published ports: added and withdrawn while the container runs, kept over restarts, and who reaches them.

import { describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { startUdpServer, udpAsk } from '../helpers/udp.ts'
import { addresses, inWorld } from '../helpers/world.ts'

const v4Only = ['network', 'create', '--subnet', '10.81.0.0/24', 'v4']
const dual = ['network', 'create', '--subnet', '10.82.0.0/24', '--subnet', 'fd00:82::/64', 'dual']

test(
  'a restart finds the ports of its last life free, however fast it is',
  inWorld(async world => {
    await world.ok('run -d --name web -p 80:80 -p 53:53/udp busybox sleep 1000'.split(' '))
    for (let round = 0; round < 10; round++) await world.ok(['restart', '-t', '0', 'web'])
  }),
)

describe('update', () => {
  test(
    '--publish-add and --publish-rm change the ports of a running container, and its restarts keep them',
    inWorld(async world => {
      await world.ok(v4Only)
      await world.serve('web', ['--network', 'v4', '-p', '8080:80'])
      await world.serve('rival', ['--network', 'v4', '-p', '8099:80'])
      const page = async (port: number) => (await world.outside.curl(`http://${addresses.host}:${port}/`)).body

      await world.ok(['update', '--publish-add', '8081:80', '--publish-add', '80', 'web'])
      expect(await page(8081)).toMatch(/^web sees/)
      expect(await page(8080)).toMatch(/^web sees/)
      const random = Number(/:(\d+)$/m.exec((await world.ok(['port', 'web', '80'])).split('\n').at(-1) ?? '')?.[1])
      expect(await page(random)).toMatch(/^web sees/)
      const taken = await world.tsrun(['update', '--publish-add', '8099:80', 'web'])
      expect(taken.stderr).toMatch(/port is published by container "rival"/)
      // Held by the monitor: a program of the host cannot have it.
      const bind = await world.host.sh(
        `python3 -c "import socket; socket.socket().bind(('0.0.0.0', 8081))" 2>&1 || true`,
      )
      expect(JSON.stringify(bind)).toMatch(/in use/)

      await world.ok(['update', '--publish-rm', '8080:80', 'web'])
      expect(await page(8080)).toBe('')
      expect(await page(8099)).toMatch(/^rival sees/)
      await world.serve('next', ['--network', 'v4', '-p', '8080:80'])
      expect(await page(8080)).toMatch(/^next sees/)

      await world.ok(['restart', '-t', '0', 'web'])
      await eventually('web serves again', async () => (await page(8081)).startsWith('web sees'))
      expect(await page(random)).toMatch(/^web sees/)
      expectError(await world.tsrun(['port', 'web', '81']), 1, /publishes no port 81/)
      expect((await world.tsrun(['update', '--publish-rm', '5:5', 'web'])).stderr).toMatch(/it is not published/)
    }),
  )

  test(
    '--publish-add of a stopped container counts from its next start',
    inWorld(async world => {
      await world.ok(v4Only)
      await world.serve('web', ['--network', 'v4'])
      await world.ok(['stop', '-t', '0', 'web'])
      await world.ok(['update', '--publish-add', '8080:80', 'web'])
      await world.ok(['start', 'web'])
      await eventually('it serves', async () =>
        (await world.outside.curl(`http://${addresses.host}:8080/`)).body.startsWith('web sees'),
      )
    }),
  )
})

describe('localhost', () => {
  test(
    'is the container under both families, live ports included, and only from the host',
    inWorld(async world => {
      await world.ok(v4Only)
      await world.ok(dual)
      await world.serve('four', ['--network', 'v4', '-p', '8080:80'])
      await world.serve('both', ['--network', 'dual', '-p', '8081:80'])
      await world.ok(['update', '--publish-add', '8082:80', 'four'])

      for (const [port, name] of [
        [8080, 'four'],
        [8081, 'both'],
        [8082, 'four'],
      ] as const) {
        for (const host of ['127.0.0.1', '[::1]']) {
          const { body } = await world.host.curl(`http://${host}:${port}/`)
          expect(`${host}:${port} ${body}`).toContain(`${name} sees`)
        }
      }
      expect((await world.outside.curl(`http://[${addresses.host6}]:8081/`)).body).toMatch(/^both sees/)

      await world.ok(['update', '--publish-rm', '80', 'four'])
      expect((await world.host.curl('http://[::1]:8080/')).status).toBe(0)
      expect((await world.host.curl('http://[::1]:8082/')).status).toBe(0)
    }),
  )

  test(
    'on ::1 is left to whoever has the port there',
    inWorld(async world => {
      await world.ok(v4Only)
      await world.serve('first', ['--network', 'v4', '-p', '[::1]:8080:80'])
      await world.serve('second', ['--network', 'v4', '-p', '8080:80'])

      expect((await world.host.curl('http://[::1]:8080/')).body).toMatch(/^first sees/)
      expect((await world.host.curl('http://127.0.0.1:8080/')).body).toMatch(/^second sees/)
    }),
  )
})

describe('connections that are open', () => {
  test(
    'outlive what happens to other containers, networks and ports, and to the rules',
    inWorld(async world => {
      await world.ok(v4Only)
      await world.ok(dual)
      await world.serve('web', ['--network', 'v4', '-p', '8080:80'])
      const echo = ['busybox', 'nc', '-ll', '-p', '9000', '-e', 'cat']
      await world.ok(['run', '-d', '--name', 'chat', '--network', 'v4', '-p', '9000:9000', ...echo])
      const talk = world.outside.start('busybox', ['nc', addresses.host, '9000'])
      const say = async (text: string) => {
        talk.write(`${text}\n`)
        await talk.waitFor(new RegExp(`^${text}$`, 'm'), 15_000)
      }
      await eventually('the connection is open', () => say('hello').then(() => true))

      const events = [
        'run --rm --network v4 -p 8082:80 busybox true',
        'network connect dual web',
        'network disconnect v4 web',
        'network connect dual chat',
        'update --publish-add 9001:9000 chat',
        'update --publish-rm 9001:9000 chat',
        'network reload',
        'network disconnect dual chat',
        'rm -f web',
        'network rm dual',
      ]
      for (const event of events) {
        await world.ok(event.split(' '))
        await say(`after-${events.indexOf(event)}`)
      }
      talk.endInput()
    }),
  )
})

describe('udp', () => {
  test(
    'flows find the container after a restart, and while others come and go',
    inWorld(async world => {
      await world.ok(v4Only)
      await startUdpServer(world, 'echo', ['--network', 'v4', '-p', '5353:53/udp'], 53)
      expect(await udpAsk(world.outside, addresses.host, 5353, 'one')).toBe('one')
      await world.ok(['run', '--rm', '--network', 'v4', '-p', '5354:53/udp', 'busybox', 'true'])
      expect(await udpAsk(world.outside, addresses.host, 5353, 'two')).toBe('two')
      await world.ok(['network', 'disconnect', 'v4', 'echo'])
      await world.ok(dual)
      await world.ok(['network', 'connect', 'dual', 'echo'])
      expect(await udpAsk(world.outside, addresses.host, 5353, 'three')).toBe('three')
    }),
  )
})
