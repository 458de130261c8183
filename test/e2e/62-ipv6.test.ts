// Both IP versions: dual stack and IPv6 alone, out of the host's own range, by packets.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { addresses, inWorld, pageServer, type World } from '../helpers/world.ts'

async function serveOutside(world: World): Promise<void> {
  world.outside.start('busybox', ['sh', '-c', pageServer('outside').replaceAll('/tmp/www', `${world.dir}/outside`)])
  await eventually('the outside serves', async () => (await world.outside.curl('http://[::1]/')).status === 200)
}

async function v6Of(world: World, container: string): Promise<string> {
  const [{ NetworkSettings }] = await world.json(['inspect', container])
  return (Object.values(NetworkSettings.Networks)[0] as { GlobalIPv6Address: string }).GlobalIPv6Address
}

const wget = (world: World, container: string, url: string) =>
  world
    .tsrun(['exec', container, 'timeout', '1', 'wget', '-q', '-O', '-', url])
    .then(({ stdout }) => stdout.trim().replace('sees [', 'sees '))

test(
  'dual stack: out, in, peers and isolation are the same in both versions',
  inWorld(async world => {
    const { host, outside, neighbour } = world
    await serveOutside(world)
    await world.ok(['network', 'create', '--ipv6', 'both'])
    await world.ok(['network', 'create', '--ipv6', 'other'])
    await world.serve('web', ['--network', 'both', '-p', '8080:80', '-p', '[::1]:8081:80'])
    await world.ok(['run', '-d', '--name', 'peer', '--network', 'both', 'busybox', 'sleep', '1000'])
    await world.ok(['run', '-d', '--name', 'stranger', '--network', 'other', 'busybox', 'sleep', '1000'])
    const [v4, v6] = [await world.addressOf('web'), await v6Of(world, 'web')]

    const [both, other] = await world.json(['network', 'inspect', 'both', 'other'])
    const range = readFileSync(join(world.root, 'ipam', 'local-range6'), 'utf8').trim()
    expect(range).toMatch(/^fd[0-9a-f]{2}:[0-9a-f]{4}:[0-9a-f]{4}::\/48$/)
    expect([both, other].map(network => network.EnableIPv6)).toEqual([true, true])
    expect(both.IPAM.Config[1].Subnet).not.toBe(other.IPAM.Config[1].Subnet)
    const pages = [
      outside.curl(`http://${addresses.host}:8080/`),
      outside.curl(`http://[${addresses.host6}]:8080/`),
      host.curl('http://127.0.0.1:8080/'),
      host.curl('http://[::1]:8080/'),
      host.curl('http://[::1]:8081/'),
    ]
    expect((await Promise.all(pages)).map(({ body }) => body.slice(0, 8))).toEqual([
      'web sees',
      'web sees',
      'web sees',
      'web sees',
      'web sees',
    ])
    expect((await pages[1])?.body).toContain(addresses.router6)
    const reaches = [
      wget(world, 'peer', `http://[${addresses.server6}]/`),
      wget(world, 'peer', `http://[${v6}]/`),
      wget(world, 'peer', `http://[${addresses.host6}]:8080/`),
      wget(world, 'stranger', `http://[${v6}]/`),
      wget(world, 'stranger', `http://${v4}/`),
    ]
    const [out, direct, hairpin, ...isolated] = await Promise.all(reaches)
    expect(out).toBe(`outside sees ${addresses.host6}`)
    expect(direct).toBe(`web sees ${await v6Of(world, 'peer')}`)
    expect(hairpin).toMatch(/^web sees /)
    expect(isolated).toEqual(['', ''])
    // A neighbour with a route to the subnet.
    await neighbour.sh(`ip -6 route add ${both.IPAM.Config[1].Subnet} via ${addresses.host6}`)
    expect((await neighbour.curl(`http://[${v6}]/`, { timeoutSeconds: 1 })).status).toBe(0)

    // The host's range stays when its last network goes: what was written down elsewhere goes on being right.
    await world.ok(['rm', '-f', 'web', 'peer', 'stranger'])
    await world.ok(['network', 'rm', 'both', 'other'])
    await world.ok(['network', 'create', '--ipv6', 'again'])
    const [again] = await world.json(['network', 'inspect', 'again'])
    expect(again.IPAM.Config[1].Subnet).toBe(range.replace('/48', '/64'))
  }),
)

test(
  'IPv6 alone: no IPv4 address, masqueraded or routed, and the host’s IPv4 ports lead there too',
  inWorld(async world => {
    await serveOutside(world)
    await world.ok(['network', 'create', '--ipv6', '--ipv4=false', 'six'])
    await world.ok(['network', 'create', '--subnet', '2001:db8:7::/64', '-o', 'mode=routed', 'routed'])
    await world.serve('web', ['--network', 'six', '-p', '8080:80', '-p', '0.0.0.0:8081:80'])
    await world.serve('far', ['--network', 'routed', '-p', '8082:80'])
    await world.outside.sh(`ip -6 route add 2001:db8:7::/64 via ${addresses.host6}`)
    const far = await v6Of(world, 'far')

    expect(await world.ok(['exec', 'web', 'ip', '-4', 'address', 'show', 'dev', 'eth0'])).toBe('')
    expect((await world.outside.curl(`http://[${addresses.host6}]:8080/`)).body).toMatch(/^web sees/)
    expect((await world.outside.curl(`http://${addresses.host}:8081/`)).body).toMatch(/^web sees/)
    expect(await wget(world, 'web', `http://[${addresses.server6}]/`)).toBe(`outside sees ${addresses.host6}`)
    expect(await wget(world, 'far', `http://[${addresses.server6}]/`)).toBe(`outside sees ${far}`)
    expect((await world.outside.curl(`http://[${far}]/`)).body).toMatch(/^far sees/)
  }),
)

/** A router advertisement of fd66:6::/64 with a default route, as any container could send one. */
const advertise = `
import socket, struct, time
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')
prefix = struct.pack('!BBBBIII', 3, 4, 64, 0xc0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, 'fd66:6::')
ra = struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
for i in range(50):
    try:
        s.sendto(ra, ('ff02::1%eth0', 0))
        break
    except OSError:
        time.sleep(0.2)
`

test(
  'a router advertisement of a container gives neither a peer nor the host addresses or routes',
  inWorld(async world => {
    await world.ok(['network', 'create', '--ipv6', 'br'])
    await world.ok(['run', '-d', '--name', 'victim', '--network', 'br', 'busybox', 'sleep', '1000'])
    await world.ok(['run', '-d', '--name', 'rogue', '--network', 'br', 'busybox', 'sleep', '1000'])
    // The addresses work at once: nobody waits for duplicate address detection.
    expect(await world.ok(['exec', 'victim', 'ip', '-6', 'address', 'show', 'scope', 'global'])).not.toMatch(
      /tentative/,
    )
    const [{ State }] = await world.json(['inspect', 'rogue'])
    // What the host heard, counted before and after.
    const heard = async () =>
      Number((await world.host.sh('grep -i "^Icmp6InRouterAdvertisements" /proc/net/snmp6')).split(/\s+/)[1])
    const before = await heard()

    await world.host.exec('nsenter', ['-t', String(State.Pid), '-n', 'python3', '-c', advertise])

    await eventually('the host has got it', async () => (await heard()) > before)
    const seen = await world.host.sh('ip -6 address; ip -6 route')
    const inVictim = await world.ok(['exec', 'victim', 'sh', '-c', 'ip -6 address; ip -6 route'])
    expect(seen + inVictim).not.toContain('fd66:6:')
    expect(inVictim.match(/^default/gm)).toHaveLength(1)
  }),
)
