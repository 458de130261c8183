// The forms of -p, and what happens when a port is taken.

import { describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { startUdpServer, udpAsk } from '../helpers/udp.ts'
import { addresses, inWorld, type World } from '../helpers/world.ts'

/** The host port behind `port/protocol` of a container, from `inspect`. */
async function bindingsOf(
  world: World,
  container: string,
  port: string,
): Promise<{ HostIp: string; HostPort: string }[]> {
  const [{ NetworkSettings }] = await world.json(['inspect', container])
  return NetworkSettings.Ports[port]
}

describe('-p', () => {
  test(
    '8080:80 publishes on all addresses',
    inWorld(async world => {
      await world.serve('web', ['-p', '8080:80'])

      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).body).toMatch(/^web sees/)
      expect(await bindingsOf(world, 'web', '80/tcp')).toContainEqual({ HostIp: '0.0.0.0', HostPort: '8080' })
      expect(await world.ok(['ps', '--format', '{{.Ports}}'])).toContain('0.0.0.0:8080->80/tcp')
    }),
  )

  test(
    '80 chooses a free host port',
    inWorld(async world => {
      await world.serve('a', ['-p', '80'])
      await world.serve('b', ['-p', '80'])

      const ports = await Promise.all(
        ['a', 'b'].map(async name => Number((await bindingsOf(world, name, '80/tcp'))[0]?.HostPort)),
      )
      expect(new Set(ports).size).toBe(2)
      for (const [index, name] of ['a', 'b'].entries()) {
        expect(ports[index]).toBeGreaterThan(1023)
        expect((await world.outside.curl(`http://${addresses.host}:${ports[index]}/`)).body).toMatch(`${name} sees`)
      }
    }),
  )

  test(
    '80-479 chooses 400 of them, all different, and none that another -p has',
    inWorld(async world => {
      // So few that the kernel's choice would meet it.
      await world.host.sh('echo 40000 40999 > /proc/sys/net/ipv4/ip_local_port_range')
      await world.serve('web', ['-p', '80-479', '-p', '40000-40099:600-699', '-p', '80-89/udp'])

      const lines = (await world.ok(['port', 'web'])).split('\n').filter(line => line.includes('0.0.0.0'))
      const chosen = lines.map(line => `${line.split(':').at(-1)} ${line.includes('/udp')}`)
      expect(chosen).toHaveLength(510)
      expect(new Set(chosen).size).toBe(510)
      const port = /^80\/tcp -> 0.0.0.0:(\d+)/m.exec(lines.join('\n'))?.[1]
      expect((await world.outside.curl(`http://${addresses.host}:${port}/`)).body).toMatch(/^web sees/)
    }),
  )

  test(
    '80 of many containers at once finds a port for each, where there are not many',
    inWorld(async world => {
      await world.host.sh('echo 40000 40023 > /proc/sys/net/ipv4/ip_local_port_range')
      const names = Array.from({ length: 12 }, (_, index) => `c${index}`)

      await Promise.all(
        names.map(name => world.ok(['run', '-d', '--name', name, '-p', '80', 'busybox', 'sleep', '1000'])),
      )

      const ports = await Promise.all(names.map(async name => (await bindingsOf(world, name, '80/tcp'))[0]?.HostPort))
      expect(new Set(ports).size).toBe(names.length)
    }),
  )

  test(
    '80 keeps the port that was chosen over restarts, and has another one only where somebody took it',
    inWorld(async world => {
      await world.serve('web', ['-p', '80', '-p', '8080:81'])
      const portOf = async () => Number((await bindingsOf(world, 'web', '80/tcp'))[0]?.HostPort)
      const first = await portOf()
      await world.ok(['restart', '-t', '0', 'web'])
      expect(await portOf()).toBe(first)
      await world.ok(['stop', '-t', '0', 'web'])
      world.host.start('python3', ['-m', 'http.server', String(first)])
      await eventually('it is taken', async () => (await world.host.curl(`http://127.0.0.1:${first}/`)).status === 200)

      const { code, stderr } = await world.tsrun(['start', 'web'])

      const second = await portOf()
      expect(code).toBe(0)
      expect(stderr).toMatch(new RegExp(`warning: port 80/tcp of "web" is published on ${second} now.*${first}`))
      expect(second).not.toBe(first)
      await eventually('it serves there', async () =>
        (await world.outside.curl(`http://${addresses.host}:${second}/`)).body.startsWith('web sees'),
      )
      // A port of the user's choice is not exchanged for another.
      await world.ok(['stop', '-t', '0', 'web'])
      world.host.start('python3', ['-m', 'http.server', '8080'])
      await eventually('it is taken', async () => (await world.host.curl('http://127.0.0.1:8080/')).status === 200)
      expectError(await world.tsrun(['start', 'web']), 1, /8080.*in use by python3/)
    }),
  )

  test(
    '8000-8003:80 takes the first of them that is free, also where several start at once, and says when none is',
    inWorld(async world => {
      world.host.start('python3', ['-m', 'http.server', '8001'])
      await eventually('it is taken', async () => (await world.host.curl('http://127.0.0.1:8001/')).status === 200)
      await world.serve('web', ['-p', '8000-8003:80'])
      const names = ['a', 'b']
      await Promise.all(
        names.map(name => world.ok(['run', '-d', '--name', name, '-p', '8000-8003:80', 'busybox', 'sleep', '1000'])),
      )

      const portOf = async (name: string) => Number((await bindingsOf(world, name, '80/tcp'))[0]?.HostPort)
      expect(await portOf('web')).toBe(8000)
      expect((await world.outside.curl(`http://${addresses.host}:8000/`)).body).toMatch(/^web sees/)
      expect((await Promise.all(names.map(portOf))).sort()).toEqual([8002, 8003])
      const full = await world.tsrun(['run', '--rm', '-p', '8000-8003:80', 'busybox', 'true'])
      expectError(full, 125, /port 80\/tcp: each of the host ports from 8000 to 8003 is taken/)
      await world.ok(['rm', '-f', 'a'])
      await world.ok(['run', '--rm', '-p', '8000-8003:80', 'busybox', 'true'])
      // What was chosen stays.
      await world.ok(['restart', '-t', '0', 'b'])
      expect([8002, 8003]).toContain(await portOf('b'))
    }),
  )

  test(
    '127.0.0.1:8080:80 publishes on that address alone',
    inWorld(async world => {
      await world.serve('web', ['-p', '127.0.0.1:8080:80'])

      expect((await world.host.curl('http://127.0.0.1:8080/')).body).toMatch(/^web sees/)
      expect((await world.host.curl(`http://${addresses.host}:8080/`)).status).toBe(0)
      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).status).toBe(0)
    }),
  )

  test(
    'one address of the host publishes on that address alone',
    inWorld(async world => {
      await world.host.sh('ip address add 198.51.100.11/24 dev eth0')
      await world.serve('web', ['-p', '198.51.100.11:8080:80'])

      expect((await world.outside.curl('http://198.51.100.11:8080/')).body).toMatch(/^web sees/)
      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).status).toBe(0)
      await world.ok(['rm', '-f', 'web'])
      await world.host.sh('ip address del 198.51.100.11/24 dev eth0')
    }),
  )

  test(
    'different addresses may have the same port',
    inWorld(async world => {
      await world.host.sh('ip address add 198.51.100.11/24 dev eth0')
      await world.serve('a', ['-p', `${addresses.host}:8080:80`])
      await world.serve('b', ['-p', '198.51.100.11:8080:80'])

      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).body).toMatch(/^a sees/)
      expect((await world.outside.curl('http://198.51.100.11:8080/')).body).toMatch(/^b sees/)
      await world.ok(['rm', '-f', 'a', 'b'])
      await world.host.sh('ip address del 198.51.100.11/24 dev eth0')
    }),
  )

  test(
    'several ports, each by its own flag',
    inWorld(async world => {
      await world.serve('web', ['-p', '8080:80', '-p', '8081:80', '--publish', '8082:80'])

      for (const port of [8080, 8081, 8082]) {
        expect((await world.outside.curl(`http://${addresses.host}:${port}/`)).body).toMatch(/^web sees/)
      }
    }),
  )

  test(
    'a range publishes port by port',
    inWorld(async world => {
      const servers =
        'for port in 80 81 85 90; do mkdir -p /www$port; echo port $port > /www$port/index.html; httpd -p $port -h /www$port; done; echo up; sleep 1000'
      await world.ok(['run', '-d', '--name', 'many', '-p', '8000-8010:80-90', 'busybox', 'sh', '-c', servers])
      await eventually('the servers are up', async () => (await world.ok(['logs', 'many'])).includes('up'))

      for (const port of [80, 81, 85, 90]) {
        expect((await world.outside.curl(`http://${addresses.host}:${7920 + port}/`)).body).toBe(`port ${port}\n`)
        expect((await world.host.curl(`http://127.0.0.1:${7920 + port}/`)).body).toBe(`port ${port}\n`)
      }
      expect((await world.outside.curl(`http://${addresses.host}:8011/`)).status).toBe(0)
    }),
  )

  test(
    'udp reaches the container and its answers come back, also from 127.0.0.1',
    inWorld(async world => {
      await startUdpServer(world, 'echo', ['-p', '5353:53/udp'], 53)

      expect(await udpAsk(world.outside, addresses.host, 5353, 'hello')).toBe('hello')
      expect(await udpAsk(world.host, addresses.host, 5353, 'hello')).toBe('hello')
      expect(await udpAsk(world.host, '127.0.0.1', 5353, 'hello')).toBe('hello')
    }),
  )

  test(
    'the same number may be published for tcp and udp',
    inWorld(async world => {
      await startUdpServer(world, 'echo', ['-p', '8080:53/udp'], 53)
      await world.serve('web', ['-p', '8080:80/tcp'])

      expect(await udpAsk(world.outside, addresses.host, 8080, 'hello')).toBe('hello')
      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).body).toMatch(/^web sees/)
    }),
  )

  test(
    'udp goes to the new container after a restart, not to the old one',
    inWorld(async world => {
      await startUdpServer(world, 'one', ['-p', '5353:53/udp'], 53)
      const client = await udpAsk(world.outside, addresses.host, 5353, 'a', { sourcePort: 40000 })
      await world.ok(['rm', '-f', 'one'])
      await startUdpServer(world, 'two', ['-p', '5353:53/udp'], 53)

      expect(client).toBe('a')
      expect(await udpAsk(world.outside, addresses.host, 5353, 'b', { sourcePort: 40000 })).toBe('b')
    }),
  )

  test(
    '8080:80 publishes on the IPv6 addresses of the host too, where the network has IPv6',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', '--subnet', 'fd00:51::/64', 'dual'])
      await world.serve('web', ['-net', 'dual', '-p', '8080:80', '-p', `[${addresses.host6}]:8081:80`])

      expect((await world.outside.curl(`http://[${addresses.host6}]:8080/`)).body).toMatch(/^web sees/)
      expect((await world.outside.curl(`http://[${addresses.host6}]:8081/`)).body).toMatch(/^web sees/)
      expect((await world.host.curl(`http://[${addresses.host6}]:8081/`)).body).toMatch(/^web sees/)
      expect((await world.outside.curl(`http://${addresses.host}:8081/`)).status).toBe(0)
    }),
  )

  test(
    '[::1]:8080:80 publishes on that address alone',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', '--subnet', 'fd00:51::/64', 'dual'])
      await world.serve('web', ['-net', 'dual', '-p', '[::1]:8080:80'])

      expect((await world.host.curl('http://[::1]:8080/')).body).toMatch(/^web sees/)
      expect((await world.host.curl('http://127.0.0.1:8080/')).status).toBe(0)
      expect((await world.outside.curl(`http://[${addresses.host6}]:8080/`)).status).toBe(0)
    }),
  )

  const wrong: [string, RegExp][] = [
    ['', /-p|publish|port/],
    ['x', /"x"/],
    ['0x50:80', /"0x50:80"/],
    ['8080:', /"8080:"/],
    ['8080:65536', /65536/],
    ['70000:80', /70000/],
    ['8080:80/carrier-pigeon', /carrier-pigeon/],
    ['8000-8010:80-85', /8000-8010:80-85|range/],
    ['8010-8000:80-90', /8010-8000/],
    ['1.2.3:80:80', /1\.2\.3/],
    ['1.2.3.4.5:80:80', /1\.2\.3\.4\.5/],
    ['::1:80:80', /::1/],
  ]
  test.each(wrong)('%j is refused', (form, message) =>
    inWorld(async world => {
      const before = await world.settled()

      const result = await world.tsrun(['run', '-p', form, 'busybox', 'true'])

      expectError(result, 125, message)
      expect(await world.changesSince(before, { timeoutMs: 500 })).toEqual([])
    })(),
  )
})

