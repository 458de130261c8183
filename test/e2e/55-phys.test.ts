// phys: an interface of the host moves into the container and comes back as it was, however the container ends. The devices
// here are veth ends, which the kernel destroys with their namespace: harder than hardware, which it hands back.

import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, type World } from '../helpers/world.ts'

/** Gives the host further interfaces, their far ends in the neighbour's namespace. */
async function addDevices(world: World, ...names: string[]): Promise<void> {
  for (const [index, name] of names.entries()) {
    await world.host.sh(`
      ip link add ${name} type veth peer name far-${name} netns ${world.neighbour.path}
      ip link set ${name} mtu 1400 address 02:11:22:33:44:0${index} alias 'rack 7' up
      ip address add 10.90.${index}.1/24 dev ${name}; ip -6 address add fd00:90:${index}::1/64 dev ${name} nodad
      ip route add 10.91.${index}.0/24 via 10.90.${index}.2 metric 7; ip route add 10.92.${index}.0/24 dev ${name}
      ip -6 route add fd00:91:${index}::/64 via fd00:90:${index}::2`)
    await world.neighbour.sh(`ip link set far-${name} mtu 1400 up; ip address add 10.90.${index}.2/24 dev far-${name}`)
  }
  await eventually('the devices are up', async () => !(await world.host.sh('ip link')).includes('NO-CARRIER'))
}

/** All that must be as it was; the number of the interface may differ. */
async function describeDevice(world: World, name: string): Promise<string> {
  return world.host.sh(`
    ip -o link show dev ${name} | sed 's/^[0-9]*: //; s/qlen.*link/link/'
    ip -o address show dev ${name} scope global | sed 's/^[0-9]*: //'
    ip route show dev ${name} | sort; ip -6 route show dev ${name} | grep -v fe80 | sort`)
}

const create = (...more: string[]) => ['network', 'create', '-d', 'phys', '-o', 'device=nic0', ...more]

