// Healthchecks: probes inside the container, and what ps, inspect and events say about them.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually, sleep } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(() => world.tsrun(['rm', '-f', 'box']))
afterAll(() => world.dispose())

const start = (flags: string[], script = 'sleep 1000') =>
  world.ok(['run', '-d', '--name', 'box', ...flags, 'busybox', 'sh', '-c', script])
const health = () => world.ok(['inspect', '-f', '{{.State.Health.Status}}', 'box'])
const shown = () => world.ok(['ps', '--format', '{{.Status}}'])

describe('--health-cmd', () => {
  test('starting, then unhealthy, then healthy, as ps, inspect and events show', async () => {
    await start(['--health-cmd', 'cat /ok', '--health-interval', '200ms', '--health-retries', '2'])
    expect(await health()).toBe('starting')
    expect(await shown()).toMatch(/\(health: starting\)$/)

    await eventually('it is unhealthy', async () => (await health()) === 'unhealthy')
    expect(await shown()).toMatch(/\(unhealthy\)$/)
    await world.ok(['exec', 'box', 'sh', '-c', 'echo fine > /ok'])
    await eventually('it is healthy', async () => (await health()) === 'healthy')

    expect(await shown()).toMatch(/\(healthy\)$/)
    expect(await world.ok(['ps', '-q', '-f', 'health=healthy'])).not.toBe('')
    const [{ State }] = await world.json(['inspect', 'box'])
    expect(State.Health.FailingStreak).toBe(0)
    expect(State.Health.Log.at(-1)).toMatchObject({ ExitCode: 0, Output: 'fine\n' })
    expect(State.Health.Log.length).toBeLessThanOrEqual(5)
    const events = ['events', '--since', '1m', '--until', '0s', '-f', 'event=health_status', '--format', '{{.Action}}']
    expect(await world.ok(events)).toBe('health_status: unhealthy\nhealth_status: healthy')
  })

  test('a probe that takes too long is a failure, and is ended', async () => {
    await start([
      '--health-cmd',
      'echo slow; sleep 77',
      '--health-interval',
      '200ms',
      '--health-timeout',
      '200ms',
      '--health-retries',
      '1',
    ])

    await eventually('it is unhealthy', async () => (await health()) === 'unhealthy')

    const [{ State }] = await world.json(['inspect', 'box'])
    expect(State.Health.Log[0]).toMatchObject({ ExitCode: -1 })
    expect(State.Health.Log[0].Output).toContain('exceeded timeout')
    await world.ok(['pause', 'box'])
    expect((await world.ok(['top', 'box'])).split('sleep 77').length).toBeLessThanOrEqual(3)
  })

  test('failures in the start period do not count', async () => {
    await start([
      ...['--health-cmd', 'false', '--health-interval', '100ms', '--health-retries', '1'],
      ...['--health-start-period', '1m', '--health-start-interval', '100ms'],
    ])

    await eventually('it was probed', async () => {
      const [{ State }] = await world.json(['inspect', 'box'])
      return State.Health.Log.length >= 2
    })
    expect(await health()).toBe('starting')
  })

  test('what probes it ends with the container, is small, and starts again with it', async () => {
    const id = await start(['--health-cmd', 'true', '--health-interval', '30s'])
    const { pid } = JSON.parse(readFileSync(join(world.state, 'containers', id, 'health-loop.json'), 'utf8'))
    expect(Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])).toBeLessThan(2000)

    await world.ok(['stop', '-t', '0', 'box'])

    await eventually('the loop has ended', () => !existsSync(`/proc/${pid}`))
    await world.ok(['start', 'box'])
    expect(await health()).toBe('starting')
  })

  test('a paused container is not probed', async () => {
    await start(['--health-cmd', 'echo x >> /probes', '--health-interval', '100ms'])
    await eventually('it is healthy', async () => (await health()) === 'healthy')
    await world.ok(['pause', 'box'])
    await sleep(200)
    const [before] = await world.json(['inspect', 'box'])
    await sleep(400)

    const [after] = await world.json(['inspect', 'box'])
    expect(after.State.Health).toEqual(before.State.Health)
  })
})

test.each([
  [['--health-interval', 'soon'], /"soon" for --health-interval/],
  [['--no-healthcheck', '--health-cmd', 'true'], /--no-healthcheck/],
])('%j is refused', async (flags, message) => {
  expectError(await world.tsrun(['run', ...flags, 'busybox', 'true']), 125, message)
  expect(readdirSync(join(world.state, 'containers'))).toEqual([])
})
