// Restart policies when those who keep them are killed: whoever looks next has them kept.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(() => world.tsrun(['rm', '-f', 'box']))
afterAll(() => world.dispose())

const look = async () => (await world.json(['inspect', 'box']))[0]

/** Kills a container and its monitor, so that nobody sees the end. */
async function killUnseen(pid: number): Promise<void> {
  const monitor = Number((await world.host.sh(`awk '{ print $4 }' /proc/${pid}/stat`)).trim())
  process.kill(monitor, 'SIGKILL')
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    // It may have gone with its monitor.
    expect((error as NodeJS.ErrnoException).code).toBe('ESRCH')
  }
  await eventually('both have gone', async () => !existsSync(`/proc/${pid}`) && !existsSync(`/proc/${monitor}`))
}

test('a container whose monitor was killed is started again by the next look at it', async () => {
  await world.ok(['run', '-d', '--name', 'box', '--restart', 'always', 'busybox', 'sleep', '1000'])
  const { State } = await look()
  await killUnseen(State.Pid)

  await world.ok(['ps'])

  await eventually('it runs again', async () => {
    const now = await look()
    return now.State.Running && now.State.Pid > 0 && now.State.Pid !== State.Pid
  })
  expect((await look()).RestartCount).toBe(1)
})

test('a container whose waiter was killed is started again as well, once', async () => {
  await world.ok(['run', '-d', '--name', 'box', '--restart', 'always', 'busybox', 'false'])
  const id = (await look()).Id
  // By then the waits are long enough to meet the waiter in one.
  const file = join(world.state, 'restarting', id)
  await eventually('it waits long', async () => (await look()).RestartCount >= 4 && existsSync(file))
  const { pid } = JSON.parse(readFileSync(file, 'utf8'))
  process.kill(pid, 'SIGKILL')
  await eventually('the waiter has gone', () => Promise.resolve(!existsSync(`/proc/${pid}`)))
  const before = JSON.parse(readFileSync(join(world.root, 'containers', id, 'container.json'), 'utf8')).restartCount

  await Promise.all([world.ok(['ps', '-a']), world.ok(['ps', '-a']), world.ok(['inspect', 'box'])])

  await eventually('it was tried again', async () => (await look()).RestartCount === before + 1)
})

test('what was stopped, or has no policy, stays where it is', async () => {
  await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])
  await killUnseen((await look()).State.Pid)

  await world.ok(['ps'])

  expect((await look()).State).toMatchObject({ Status: 'exited', ExitCode: 137 })
  await world.ok(['update', '--restart', 'unless-stopped', 'box'])
  await world.ok(['start', 'box'])
  await world.ok(['stop', '-t', '0', 'box'])
  await world.ok(['ps', '-a'])
  expect((await look()).State).toMatchObject({ Status: 'exited', Running: false })
})
