// Somebody flushes the nftables rules in a container's own namespace, which takes away what leads port 53 to the resolver: names are
// back with `network reload`, or for the next exec.

import { expect, test } from 'vitest'
import { succeed } from '../helpers/command.ts'
import { inWorld, type World } from '../helpers/world.ts'

async function inside(world: World, name: string, ...command: string[]): Promise<string> {
  const [{ State }] = await world.json(['inspect', name])
  return succeed(['nsenter', '-t', String(State.Pid), '-n', ...command])
}

/** Asks by the container's namespace alone: an exec would mend it. */
async function knows(world: World, name: string): Promise<boolean> {
  const answer = await inside(world, 'asker', 'sh', '-c', `timeout 3 busybox nslookup ${name} 127.0.0.11 2>&1 || true`)
  return answer.includes('Address 1: 10.1.0.') || /Address: 10\.1\.0\./.test(answer)
}

test.each([
  ['all of them', 'nft flush ruleset'],
  ['the rules of one chain', 'nft flush chain ip tsrun-dns answer'],
  [
    'one rule',
    'nft delete rule ip tsrun-dns ask handle $(nft -a list chain ip tsrun-dns ask | sed -n "s/.*udp.*handle //p")',
  ],
])('names come back when somebody has flushed %s', (_what, damage) =>
  inWorld(async world => {
    await world.ok('network create --subnet 10.1.0.0/24 br'.split(' '))
    for (const name of ['asker', 'web'])
      await world.ok(`run -d --name ${name} --network br busybox sleep 1000`.split(' '))
    expect(await knows(world, 'web')).toBe(true)
    const sockets = await inside(world, 'asker', 'ss', '-Hlntu')

    // Nothing is done where nothing is wrong: the sockets are the same ones.
    const inode = async () => (await inside(world, 'asker', 'ss', '-Hlnue')).match(/ino:(\d+)/)?.[1]
    const before = await inode()
    await world.ok(['network', 'reload', 'br'])
    await world.ok(['exec', 'asker', 'true'])
    expect(await inode()).toBe(before)

    await inside(world, 'asker', 'sh', '-ec', damage)
    expect(await knows(world, 'web')).toBe(false)
    expect((await world.tsrun(['network', 'doctor', 'asker'])).stdout).toContain('tsrun network reload br')
    await world.ok(['network', 'reload', 'br'])
    expect(await knows(world, 'web')).toBe(true)
    expect((await world.tsrun(['network', 'doctor', 'asker'])).code).toBe(0)

    await inside(world, 'asker', 'sh', '-ec', damage)
    expect(await world.ok(['exec', 'asker', 'ping', '-c', '1', '-W', '2', 'web'])).toContain('1 packets received')
    expect(await inside(world, 'asker', 'ss', '-Hlntu').then(text => text.split('\n').length)).toBe(
      sockets.split('\n').length,
    )
  })(),
)
