// --explain prints what is done as the commands a person would type, --dry-run prints them without doing it.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { succeed } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { Namespace } from '../helpers/namespace.ts'
import { inWorld, type World } from '../helpers/world.ts'

/** The script without what starts the process: a namespace kept by name stands in for the container. */
function networkPart(script: string): string {
  return script
    .replace(/^nsenter .*<<'MONITOR'$[\s\S]*?^MONITOR$/m, '')
    .split('\n')
    .filter(line => !/\/sys\/fs\/cgroup\//.test(line))
    .join('\n')
}

/** What `ip -j` says of a link, as far as it is looked at. */
interface Shown {
  readonly ifname: string
  readonly mtu: number
  readonly address: string
  readonly ifalias?: string
  readonly master?: string
  readonly flags: readonly string[]
  readonly operstate: string
  readonly inet6_addr_gen_mode: string
  readonly num_tx_queues: number
  readonly linkinfo?: { readonly info_kind: string; readonly info_slave_data?: { readonly hairpin?: boolean } }
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number; readonly broadcast?: string }[]
}

/** What stands in a namespace, without what differs from one namespace to the next: indexes, handles, counters. */
async function describe(ns: Namespace, sandbox: readonly string[]) {
  const links = await ns.ipJson('-d', 'link')
  const plain = (link: Shown) => ({
    name: link.ifname,
    mtu: link.mtu,
    mac: link.linkinfo?.info_kind === 'veth' && link.ifname.startsWith('veth') ? 'any' : link.address,
    alias: link.ifalias,
    master: link.master,
    up: link.flags.includes('UP'),
    mode: link.inet6_addr_gen_mode,
    queues: link.num_tx_queues,
    hairpin: link.linkinfo?.info_slave_data?.hairpin,
  })
  const ours = links.filter(link => /^(br|veth)/.test(link.ifname))
  const inside = async (...args: string[]) => JSON.parse(await succeed([...sandbox, 'ip', '-j', ...args]))
  const addressesOf = (list: Shown[]) =>
    list.flatMap(link => link.addr_info.map(info => `${link.ifname} ${info.local}/${info.prefixlen} ${info.broadcast}`))
  const setting = (name: string) => ns.exec('sysctl', ['-n', name])
  return {
    links: ours.map(plain),
    addresses: addressesOf((await ns.ipJson('address')).filter(link => /^br/.test(link.ifname))),
    forwarding: await setting('net.ipv4.ip_forward'),
    localnet: await setting('net.ipv4.conf.br.route_localnet'),
    rules: (await ns.nftJson()).map(item =>
      JSON.stringify(item, (key, value) => (key === 'handle' ? undefined : value)),
    ),
    insideLinks: (await inside('link')).map((link: Shown) => [link.ifname, link.address, link.mtu, link.operstate]),
    insideAddresses: addressesOf(await inside('address')),
    insideRoutes: (await inside('route')).map((route: object) => ({ ...route, flags: undefined })),
    insideIpv6: await succeed([...sandbox, 'sysctl', '-n', 'net.ipv6.conf.eth0.disable_ipv6']),
  }
}

async function runReplay(world: World, name: string, script: string): Promise<unknown> {
  const replay = await Namespace.create('replay', join(world.dir, 'replay'))
  try {
    const file = join(world.dir, 'script')
    writeFileSync(file, script)
    // conntrack(8) fails where it finds nothing to delete: what counts is what stands afterwards.
    await replay.tryExec('sh', [file])
    return await describe(replay, ['nsenter', `--net=/run/netns/${name}`])
  } finally {
    await replay.remove()
    await succeed(['sh', '-c', `[ ! -e /run/netns/${name} ] || ip netns delete ${name}`])
  }
}

test(
  'the printed commands, typed on an empty host, give the same links, addresses, routes, settings and rules',
  inWorld(async world => {
    const file = join(world.dir, 'explained')
    const name = `${world.id}-web`
    const env = { ...world.env, TSRUN_EXPLAIN: file }

    await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'], { env })
    await world.ok(
      [
        'run',
        '-d',
        '--name',
        name,
        '-net',
        'br',
        '-p',
        '80:80',
        '-p',
        '127.0.0.1:81:81/udp',
        'busybox',
        'sleep',
        '1000',
      ],
      {
        env,
      },
    )

    const pid = await world.ok(['inspect', '-f', '{{.State.Pid}}', name])
    const real = await describe(world.host, ['nsenter', '--target', pid, '--net'])
    const script = readFileSync(file, 'utf8')
    expect(await runReplay(world, name, networkPart(script))).toEqual(real)
    // The part that starts the process is a script, too.
    await succeed(['sh', '-n', file])
    expect(script).toMatch(/^mount -t overlay .*lowerdir=/m)
    expect(script).toMatch(/^exec setpriv .* env -i .* sleep 1000$/m)
  }),
)

