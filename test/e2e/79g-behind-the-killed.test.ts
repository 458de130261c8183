// Commands that waited for another one which is killed: they go on from what that has left, before anybody has seen to it.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { held, heldBefore } from '../helpers/held.ts'
import { inWorld, type World } from '../helpers/world.ts'

/** Has `killed` die behind `step` while `command` waits for the container, and that go on. */
async function behindKilled(world: World, id: string, { killed, step, command }: Record<string, string>) {
  const first = await held(world, killed ?? '', step ?? '')
  const second = await heldBefore(world, command ?? '', join(world.root, 'containers', id))
  process.kill(first.pid, 'SIGKILL')
  expect((await first()).code).toBe(137)
  expect(await second()).toMatchObject({ code: 0, stderr: '' })
}

/** The addresses of a pool that a container has in the books. */
function addressesIn(world: World, pool: string, id: string): string[] {
  const folder = join(world.root, 'ipam', pool)
  return readdirSync(folder).filter(name => /^[\d.]+$/.test(name) && readlinkSync(join(folder, name)) === id)
}

function endpointsOf(world: World, id: string): string[][] {
  const record = JSON.parse(readFileSync(join(world.state, 'containers', id, 'run.json'), 'utf8'))
  return record.endpoints.map((endpoint: { readonly addresses: readonly string[] }) => endpoint.addresses)
}

test.each(['run folder', 'address', 'starting record'])(
  'a start takes over what one has left that was killed behind "%s"',
  step =>
    inWorld(async world => {
      await world.line('network create --subnet 10.51.0.0/24 br')
      const id = await world.line('create --name web -net br -p 8080:80 busybox sleep 1000')
      await behindKilled(world, id, { killed: 'start web', step, command: 'start web' })
      const [address = ''] = addressesIn(world, '10.51.0.0_24', id)
      expect(await world.addressOf('web')).toBe(address)
      expect(addressesIn(world, '10.51.0.0_24', id)).toEqual([address])
      await world.line('rm -f web')
      expect(addressesIn(world, '10.51.0.0_24', id)).toEqual([])
    })(),
)

test.each(['write container.json', 'remove link'])(
  'a container that joins a network is on it once, behind a disconnect that was killed behind "%s"',
  step =>
    inWorld(async world => {
      await world.line('network create --subnet 10.51.0.0/24 br')
      await world.line('network create --subnet 10.52.0.0/24 other')
      const id = await world.line('run -d --name web -net br -net other busybox sleep 1000')
      const killed = 'network disconnect other web'
      await behindKilled(world, id, { killed, step, command: 'network connect other web' })
      const address = await world.addressOf('web', 'other')
      expect(endpointsOf(world, id)).toEqual([['10.51.0.2/24'], [`${address}/24`]])
      expect(addressesIn(world, '10.52.0.0_24', id)).toEqual([address])
      expect(await world.line('exec web ip -4 -o address')).toContain(`${address}/24`)
    })(),
)

test.each(['write run.json', 'add veth'])(
  'a container joins a network behind a connect to another one that was killed behind "%s"',
  step =>
    inWorld(async world => {
      for (const [n, name] of ['br', 'half', 'whole'].entries())
        await world.line(`network create --subnet 10.5${n + 1}.0.0/24 ${name}`)
      const id = await world.line('run -d --name web -net br busybox sleep 1000')
      await behindKilled(world, id, { killed: 'network connect half web', step, command: 'network connect whole web' })
      expect(endpointsOf(world, id)).toEqual([['10.51.0.2/24'], ['10.53.0.2/24']])
      expect(addressesIn(world, '10.52.0.0_24', id)).toEqual([])
    })(),
)

test(
  'a container whose start was killed when it ran is probed all the same, from the next command on',
  inWorld(async world => {
    const run = 'run -d --name web --health-cmd true --health-interval 100ms busybox sleep 1000'
    const env = { ...world.env, TSRUN_FAULT: 'go:kill' }
    expect((await world.tsrun(run.split(' '), { env })).signal).toBe('SIGKILL')
    await world.line('ps')
    const health = async () => (await world.json(['inspect', 'web']))[0].State.Health?.Status
    await eventually('it is probed', async () => (await health()) === 'healthy')
    await world.line('rm -f web')
    await world.line('network rm bridge')
  }),
)

test(
  'half the mark of a restart that is killed goes with the next command',
  inWorld(async world => {
    const marks = () => readdirSync(join(world.state, 'restarting'))
    await world.line('run -d --name web busybox sleep 1000')
    const env = { ...world.env, TSRUN_FAULT: 'draft by id:kill' }
    expect((await world.tsrun(['restart', '-t', '0', 'web'], { env })).signal).toBe('SIGKILL')
    expect(marks()).toHaveLength(1)
    await world.line('ps')
    expect(marks()).toEqual([])
    await world.line('rm -f web')
    await world.line('network rm bridge')
  }),
)