describe('a taken port is refused before start', () => {
  test(
    'naming the container that has it',
    inWorld(async world => {
      await world.serve('web', ['-p', '8080:80'])
      const before = await world.settled()

      const result = await world.tsrun(['run', '--name', 'second', '-p', '8080:80', 'busybox', 'sh', '-c', 'echo ran'])

      expectError(result, 125, /8080.*"?web"?/)
      expect(result.stderr).toContain('hint:')
      expect(await world.changesSince(before, { ignore: [/ipam/], timeoutMs: 500 })).toEqual([])
    }),
  )

  test(
    'naming the process that listens on it',
    inWorld(async world => {
      world.host.start('busybox', ['httpd', '-f', '-p', '8080'])
      await eventually('it listens', async () => (await world.host.curl('http://127.0.0.1:8080/')).status !== 0)

      const result = await world.tsrun(['run', '-p', '8080:80', 'busybox', 'true'])

      expectError(result, 125, /8080.*busybox|8080.*httpd/)
      expect(result.stderr).toMatch(/pid \d+/)
    }),
  )

  test(
    'also when one address is part of all addresses, and the other way round',
    inWorld(async world => {
      await world.serve('all', ['-p', '8080:80'])
      await world.serve('one', ['-p', '127.0.0.1:8081:80'])

      expectError(await world.tsrun(['run', '-p', '127.0.0.1:8080:80', 'busybox', 'true']), 125, /8080.*"?all"?/)
      expectError(await world.tsrun(['run', '-p', '8081:80', 'busybox', 'true']), 125, /8081.*"?one"?/)
    }),
  )

  test(
    'also inside a range',
    inWorld(async world => {
      await world.serve('range', ['-p', '8000-8010:80-90'])

      expectError(await world.tsrun(['run', '-p', '8005:80', 'busybox', 'true']), 125, /8005.*"?range"?/)
      expectError(await world.tsrun(['run', '-p', '8010-8012:80-82', 'busybox', 'true']), 125, /8010.*"?range"?/)
    }),
  )

  test(
    'also twice in one command',
    inWorld(async world => {
      const result = await world.tsrun(['run', '-p', '8080:80', '-p', '8080:81', 'busybox', 'true'])

      expectError(result, 125, /8080/)
    }),
  )

  test(
    'and free again when its container has ended',
    inWorld(async world => {
      await world.ok(['run', '--name', 'first', '-p', '8080:80', 'busybox', 'true'])

      await world.serve('second', ['-p', '8080:80'])

      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).body).toMatch(/^second sees/)
    }),
  )
})
