// Ports that the kernel cannot translate, and that the container's monitor therefore serves: ::1, and IPv6 addresses of
// the host in front of a container that has only IPv4.

import { describe, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { startUdpServer, udpAsk } from '../helpers/udp.ts'
import { addresses, inWorld, type World } from '../helpers/world.ts'

const dualStack = ['network', 'create', '--subnet', '10.51.0.0/24', '--subnet', 'fd00:51::/64', 'dual']

/** What listens on the host's TCP port. */
const listeners = (world: World, port: number) => world.host.sh(`ss -Hltn 'sport = :${port}'`)

describe('-p [::1]:8080:80', () => {
  test(
    'answers on ::1 and nowhere else',
    inWorld(async world => {
      await world.serve('web', ['-p', '[::1]:8080:80'])

      expect((await world.host.curl('http://[::1]:8080/')).body).toMatch(/^web sees/)
      expect((await world.host.curl('http://127.0.0.1:8080/')).status).toBe(0)
      expect((await world.host.curl(`http://[${addresses.host6}]:8080/`)).status).toBe(0)
      expect((await world.outside.curl(`http://[${addresses.host6}]:8080/`)).status).toBe(0)
      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).status).toBe(0)
    }),
  )

  test(
    'leads to the IPv6 address of a container that has one',
    inWorld(async world => {
      await world.ok(dualStack)
      await world.serve('web', ['-net', 'dual', '-p', '[::1]:8080:80'])

      expect((await world.host.curl('http://[::1]:8080/')).body).toMatch(/^web sees .*fd00:51::1/)
    }),
  )

  test(
    'is shown like any other port',
    inWorld(async world => {
      await world.serve('web', ['-p', '[::1]:8080:80'])

      expect(await world.ok(['port', 'web'])).toBe('80/tcp -> [::1]:8080')
      expect(await world.ok(['ps', '--format', '{{.Ports}}'])).toContain('8080->80/tcp')
      const [{ NetworkSettings }] = await world.json(['inspect', 'web'])
      expect(NetworkSettings.Ports['80/tcp']).toEqual([{ HostIp: '::1', HostPort: '8080' }])
    }),
  )

  test(
    'goes together with ports that the kernel translates, and is no rule itself',
    inWorld(async world => {
      await world.serve('web', ['-p', '[::1]:8080:80', '-p', '127.0.0.1:8080:80', '-p', '8081:80'])

      expect((await world.host.curl('http://[::1]:8080/')).body).toMatch(/^web sees/)
      expect((await world.host.curl('http://127.0.0.1:8080/')).body).toMatch(/^web sees/)
      expect((await world.outside.curl(`http://${addresses.host}:8081/`)).body).toMatch(/^web sees/)
      expect(await world.host.sh('nft list ruleset')).not.toMatch(/::1 \. 8080/)
    }),
  )

  test(
    'survives that the rules are made anew, and so do its neighbours',
    inWorld(async world => {
      await world.serve('web', ['-p', '[::1]:8080:80', '-p', '8081:80'])
      await world.host.sh('nft flush ruleset')
      await world.serve('second', ['-p', '8082:80'])

      expect((await world.host.curl('http://[::1]:8080/')).body).toMatch(/^web sees/)
      expect((await world.outside.curl(`http://${addresses.host}:8081/`)).body).toMatch(/^web sees/)
    }),
  )

  test(
    'carries a large page whole',
    inWorld(async world => {
      const script =
        'mkdir /www; head -c 50000000 /dev/urandom > /www/page; sha256sum /www/page; exec httpd -f -p 80 -h /www'
      await world.ok(['run', '-d', '--name', 'big', '-p', '[::1]:8080:80', 'busybox', 'sh', '-c', script])

      const got = await world.host.sh(
        'curl -gsS --retry 20 --retry-all-errors --retry-delay 0 http://[::1]:8080/page | sha256sum',
      )

      expect(got.split(' ')[0]).toBe((await world.ok(['logs', 'big'])).split(' ')[0])
    }),
  )

  test(
    'carries what the container says last to the end',
    inWorld(async world => {
      await world.ok(['run', '-d', '-p', '[::1]:8080:80', 'busybox', 'nc', '-lp', '80', '-e', 'seq', '1', '20000'])

      const heard = await world.host.sh('sleep 0.3; busybox nc ::1 8080')

      expect(heard.trimEnd().split('\n')).toHaveLength(20000)
    }),
  )

  test(
    'carries udp',
    inWorld(async world => {
      await startUdpServer(world, 'echo', ['-p', '[::1]:5353:53/udp'], 53)

      expect(await udpAsk(world.host, '::1', 5353, 'hello')).toBe('hello')
    }),
  )

  test(
    'refuses the connection when nobody listens in the container',
    inWorld(async world => {
      await world.ok(['run', '-d', '-p', '[::1]:8080:81', 'busybox', 'sleep', '1000'])

      // 7, 52 and 56 are all kinds of "closed at once"; 28 would be a timeout.
      expect([7, 52, 56]).toContain((await world.host.curl('http://[::1]:8080/')).code)
    }),
  )

  test(
    'is closed when the container is stopped or removed, and open again after a start',
    inWorld(async world => {
      await world.serve('web', ['-p', '[::1]:8080:80'])
      expect(await listeners(world, 8080)).toContain('[::1]:8080')

      await world.ok(['stop', '-t', '0', 'web'])
      expect(await listeners(world, 8080)).toBe('')

      await world.ok(['start', 'web'])
      expect(await world.host.sh('curl -gsS --retry 20 --retry-all-errors --retry-delay 0 http://[::1]:8080/')).toMatch(
        /^web/,
      )

      await world.ok(['rm', '-f', 'web'])
      expect(await listeners(world, 8080)).toBe('')
    }),
  )

  test(
    'is refused on an internal network, and for sctp',
    inWorld(async world => {
      await world.ok(['network', 'create', '--internal', 'inner'])

      expectError(
        await world.tsrun(['run', '-net', 'inner', '-p', '[::1]:8080:80', 'busybox', 'true']),
        125,
        /internal/,
      )
      expectError(await world.tsrun(['run', '-p', '[::1]:8080:80/sctp', 'busybox', 'true']), 125, /sctp.*tcp and udp/)
    }),
  )
})

