// Containers and commands that meet: one stands still half-way, another does its part, and the first goes on with what it knew.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually, sleep } from '../helpers/command.ts'
import { held, heldBefore, isDead, isStopped, monitorOf, stopsBefore } from '../helpers/held.ts'
import { inWorld, type World } from '../helpers/world.ts'

const folderOf = (world: World, id: string) => join(world.root, 'containers', id)
const runFolderOf = (world: World, id: string) => join(world.state, 'containers', id)
const pidOf = async (world: World, name: string) => Number(await world.line(`inspect -f {{.State.Pid}} ${name}`))
const eventsOf = (world: World, action: string) =>
  world.line(`events --since 1h --until 0s --filter event=${action} --format {{.Type}}:{{.Actor.Attributes.exitCode}}`)
const statusOf = (world: World, name: string) => world.line(`inspect -f {{.State.Status}} ${name}`)

const isFree = async (world: World, path: string) =>
  (await world.host.sh(`flock -n ${path} true && echo free || true`)).includes('free')

/** Kills the monitor of a container, which takes it along, so that nobody sees to its end. */
async function killMonitor(world: World, name: string): Promise<void> {
  const pid = await pidOf(world, name)
  process.kill(monitorOf(pid), 'SIGKILL')
  await eventually('it has died with its monitor', () => isDead(pid))
}

test.each(['container folder', 'container name'])('a prune leaves a container alone that is being made (%s)', step =>
  inWorld(async world => {
    const create = await held(world, 'create --name web busybox true', step)
    const prune = world.tsrun(['system', 'prune', '-f'])
    await eventually('the prune has looked at the containers', async () =>
      (await eventsOf(world, 'prune')).startsWith('container'),
    )
    expect(await create()).toMatchObject({ code: 0, stderr: '' })
    expect((await prune).code).toBe(0)
    expect(await world.line('ps -a --format {{.Names}}')).toBe('web')
    await world.line('start web')
  })(),
)

test(
  'a prune leaves a container alone that `run` has made and is about to start',
  inWorld(async world => {
    const run = await held(world, 'run --name web busybox true', 'container record')
    const [id = ''] = readdirSync(join(world.root, 'containers'))
    const folder = folderOf(world, id)
    const lock = world.host.start('flock', [folder, 'cat'])
    await eventually('it is locked', async () => !(await isFree(world, folder)))
    process.kill(run.pid, 'SIGCONT')
    await eventually('the start waits', () => stopsBefore(run.pid, folder))
    lock.endInput()
    await lock.result
    expect(await world.line('container prune -f')).not.toContain(id)
    expect(await run()).toMatchObject({ code: 0, stderr: '' })
    expect(await world.line('container prune -f')).toContain(id)
    await world.line('network rm bridge')
  }),
)

test(
  'a stop leaves a container the address that it was given while it was ending',
  inWorld(async world => {
    await world.line('network create --subnet 10.51.0.0/24 br')
    await world.line('network create --subnet 10.52.0.0/24 other')
    // Process 1 of a namespace is not ended by signals that it does not handle.
    await world.line('run -d --name web -net br busybox sleep 1000')
    const stop = world.start('stop -t 2 web'.split(' '))
    await eventually('it has been asked', async () => (await eventsOf(world, 'kill')) !== '')
    await world.line('network connect --ip 10.52.0.50 other web')
    expect((await stop.result).code).toBe(0)
    expect(await world.tsrun('run --rm -net other --ip 10.52.0.50 busybox true'.split(' '))).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('cannot use address 10.52.0.50: it is held by "web"'),
    })
    await world.line('start web')
    expect(await world.addressOf('web', 'other')).toBe('10.52.0.50')
  }),
)

test(
  'a start waits until the monitor of the last life has let go of its ports and told how that ended',
  inWorld(async world => {
    await world.line('network create br')
    const script = 'trap "exit 7" TERM; echo ready; while :; do sleep 0.1; done'
    const id = await world.ok(
      ['run', '-d', '--name', 'web', '-net', 'br', '-p', '8080:80', 'busybox', 'sh', '-c'].concat(script),
    )
    await eventually('it runs', async () => (await world.line('logs web')) === 'ready')
    const pid = await pidOf(world, 'web')
    const monitor = monitorOf(pid)
    process.kill(monitor, 'SIGSTOP')
    await eventually('its monitor stands', () => isStopped(monitor))
    process.kill(pid, 'SIGTERM')
    await eventually('it has ended', () => isDead(pid))
    const start = world.tsrun(['start', 'web'])
    await sleep(500)
    process.kill(monitor, 'SIGCONT')
    expect(await start).toMatchObject({ code: 0, stderr: '' })
    expect(await eventsOf(world, 'die')).toBe('container:7')
    expect(existsSync(join(folderOf(world, id), 'exit.json'))).toBe(false)
  }),
)

test(
  'whoever waits for a container whose monitor is killed is told that it was killed',
  inWorld(async world => {
    const run = world.start('run --name web busybox sleep 1000'.split(' '))
    await eventually('it runs', async () => (await world.line('ps --format {{.Names}}')) === 'web')
    const wait = world.start(['wait', 'web'])
    await sleep(300)
    await killMonitor(world, 'web')
    expect((await run.result).code).toBe(137)
    expect((await wait.result).stdout).toBe('137\n')
    await world.line('network rm bridge')
  }),
)