test(
  'explains the end of a container: signal, rules and control groups, in that order',
  inWorld(async world => {
    await world.ok(['run', '-d', '--name', 'web', '-p', '8080:80', 'busybox', 'sleep', '1000'])

    const { stderr } = await world.tsrun(['rm', '-f', '--explain', 'web'])

    const lines = stderr.split('\n').map(line => line.split(' ')[0])
    expect(lines.filter((word, at) => word !== '' && word !== lines[at - 1])).toEqual([
      'kill',
      'echo',
      'nft',
      'ip',
      'rmdir',
    ])
    expect(stderr).toMatch(/delete element inet \S+ any4 \{ tcp \. 8080 \}/)
  }),
)

test(
  'a dry run prints the same commands and leaves the machine as it was',
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])
    const before = await world.snapshot()
    const words = ['run', '-d', '--name', 'web', '-net', 'br', '-p', '80:80', 'busybox', 'sleep', '1000']

    const rehearsed = await world.tsrun([...words.slice(0, 1), '--dry-run', ...words.slice(1)])

    expect(rehearsed.code).toBe(0)
    expect(rehearsed.stdout).toBe('')
    expect(await world.changesSince(before, { timeoutMs: 0 })).toEqual([])
    expect(await world.ok(['ps', '-aq'])).toBe('')
    const done = await world.tsrun([...words.slice(0, 1), '--explain', ...words.slice(1)])
    const id = done.stdout.trim()
    const anyId = (text: string) =>
      text
        .replaceAll(/\b[0-9a-f]{64}\b/g, 'ID')
        .replaceAll(/\b(veth)?[0-9a-f]{10,12}\b/g, '$1id')
        .replaceAll(/#[0-9a-f]{8}/g, '#id')
    expect(id).toMatch(/^[0-9a-f]{64}$/)
    expect(anyId(rehearsed.stderr)).toBe(anyId(done.stderr))
  }),
)

test(
  'a dry run of what ends a container leaves it alone',
  inWorld(async world => {
    await world.ok(['run', '-d', '--name', 'web', '-p', '8080:80', 'busybox', 'sleep', '1000'])
    const before = await world.snapshot()

    for (const words of [
      ['stop', 'web'],
      ['rm', '-f', 'web'],
      ['restart', 'web'],
      ['pause', 'web'],
      ['kill', 'web'],
    ]) {
      const result = await world.tsrun([words[0] ?? '', '--dry-run', ...words.slice(1)])
      expect(result).toMatchObject({ code: 0 })
      expect(result.stderr).toMatch(/^(kill -(9|15) \d+|echo \S+ > \S+cgroup.freeze|echo FROZEN > \S+)$/m)
      expect(result.stderr).not.toContain('tsrun: ')
    }

    expect(await world.ok(['ps', '--format', '{{.Names}} {{.State}}'])).toBe('web running')
    expect(await world.changesSince(before, { timeoutMs: 0 })).toEqual([])
  }),
)

test(
  'a dry run fails as the command itself would',
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])

    expectError(
      await world.tsrun(['network', 'create', '--dry-run', '--subnet', '192.168.0.0/25', 'other']),
      1,
      /overlaps 192\.168\.0\.0\/24 of network "br"/,
    )
    const run = await world.tsrun(['run', '--dry-run', '-net', 'nowhere', 'busybox', 'true'])
    expect(run).toMatchObject({ code: 125, stdout: '' })
    expect(run.stderr).toMatch(/^tsrun: no such network: "nowhere"$/m)
    expect(await world.ok(['network', 'ls', '--format', '{{.Name}}'])).toBe('br')
  }),
)

test(
  'a dry run of joining and leaving a network leaves the container alone',
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'one'])
    await world.ok(['network', 'create', '--subnet', '192.168.1.0/24', 'two'])
    await world.ok(['run', '-d', '--name', 'web', '--network', 'one', 'busybox', 'sleep', '1000'])
    const inside = () => world.ok(['exec', 'web', 'sh', '-c', 'ip -o addr; ip route'])
    const before = await inside()

    const joined = await world.tsrun(['network', 'connect', '--dry-run', 'two', 'web'])
    const left = await world.tsrun(['network', 'disconnect', '--dry-run', 'one', 'web'])

    expect(joined).toMatchObject({ code: 0 })
    expect(joined.stderr).toMatch(/^ip link add name veth\S+ .*master two type veth peer name eth1 .*netns web$/m)
    expect(joined.stderr).toMatch(/^ip -n web address add 192\.168\.1\.2\/24 brd \+ dev eth1$/m)
    expect(left).toMatchObject({ code: 0 })
    expect(left.stderr).toMatch(/^ip link delete dev veth\S+$/m)
    expect(await inside()).toBe(before)
  }),
)
