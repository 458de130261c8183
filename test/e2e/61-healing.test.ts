// Networks come back: after a flush, a deleted bridge, changed settings. The containers and their connections go on.

import { expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { addresses, inWorld, pageServer, type World } from '../helpers/world.ts'

const reached = async (world: World) =>
  (await world.outside.curl(`http://${addresses.host}:8080/`, { timeoutSeconds: 1 })).status === 200

/** What a host goes through, and how the first command after it is called. */
const damages: [string, string][] = [
  ['nft flush ruleset', 'nft flush ruleset'],
  ['a deleted bridge', 'ip link delete dev br'],
  ['`sysctl --system`: forwarding off', 'echo 0 > /proc/sys/net/ipv4/ip_forward'],
  ['a bridge that is down and has lost its address', 'ip link set dev br down; ip address flush dev br'],
  ['a port pulled out of its bridge', 'ip link set dev $(ip -br link show master br | sed "s/[@ ].*//;q") nomaster'],
  ['all of it', 'nft flush ruleset; ip link delete dev br; echo 0 > /proc/sys/net/ipv4/ip_forward'],
]

test(
  '`network reload` restores all, and a connection that is open goes on',
  inWorld(async world => {
    const { host, outside } = world
    await world.ok(['network', 'create', 'br'])
    await world.serve('web', ['-net', 'br', '-p', '8080:80'])
    await world.ok([
      'run',
      '-d',
      '--name',
      'chat',
      '-net',
      'br',
      '-p',
      '9000:9000',
      'busybox',
      'nc',
      '-ll',
      '-p',
      '9000',
      '-e',
      'cat',
    ])
    const talk = outside.start('busybox', ['nc', addresses.host, '9000'])
    const say = async (text: string) => {
      talk.write(`${text}\n`)
      await talk.waitFor(new RegExp(`^${text}$`, 'm'), 15_000)
    }
    await eventually('the connection is open', () => say('hello').then(() => true))
    const web = await world.addressOf('web')
    const [{ State, NetworkSettings }] = await world.json(['inspect', 'web'])

    for (const [index, [what, script]] of damages.entries()) {
      await host.sh(script)
      expect(await reached(world), what).toBe(false)

      expect(await world.ok(['network', 'reload', 'br'])).toBe('br')

      expect(await reached(world), what).toBe(true)
      expect((await world.tsrun(['exec', 'web', 'ping', '-c', '1', '-W', '1', addresses.server])).code, what).toBe(0)
      expect((await world.tsrun(['exec', 'chat', 'ping', '-c', '1', '-W', '1', web])).code, what).toBe(0)
      await say(`after ${index}`)
    }
    const [after] = await world.json(['inspect', 'web'])
    expect([after.State.Pid, after.NetworkSettings]).toEqual([State.Pid, NetworkSettings])
    talk.endInput()
  }),
)

test(
  'a command that touches the network heals it unasked',
  inWorld(async world => {
    await world.ok(['network', 'create', 'br'])
    await world.serve('web', ['-net', 'br', '-p', '8080:80'])
    for (const [what, script] of damages.filter(([what]) => !what.startsWith('a port'))) {
      await world.host.sh(script)
      await world.ok(['run', '--rm', '-net', 'br', 'busybox', 'true'])
      expect(await reached(world), what).toBe(true)
    }
  }),
)

test(
  'a reload of all networks mends each, leaves what is right alone, and says which it cannot',
  inWorld(async world => {
    await world.ok(['network', 'create', 'one'])
    await world.ok(['network', 'create', 'two'])
    await world.serve('web', ['-net', 'one', '-p', '8080:80'])
    const before = await world.settled()
    expect((await world.ok(['network', 'reload'])).split('\n').sort()).toEqual(['one', 'two'])
    expect(await world.changesSince(before)).toEqual([])

    await world.host.sh('ip link delete dev two; ip link add two type veth peer name other')
    const result = await world.tsrun(['network', 'reload', 'one', 'two', 'three'])
    expect(result).toMatchObject({ code: 1, stdout: 'one\n' })
    expect(result.stderr).toMatch(/"two" exists and is not tsrun's/)
    expect(result.stderr).toMatch(/no such network: "three"/)
    await world.host.sh('ip link delete dev two')
  }),
)

test(
  'masquerade follows an outer address that changes',
  inWorld(async world => {
    const { host, outside } = world
    outside.start('busybox', ['sh', '-c', pageServer('outside').replaceAll('/tmp/www', `${world.dir}/outside`)])
    await eventually('the outside serves', async () => (await outside.curl('http://127.0.0.1/')).status === 200)
    await world.ok(['run', '-d', '--name', 'client', 'busybox', 'sleep', '1000'])
    const seen = () =>
      world.ok(['exec', 'client', 'timeout', '2', 'wget', '-q', '-O', '-', `http://${addresses.server}/`])
    expect(await seen()).toBe(`outside sees ${addresses.host}`)

    await host.sh(`ip address add 198.51.100.77/24 dev eth0; ip address delete ${addresses.host}/24 dev eth0
      ip address change 198.51.100.77/24 dev eth0; ip route replace default via ${addresses.router}`)

    expect(await seen()).toBe('outside sees 198.51.100.77')
    await host.sh(`ip -4 address flush dev eth0 scope global; ip address add ${addresses.host}/24 dev eth0
      ip route add default via ${addresses.router}`)
  }),
)