test(
  'a container with --rm whose monitor was killed goes with the next look at it',
  inWorld(async world => {
    await world.line('run -d --rm --name web busybox sleep 1000')
    await killMonitor(world, 'web')
    expect(await world.line('ps -a --format {{.Names}}')).toBe('')
    await world.line('run --rm --name web busybox true')
    await world.line('network rm bridge')
  }),
)

test(
  'a restart keeps a container with --rm, whose client sees its end meanwhile; a restart that is killed does not',
  inWorld(async world => {
    const client = world.start('run --rm --name web busybox sleep 1000'.split(' '))
    await eventually('it runs', async () => (await world.line('ps --format {{.Names}}')) === 'web')
    const restart = await held(world, 'restart -t 0 web', 'remove cgroup parent')
    await sleep(300)
    expect(await restart()).toMatchObject({ code: 0, stderr: '' })
    expect((await client.result).code).toBe(137)
    expect(await statusOf(world, 'web')).toBe('running')

    const killed = await held(world, 'restart -t 0 web', 'remove cgroup parent')
    process.kill(killed.pid, 'SIGKILL')
    await killed()
    expect(await world.line('ps -a --format {{.Names}}')).toBe('')
    await world.line('network rm bridge')
  }),
)

test(
  'a kill that waits for a restart ends the new life, and gives back what that has held',
  inWorld(async world => {
    const id = await world.line('run -d --name web busybox sleep 1000')
    const restart = await held(world, 'restart -t 0 web', 'write container.json')
    const kill = await heldBefore(world, 'kill web', folderOf(world, id))
    expect((await restart()).code).toBe(0)
    expect(await kill()).toMatchObject({ code: 0, stderr: '' })
    expect(existsSync(runFolderOf(world, id))).toBe(false)
    expect(await statusOf(world, 'web')).toBe('exited')
    await world.line('rm web')
    await world.line('network rm bridge')
  }),
)

test(
  'who waits to start a container again leaves it to the next one who waits, where it was started by hand meanwhile',
  inWorld(async world => {
    const id = await world.line('run -d --name web --restart always busybox sleep 1000')
    // As after some failures, so that they wait for 2 s and for a minute.
    const waitsLonger = (delay: number) => {
      const file = join(folderOf(world, id), 'container.json')
      writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), restartDelayMs: delay }))
    }
    const waiter = () => Number(JSON.parse(readFileSync(join(world.state, 'restarting', id), 'utf8')).pid)
    const endWaiting = async (delay: number) => {
      waitsLonger(delay)
      process.kill(await pidOf(world, 'web'), 'SIGKILL')
      await eventually('it waits', async () => (await statusOf(world, 'web')) === 'restarting')
      return waiter()
    }
    const first = await endWaiting(1000)
    process.kill(first, 'SIGSTOP')
    await world.line('start web')
    const second = await endWaiting(30_000)
    expect(second).not.toBe(first)
    await sleep(1500)
    process.kill(first, 'SIGCONT')
    await eventually('the first one has ended', () => isDead(first))
    expect(await statusOf(world, 'web')).toBe('restarting')
    expect(waiter()).toBe(second)
    await world.line('rm -f web')
    await world.line('network rm bridge')
  }),
)

test.each(['exec init', 'exec ready', 'exec client'])('an exec behind "%s" says that its container has ended', step =>
  inWorld(async world => {
    await world.line('run -d --name web busybox sleep 1000')
    const exec = await held(world, 'exec web sleep 1000', step)
    await world.line('rm -f web')
    expect(await exec()).toMatchObject({ code: 1, stderr: 'tsrun: cannot exec in "web": it has just ended\n' })
    await world.line('network rm bridge')
  })(),
)

test.each([
  ['bridge', ''],
  ['macvlan', '-d macvlan -o parent=eth0 '],
])('who shares the network of a container loses its %s link and its address at the end of that', (_, flags) =>
  inWorld(async world => {
    await world.line(`network create ${flags}--subnet 10.51.0.0/24 net`)
    await world.line('run -d --name owner -net net --ip 10.51.0.7 busybox sleep 1000')
    await world.line('run -d --name guest --network container:owner busybox sleep 1000')
    expect(await world.line('exec guest ip -4 address')).toContain('10.51.0.7/24')
    await world.line('rm -f owner')
    expect(await world.line('exec guest ip -4 address')).not.toContain('10.51.0.7')
    expect(await world.host.sh('ip -d link show type veth')).not.toMatch(/^\d+: veth/m)
  })(),
)

test.each(['starting record', 'write config.json'])(
  'a start in the network of a container that ends meanwhile fails and leaves nothing (%s)',
  step =>
    inWorld(async world => {
      await world.line('run -d --name owner busybox sleep 1000')
      const start = await held(world, 'run -d --name guest --network container:owner busybox sleep 1000', step)
      await world.line('kill owner')
      expect(await start()).toMatchObject({
        code: 125,
        stderr: expect.stringContaining('cannot start "guest" in the net namespace of "owner": it has just ended'),
      })
      expect(await world.line('ps -a --format {{.Names}}')).toBe('owner')
      await world.line('rm owner')
      await world.line('network rm bridge')
    })(),
)