describe('a phys network', () => {
  test(
    'moves the device into the container and back: name, MTU, MAC, alias, addresses, routes, state',
    inWorld(async world => {
      await addDevices(world, 'nic0')
      const before = await describeDevice(world, 'nic0')
      await world.ok(create('--subnet', '10.90.0.0/24', '--gateway', '10.90.0.2', 'lan'))
      await world.ok('run -d --name a -net lan --ip 10.90.0.9 busybox sleep 1000'.split(' '))

      expect((await world.host.ipJson('link')).map(link => link.ifname)).not.toContain('nic0')
      const inside = await world.ok(['exec', 'a', 'ip', '-o', 'addr', 'show', 'eth0'])
      expect(inside).toContain('10.90.0.9/24')
      expect(await world.ok(['exec', 'a', 'cat', '/sys/class/net/eth0/address'])).toBe('02:11:22:33:44:00')
      expect(await world.neighbour.ping('10.90.0.9')).toBe(true)
      const [{ Kernel }] = await world.json(['network', 'inspect', 'lan'])
      expect(Kernel.devices).toEqual([{ interface: 'nic0', state: 'away' }])

      await world.ok(['stop', '-t', '0', 'a'])
      expect(await describeDevice(world, 'nic0')).toBe(before)
      await world.ok(['start', 'a'])
      expect(await world.neighbour.ping('10.90.0.9')).toBe(true)
      await world.ok(['rm', '-f', 'a'])
      expect(await describeDevice(world, 'nic0')).toBe(before)
      await world.host.sh('ip link del nic0')
    }),
  )

  test(
    'comes back when the command ends by itself and when container and monitor are killed',
    inWorld(async world => {
      await addDevices(world, 'nic0')
      const before = await describeDevice(world, 'nic0')
      await world.ok(create('lan'))
      // Without a subnet the container configures the interface itself.
      const shown = await world.ok('run --rm -net lan busybox ip -o link show eth0'.split(' '))
      expect(shown).toMatch(/eth0.*[<,]UP[,>].*mtu 1400/)
      expect(await describeDevice(world, 'nic0')).toBe(before)

      await world.ok('run -d --name a -net lan busybox sleep 1000'.split(' '))
      const [{ State }] = await world.json(['inspect', 'a'])
      process.kill(State.Pid, 'SIGKILL')
      await eventually('the device is back', async () => (await world.host.sh('ip link')).includes('nic0'))
      await eventually('all of it', async () => (await describeDevice(world, 'nic0')) === before)

      await world.ok(['start', 'a'])
      const [{ State: again }] = await world.json(['inspect', 'a'])
      const monitor = readFileSync(`/proc/${again.Pid}/stat`, 'utf8').match(/\) \S (\d+)/)?.[1]
      process.kill(Number(monitor), 'SIGKILL')
      await eventually('the container is gone', () => !existsSync(`/proc/${again.Pid}`))
      // Nobody is left to do it at once: the next command that meets the container does.
      await world.ok(['rm', '-f', 'a'])
      expect(await describeDevice(world, 'nic0')).toBe(before)
      await world.host.sh('ip link del nic0')
    }),
  )

  test(
    'finds the device again that the container has renamed and marked otherwise, and keeps a name that is taken',
    inWorld(async world => {
      await addDevices(world, 'nic0')
      const before = await describeDevice(world, 'nic0')
      await world.ok(create('lan'))
      const script = 'ip link set eth0 down; ip link set eth0 name mine; ip link set mine mtu 1300; sleep 1000'
      await world.ok([
        'run',
        '-d',
        '--name',
        'a',
        '--cap-add',
        'NET_ADMIN',
        '-net',
        'lan',
        'busybox',
        'sh',
        '-c',
        script,
      ])
      await eventually('it is renamed', async () => (await world.ok(['exec', 'a', 'ip', 'link'])).includes('mtu 1300'))

      await world.ok(['rm', '-f', 'a'])
      expect(await describeDevice(world, 'nic0')).toBe(before)

      await world.ok('run -d --name b -net lan busybox sleep 1000'.split(' '))
      await world.host.sh('ip link add nic0 type bridge')
      await world.tsrun(['stop', '-t', '0', 'b'])
      const links = (await world.host.ipJson('link')).map(link => link.ifname)
      const other = links.find(name => name.startsWith('phys'))
      // Everything but the name.
      expect(await describeDevice(world, other)).toBe(before.replaceAll('nic0', other))
      await world.ok(['rm', 'b'])
      await world.host.sh(`ip link del nic0; ip link del ${other}`)
    }),
  )

  test(
    'gives several devices to as many containers, or the one that was asked for',
    inWorld(async world => {
      await addDevices(world, 'nic0', 'nic1')
      await world.ok('network create -d phys -o device=nic0,nic1 lan'.split(' '))
      await world.ok([
        'run',
        '-d',
        '--name',
        'a',
        '--network',
        'name=lan,driver-opt=device=nic1',
        'busybox',
        'sleep',
        '1000',
      ])
      await world.ok('run -d --name b --network name=lan,driver-opt=parent=nic0 busybox sleep 1000'.split(' '))

      const macOf = (name: string) => world.ok(['exec', name, 'cat', '/sys/class/net/eth0/address'])
      expect([await macOf('a'), await macOf('b')]).toEqual(['02:11:22:33:44:01', '02:11:22:33:44:00'])
      expectError(
        await world.tsrun('run --rm --network lan busybox true'.split(' ')),
        125,
        /the host has no interface "nic0" or "nic1"\n {2}hint: .*another container has it/,
      )
      await world.ok(['rm', '-f', 'a', 'b'])
      await world.host.sh('ip link del nic0; ip link del nic1')
    }),
  )

  test(
    'a start that fails or is killed at any step leaves the device on the host as it was',
    inWorld(async world => {
      await addDevices(world, 'nic0')
      const before = await describeDevice(world, 'nic0')
      await world.ok(create('lan'))
      const steps = ['pin network namespace', 'move device', 'configure sandbox', 'running record', 'go']
      for (const fault of steps.flatMap(step => [`${step}:fail`, `${step}:kill`])) {
        const { code } = await world.tsrun('run --rm --name a -net lan busybox true'.split(' '), {
          env: { ...world.env, TSRUN_FAULT: fault },
        })
        expect(code, fault).not.toBe(0)
        await world.tsrun(['rm', '-f', 'a'])
        await world.ok(['ps', '-a'])
        expect(await describeDevice(world, 'nic0'), fault).toBe(before)
      }
      await world.host.sh('ip link del nic0')
    }),
  )

  test(
    'refuses what would cut the host off, and says why',
    inWorld(async world => {
      await addDevices(world, 'nic0')
      await world.host.sh(
        'ip link add sw type bridge; ip link add inbr type veth peer name other; ip link set inbr master sw',
      )
      const refused: [string, RegExp][] = [
        ['-o device=eth0', /"eth0" is the host's way out: its default route goes there/],
        ['-o device=inbr', /"inbr" is part of a bridge or bond/],
        ['-o device=sw', /"sw" is a bridge, which cannot move/],
        ['-o device=lo', /"lo" is no interface name/],
        ['-o device=abcdefghijklmnop', /"abcdefghijklmnop" is no interface name/],
        ['', /it has no device\n {2}hint: .*-o device=eth1,eth2/],
        ['-o device=nic0 -o mtu=3', /unknown option "mtu"/],
      ]
      for (const [flags, message] of refused)
        expectError(await world.tsrun(`network create -d phys ${flags} new`.split(/ +/)), 1, message)

      await world.ok(create('lan'))
      expectError(await world.tsrun(create('again')), 1, /"nic0" belongs to network "lan"/)
      expectError(
        await world.tsrun('run --rm -p 80:80 -net lan busybox true'.split(' ')),
        125,
        /no port can be published through a phys network/,
      )
      await world.host.sh('ip link del nic0')
      expectError(
        await world.tsrun('run --rm -net lan busybox true'.split(' ')),
        125,
        /the host has no interface "nic0"/,
      )
      await world.host.sh('ip link del sw; ip link del inbr')
      expect(await world.host.ping(addresses.neighbour)).toBe(true)
    }),
  )
})
