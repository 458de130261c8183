// Commands that meet while the rules are made anew: each is held at a step of its own until the other has done its part, and one is
// killed there. A port belongs to who is on record, and to nobody else.

import { expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { held } from '../helpers/held.ts'
import { inWorld, type World } from '../helpers/world.ts'

const run = 'run -d --name web -net br -p 8080:80 -p 8081:81/udp -p 127.0.0.1:8082:82 busybox sleep 1000'

/** Which sets of published ports have elements. */
async function published(world: World): Promise<string[]> {
  const found = await sets(world)
  return found.flatMap(({ name, elem = [] }) =>
    /^(any|addr|held|published|opened)/.test(name) && elem.length > 0 ? [name] : [],
  )
}

async function sets(world: World): Promise<NftSet[]> {
  const text = await world.host.exec('nft', ['-j', 'list', 'ruleset'])
  const { nftables } = JSON.parse(text) as { nftables: { set?: NftSet; map?: NftSet }[] }
  return nftables.flatMap(({ set, map }) => set ?? map ?? [])
}

interface NftSet {
  readonly name: string
  readonly elem?: readonly unknown[]
}

const all = ['published', 'any4', 'addr4', 'held4']

test(
  'a container that leaves its network takes its ports along, also from rules that were made anew meanwhile',
  inWorld(async world => {
    await world.ok(['network', 'create', 'br'])
    await world.ok(run.split(' '))
    const goOn = await held(world, 'network disconnect br web', 'remove endpoint rules')
    expect(await published(world)).toEqual([])
    // It waits for the container when it has made the rules anew.
    const reload = world.ok(['network', 'reload', 'br'])
    await eventually('the rules are made anew', async () => (await published(world)).length > 0)
    expect((await goOn()).code).toBe(0)
    await reload
    expect(await published(world)).toEqual([])
  }),
)

test.each([
  ['at its end', '', 0, []],
  ['by the next command, where that is killed', 'firewall rules made anew:kill', 137, all],
])('ports of a container that ends while the rules are made anew go %s', (_, further, code, left) =>
  inWorld(async world => {
    await world.ok(['network', 'create', 'br'])
    await world.ok(run.split(' '))
    expect(await published(world)).toEqual(all)
    const goOn = await held(world, 'network reload br', 'firewall records read', { further })
    await world.ok(['rm', '-f', 'web'])
    expect(await published(world)).toEqual([])
    expect((await goOn()).code).toBe(code)
    expect(await published(world)).toEqual(left)
    await world.ok(['ps'])
    expect(await published(world)).toEqual([])
  })(),
)

test(
  'ports of a start that was killed go, also where the rules are made anew while they are taken back',
  inWorld(async world => {
    await world.ok(['network', 'create', 'br'])
    const env = { ...world.env, TSRUN_FAULT: 'firewall endpoint:kill' }
    expect((await world.tsrun(run.split(' '), { env })).signal).toBe('SIGKILL')
    expect(await published(world)).toEqual(all)
    const goOn = await held(world, 'ps', 'disconnect')
    expect(await published(world)).toEqual([])
    // It waits for the container when it has made the rules anew.
    const reload = world.ok(['network', 'reload', 'br'])
    expect(await goOn()).toMatchObject({ code: 0 })
    await reload
    expect(await published(world)).toEqual([])
  }),
)

/** Which of the containers has port 8080. */
const owner = async (world: World) =>
  (await sets(world)).find(({ name }) => name === 'published')?.elem?.map(one => JSON.stringify(one))

test.each([
  [
    'a start',
    ['create', '-net', 'br', '-p', '8080:80', '--name', 'other', 'busybox', 'sleep', '1000'],
    'start other',
    'starting record',
  ],
  [
    'a change',
    ['run', '-d', '-net', 'br', '--name', 'other', 'busybox', 'sleep', '1000'],
    'update --publish-add 8080:80 other',
    'endpoint record',
  ],
] as const)(
  'whoever has a port keeps it while %s of another claims it, also in rules made anew',
  (_, prepare, command, step) =>
    inWorld(async world => {
      await world.ok(['network', 'create', 'br'])
      await world.ok(run.split(' '))
      await world.ok(prepare)
      const before = await owner(world)
      for (const damage of ['true', 'nft flush ruleset']) {
        const goOn = await held(world, command, step)
        await world.host.sh(damage)
        const reload = world.ok(['network', 'reload', 'br'])
        await eventually('the rules are there', async () => (await published(world)).length > 0)
        expect(await goOn()).toMatchObject({ code: 1, stderr: expect.stringContaining('"web"') })
        await reload
        expect(await owner(world), damage).toEqual(before)
        expect(await published(world)).toEqual(all)
      }
    })(),
)

test(
  'a start whose ports were flushed away before it was on record as running has them all the same',
  inWorld(async world => {
    await world.ok(['network', 'create', 'br'])
    const goOn = await held(world, run, 'firewall endpoint')
    await world.host.sh('nft flush ruleset')
    await world.ok(['network', 'create', 'two'])
    expect(await published(world)).toEqual([])
    expect(await goOn()).toMatchObject({ code: 0 })
    expect(await published(world)).toEqual(all)
  }),
)

test(
  'a network that is made or removed while the rules are made anew is in them, or is not',
  inWorld(async world => {
    await world.ok(['network', 'create', 'br'])
    const bridges = async () => (await sets(world)).find(({ name }) => name === 'bridges')?.elem?.length
    const made = await held(world, 'network create two', 'firewall network')
    expect(await bridges()).toBe(2)
    await world.ok(['network', 'reload', 'br'])
    expect(await bridges()).toBe(1)
    expect((await made()).code).toBe(0)
    expect(await bridges()).toBe(2)

    const reloaded = await held(world, 'network reload br', 'firewall records read')
    await world.ok(['network', 'rm', 'two'])
    expect((await reloaded()).code).toBe(0)
    expect(await bridges()).toBe(1)
  }),
)