describe('-p [::]:8080:80 on a network without IPv6', () => {
  test(
    'answers on every IPv6 address of the host, to everybody',
    inWorld(async world => {
      await world.serve('web', ['-p', '[::]:8080:80'])

      expect((await world.host.curl('http://[::1]:8080/')).body).toMatch(/^web sees/)
      expect((await world.host.curl(`http://[${addresses.host6}]:8080/`)).body).toMatch(/^web sees/)
      expect((await world.outside.curl(`http://[${addresses.host6}]:8080/`)).body).toMatch(/^web sees/)
      expect((await world.outside.curl(`http://${addresses.host}:8080/`)).status).toBe(0)
    }),
  )

  test(
    'answers udp from the address that was asked',
    inWorld(async world => {
      await world.host.sh('ip -6 address add 2001:db8:51::11/64 dev eth0 nodad')
      await startUdpServer(world, 'echo', ['-p', '[::]:5353:53/udp'], 53)

      expect(await udpAsk(world.outside, addresses.host6, 5353, 'hello')).toBe('hello')
      expect(await udpAsk(world.outside, '2001:db8:51::11', 5353, 'hello')).toBe('hello')
      await world.ok(['rm', '-f', 'echo'])
      await world.host.sh('ip -6 address del 2001:db8:51::11/64 dev eth0')
    }),
  )

  test(
    'leaves the other addresses alone when one is given',
    inWorld(async world => {
      await world.serve('web', ['-p', `[${addresses.host6}]:8080:80`])

      expect((await world.outside.curl(`http://[${addresses.host6}]:8080/`)).body).toMatch(/^web sees/)
      expect((await world.host.curl('http://[::1]:8080/')).status).toBe(0)
    }),
  )
})

describe('a taken port is refused before start', () => {
  test(
    'naming the container that has it',
    inWorld(async world => {
      await world.serve('web', ['-p', '[::1]:8080:80'])
      await world.ok(dualStack)
      const before = await world.snapshot()

      for (const flags of [
        ['-p', '[::1]:8080:80'],
        ['-p', '[::]:8080:80'],
        ['-net', 'dual', '-p', '[::]:8080:80'],
      ]) {
        const result = await world.tsrun(['run', ...flags, 'busybox', 'true'])
        expectError(result, 125, /8080\/tcp .* published by container "web"/)
        expect(result.stderr).toContain('tsrun stop web')
      }
      // The kernel gives a bridge its link-local address with its first port.
      const ignore = [/ipam/, /fe80::|ff00::/]
      expect(await world.changesSince(before, { ignore, timeoutMs: 500 })).toEqual([])
      expect((await world.host.curl('http://[::1]:8080/')).body).toMatch(/^web sees/)
    }),
  )

  test(
    'naming the process that listens on it',
    inWorld(async world => {
      world.host.start('busybox', ['httpd', '-f', '-p', '[::1]:8080'])
      await world.host.sh('curl -gsS -o page --retry 20 --retry-connrefused --retry-delay 0 http://[::1]:8080/', {
        cwd: world.dir,
      })

      const result = await world.tsrun(['run', '-p', '[::1]:8080:80', 'busybox', 'true'])

      expectError(result, 125, /\[::1\]:8080\/tcp .*in use by (busybox|httpd) \(pid \d+\)/)
    }),
  )

  test(
    'also twice in one command',
    inWorld(async world => {
      const result = await world.tsrun(['run', '-p', '[::1]:8080:80', '-p', '[::1]:8080:81', 'busybox', 'true'])

      expectError(result, 125, /8080.*given twice/)
    }),
  )
})
