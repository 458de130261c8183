// Networks and commands that meet: one stands still half-way, another does its part, and the first goes on with what it knew.

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { held, heldBefore, isDead, isStopped, monitorOf } from '../helpers/held.ts'
import { inWorld, type World } from '../helpers/world.ts'

const create = 'network create --subnet 10.51.0.0/24'
const lockOf = (world: World, network: string) => join(world.state, 'locks', `network-${network}`)

test(
  'rm removes the network that it found, and not another that has got its name and subnet since',
  inWorld(async world => {
    await world.line(`${create} br`)
    const first = await held(world, 'network rm br', 'job entered')
    const second = await heldBefore(world, 'network rm br', lockOf(world, 'br'))
    expect((await first()).code).toBe(0)
    await world.line(`${create} br`)
    expect(await second()).toMatchObject({ code: 1, stderr: expect.stringContaining('no such network: "br"') })
    await world.line('run --rm -net br busybox true')
  }),
)

test(
  'prune passes over a network that somebody else removes meanwhile',
  inWorld(async world => {
    for (const name of ['one', 'other', 'third']) await world.line(`network create ${name}`)
    const prune = await held(world, 'network prune -f', 'network record removed')
    await world.line('network rm other')
    expect(await prune()).toMatchObject({ code: 0, stderr: '' })
    expect(await world.line('network ls -q --filter type=custom')).toBe('')
  }),
)

test(
  'a removal that was cut off is finished without the pool and the rules of who has the subnet now',
  inWorld(async world => {
    await world.line(`${create} br`)
    // With it the rules stand all the time.
    await world.line('network create other')
    const removal = await held(world, 'network rm br', 'pool released')
    const creation = await heldBefore(world, `${create} br`, lockOf(world, 'br'), {
      further: 'add bridge:stop',
    })
    process.kill(removal.pid, 'SIGKILL')
    process.kill(creation.pid, 'SIGCONT')
    await eventually('the creation has the lock', () => isStopped(creation.pid))
    const finisher = await heldBefore(world, 'ps', lockOf(world, 'br'))
    expect((await creation()).code).toBe(0)
    const rules = await world.host.exec('nft', ['list', 'ruleset'])
    expect((await finisher()).code).toBe(0)
    expect(await world.host.exec('nft', ['list', 'ruleset'])).toBe(rules)
    await world.line('run --rm -net br busybox true')
  }),
)

test(
  'a removal that was cut off is finished while another network takes the subnet',
  inWorld(async world => {
    await world.line(`${create} br`)
    const removal = await held(world, 'network rm br', 'pool released')
    const creation = await held(world, `${create} other`, 'add bridge')
    process.kill(removal.pid, 'SIGKILL')
    await removal()
    const finisher = await heldBefore(world, 'ps', join(world.state, 'locks', 'pools'))
    expect((await creation()).code).toBe(0)
    expect((await finisher()).code).toBe(0)
    await world.line('run --rm -net other busybox true')
  }),
)

test(
  'rm waits for whoever gives back what a container has held, and does it itself where nobody does',
  inWorld(async world => {
    await world.line('network create br')
    const id = await world.line('run -d --name web -net br busybox sleep 1000')
    const kill = await held(world, 'kill web', 'kill leftovers')
    const removal = await heldBefore(world, 'network rm br', join(world.root, 'containers', id))
    expect((await kill()).code).toBe(0)
    expect(await removal()).toMatchObject({ code: 0, stderr: '' })

    await world.line('network create br')
    await world.line('start web')
    const pid = Number(await world.line('inspect -f {{.State.Pid}} web'))
    process.kill(monitorOf(pid), 'SIGKILL')
    await eventually('it has died with its monitor', () => isDead(pid))
    await world.line('network rm br')
  }),
)

test(
  'starts that find all addresses taken say so at once: they do not wait for each other',
  inWorld(async world => {
    await world.line('network create --subnet 10.51.0.0/30 br')
    for (const name of ['one', 'other']) await world.line(`run --name ${name} -net br busybox true`)
    await world.line('run -d -net br busybox sleep 1000')
    const starts = [
      await held(world, 'start one', 'network namespace'),
      await held(world, 'start other', 'network namespace'),
    ]
    for (const { code, stderr } of await Promise.all(starts.map(start => start())))
      expect([code, stderr]).toEqual([1, expect.stringContaining('all 1 are taken')])
  }),
)

test(
  'a MAC address that two containers ask for at the same time is not given to both',
  inWorld(async world => {
    await world.line('network create br')
    for (const name of ['one', 'other'])
      await world.line(`create --name ${name} -net br --mac-address 02:00:00:00:00:11 busybox sleep 1000`)
    const start = await held(world, 'start one', 'address')
    await world.line('start other')
    expect(await start()).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('cannot use the MAC address 02:00:00:00:00:11 for "one": "other" has it'),
    })
  }),
)

test(
  'a start whose network is removed meanwhile says which, and leaves nothing',
  inWorld(async world => {
    await world.line(`${create} br`)
    await world.line('create --name web -net br busybox true')
    const start = await held(world, 'start web', 'address')
    await world.line('network rm br')
    expect(await start()).toMatchObject({ code: 1, stderr: expect.stringContaining('no such network: "br"') })
  }),
)
