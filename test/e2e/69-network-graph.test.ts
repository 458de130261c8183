// network graph shows what stands in the kernel: it agrees with ip(8), and sees what somebody has broken.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { succeed } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, type World } from '../helpers/world.ts'

async function build(world: World): Promise<void> {
  await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])
  await world.ok(['network', 'create', '--internal', '--subnet', '192.168.1.0/24', 'back'])
  await world.ok([
    'run',
    '-d',
    '--name',
    'web',
    '-net',
    'br',
    '-p',
    '80:8080',
    '-p',
    '127.0.0.1:53:53/udp',
    'busybox',
    'sleep',
    '1000',
  ])
  await world.ok(['run', '-d', '--name', 'db', '-net', 'back', 'busybox', 'sleep', '1000'])
}

async function graphOf(world: World, name: string) {
  const graph = JSON.parse(await world.ok(['network', 'graph', '--format', 'json', name]))
  return { graph, endpoint: graph.networks[0].endpoints[0] }
}

test(
  'both ends of a veth pair are those that ip(8) shows',
  inWorld(async world => {
    await build(world)

    const { graph, endpoint } = await graphOf(world, 'br')

    const pid = await world.ok(['inspect', '-f', '{{.State.Pid}}', 'web'])
    const [outer] = await world.host.ipJson('link', 'show', endpoint.host.name)
    const [inner] = JSON.parse(await succeed(['nsenter', '-t', pid, '-n', 'ip', '-j', 'address', 'show', 'eth0']))
    expect(outer).toMatchObject({ ifindex: endpoint.host.index, master: 'br', link_index: endpoint.inside.index })
    expect(inner).toMatchObject({
      ifindex: endpoint.inside.index,
      address: endpoint.inside.mac,
      link_index: endpoint.host.index,
    })
    expect(endpoint.inside).toMatchObject({ addresses: ['192.168.0.2/24'], gateways: ['192.168.0.1'], up: true })
    expect(endpoint).toMatchObject({ container: { name: 'web', pid: Number(pid) }, problems: [] })
    expect(graph.forwarding.ipv4).toBe(true)
    expect(graph.networks[0]).toMatchObject({
      interfaces: [{ name: 'br', addresses: ['192.168.0.1/24'] }],
      foreignPorts: [],
      problems: [],
    })
  }),
)

test(
  'the text shows each container with its pair, addresses and ports',
  inWorld(async world => {
    await build(world)

    const text = await world.ok(['network', 'graph'])

    expect(text).toMatch(/^host {2}forwarding: IPv4 on/)
    expect(text).toMatch(/network back {2}bridge {2}192\.168\.1\.0\/24 {2}internal/)
    expect(text).toMatch(
      /veth[0-9a-f]{10} \(\d+\) ══ eth0 \(\d+\) {2}web {2}192\.168\.0\.2\/24 {2}via 192\.168\.0\.1 {2}names from 127\.0\.0\.11 {2}pid \d+/,
    )
    expect(text).toMatch(/0\.0\.0\.0:80\/tcp → 192\.168\.0\.2:8080/)
    expect(text).toMatch(/127\.0\.0\.1:53\/udp → 192\.168\.0\.2:53/)
    expect(text).not.toContain('✗')
  }),
)

test(
  'shows what packets leave as, what a macvlan shares, who asks for names, and who carries which port',
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '10.1.0.0/24', '--subnet', 'fd00:1::/64', 'both'])
    await world.ok(['network', 'create', '-o', 'masquerade=198.51.100.11', '--subnet', '10.2.0.0/24', 'fixed'])
    await world.ok([
      'network',
      'create',
      '-o',
      'masquerade=false',
      '--driver',
      'ptp',
      '--subnet',
      '10.3.0.0/24',
      'kept',
    ])
    const [uplink] = await world.host.ipJson('route', 'show', 'default')
    const lan = ['--subnet', '198.51.100.0/24', '--ip-range', '198.51.100.64/26', '-o', `parent=${uplink.dev}`, 'lan']
    await world.ok(['network', 'create', '--driver', 'macvlan', ...lan])
    await world.ok(['run', '-d', '--name', 'web', '--network', 'both', '-p', '80:8080', 'busybox', 'sleep', '1000'])
    await world.ok(['run', '-d', '--name', 'mac', '--network', 'lan', 'busybox', 'sleep', '1000'])

    const text = await world.ok(['network', 'graph'])

    expect(text).toContain(`10.1.0.0/24 leaves as ${addresses.host} (masquerade)`)
    expect(text).toContain(`fd00:1::/64 leaves as ${addresses.host6} (masquerade)`)
    expect(text).toMatch(/10\.2\.0\.0\/24 leaves as 198\.51\.100\.11$/m)
    expect(text).toContain('10.3.0.0/24 leaves as it is')
    expect(text).not.toContain('198.51.100.0/24 leaves')
    expect(text).toMatch(new RegExp(`${uplink.dev} \\(\\d+\\) ≈≈ eth0 \\(\\d+\\) {2}mac .*names from 127\\.0\\.0\\.11`))
    expect(text).toMatch(/ \[::\]:80\/tcp → \[fd00:1::2\]:8080$/m)
    expect(text).not.toContain('✗')

    const table = (await world.host.exec('nft', ['list', 'tables'])).match(/tsrun-[0-9a-f]{8}/)?.[0]
    await world.host.exec('nft', ['flush', 'set', 'inet', table ?? '', 'subnets4'])
    expect(await world.ok(['network', 'graph', 'kept'])).toContain('✗ no rules for 10.3.0.0/24')
  }),
)

test(
  'sees a veth that was unplugged, a rule that was flushed, a bridge that is down and a port that is not ours',
  inWorld(async world => {
    await build(world)
    const { endpoint } = await graphOf(world, 'br')
    const table = (await world.host.exec('nft', ['list', 'tables'])).match(/tsrun-[0-9a-f]{8}/)?.[0]

    await world.host.sh(`ip link set ${endpoint.host.name} nomaster
      nft flush map inet ${table} any4
      ip link set back down
      ip link add stranger type veth peer name stranger2 && ip link set stranger master back`)

    const broken = await world.ok(['network', 'graph'])
    expect(broken).toContain(`✗ "${endpoint.host.name}" is not plugged into "br"`)
    expect(broken).toContain('✗ no rule for 0.0.0.0:80/tcp')
    expect(broken).toContain('✗ "back" is down')
    expect(broken).toContain("stranger  (not tsrun's)")
    await world.host.exec('ip', ['link', 'delete', 'stranger'])
  }),
)

test(
  'writes an SVG that names both ends, whatever the container is called',
  inWorld(async world => {
    await build(world)
    const file = join(world.dir, 'networks.svg')

    await world.ok(['network', 'graph', '--format', 'svg', '-o', file])

    const svg = readFileSync(file, 'utf8')
    const { endpoint } = await graphOf(world, 'br')
    expect(svg).toContain(`${endpoint.host.name} (${endpoint.host.index})`)
    expect(svg).toContain(`eth0 (${endpoint.inside.index})`)
    await succeed(['python3', '-c', 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])', file])
  }),
)

test(
  'a network that is not there is an error',
  inWorld(async world => {
    expectError(await world.tsrun(['network', 'graph', 'nowhere']), 1, /no such network: "nowhere"/)
  }),
)
