// Every step of `run` and `network create` is made to fail once and to kill the client once; nothing may stay behind.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { addresses, inWorld, World } from '../helpers/world.ts'

const commands: [string, string[]][] = [
  ['run', ['run', '--name', 'victim', '-net', 'br', '-p', '8080:80', '-m', '64m', 'busybox', 'true']],
  ['run -d', ['run', '-d', '--name', 'victim', '-net', 'br', '-p', '8080:80', 'busybox', 'sleep', '1000']],
  ['run --rm on the default network', ['run', '--rm', '--name', 'victim', 'busybox', 'true']],
  ['network create', ['network', 'create', '--subnet', '10.52.0.0/24', 'victim']],
]

/** Where the next address is looked for: advances with every try, and is nobody's. */
const ignore = [/ipam\/.*(last|next)/]

describe.each(commands)('%s', (_, command) => {
  let world: World
  let steps: string[]

  beforeAll(async () => {
    world = await World.create()
    await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
    // Once before, so that images, networks and caches stand already.
    await world.ok(['run', '--rm', '-net', 'br', '-p', '8080:80', 'busybox', 'true'])
    await world.ok(['run', '--rm', 'busybox', 'true'])
    const { stderr } = await world.tsrun(command, { env: { ...world.env, TSRUN_FAULT: '*' } })
    steps = [...stderr.matchAll(/^fault point: (.*)$/gm)].map(([, step = '']) => step)
    await clean()
  })
  afterAll(() => world.dispose())

  const clean = async () => {
    await world.tsrun(['rm', '-f', 'victim'])
    await world.tsrun(['network', 'rm', 'victim'])
  }

  test('has named steps', () => {
    expect(steps.length).toBeGreaterThan(2)
  })

  test('leaves nothing when any of its steps fails', async () => {
    const before = await world.snapshot()
    const problems: string[] = []

    for (const step of new Set(steps)) {
      const result = await world.tsrun(command, { env: { ...world.env, TSRUN_FAULT: `${step}:fail` } })

      const changes = await world.changesSince(before, { ignore })
      if (result.code === 0) {
        // A step after the last one that counts, such as a clean-up that is reported and gone on from.
        await clean()
      } else {
        if (!/injected fault/.test(result.stderr)) problems.push(`${step}: says ${result.stderr}`)
        problems.push(...changes.map(change => `${step}: ${change}`))
      }
      if (changes.length > 0) await clean()
    }

    expect(problems).toEqual([])
  }, 240_000)

  test('leaves nothing that the next commands do not clean up when the client is killed at any of its steps', async () => {
    const before = await world.snapshot()
    const problems: string[] = []

    for (const step of new Set(steps)) {
      const result = await world.tsrun(command, { env: { ...world.env, TSRUN_FAULT: `${step}:kill` } })
      // nsenter executes tsrun in its own place, so its end is that of the client.
      if (result.signal !== 'SIGKILL' && result.code !== 0)
        problems.push(`${step}: ended with ${result.code} ${result.stderr}`)

      // The next command that touches what was under way: with the same name, so that it would meet its remains.
      const again = await world.tsrun(['run', '--rm', '-net', 'br', '-p', '8080:80', 'busybox', 'true'])
      const existing = (await world.tsrun(['ps', '-aq', '--filter', 'name=victim'])).stdout
      if (again.code !== 0 && existing === '') problems.push(`${step}: the next run says ${again.stderr}`)
      await clean()

      problems.push(...(await world.changesSince(before, { ignore })).map(change => `${step}: ${change}`))
    }

    expect(problems).toEqual([])
  }, 240_000)
})

test(
  'kill -9 of the client at any moment leaves nothing that the next command does not clean up',
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
    await world.ok(['run', '--rm', '-net', 'br', 'busybox', 'true'])
    const before = await world.snapshot()
    const command = ['run', '--rm', '--name', 'victim', '-net', 'br', '-p', '8080:80', 'busybox', 'sleep', '0.01']
    const started = Date.now()
    await world.ok(command)
    const wholeMs = Date.now() - started

    for (let n = 0; n < 25; n++) {
      const running = world.start(command)
      await new Promise(resolve => setTimeout(resolve, (wholeMs * n) / 25))
      running.kill('SIGKILL')
      await running.result
    }

    await eventually(
      'the next command works',
      async () => (await world.tsrun(command.map(word => (word === 'victim' ? 'next' : word)))).code === 0,
    )
    await world.tsrun(['rm', '-f', 'victim'])
    expect(await world.changesSince(before, { ignore, timeoutMs: 10_000 })).toEqual([])
  }),
  120_000,
)

test(
  'a container that goes on after its client was killed still serves',
  inWorld(async world => {
    const running = world.start([
      'run',
      '--name',
      'web',
      '-p',
      '8080:80',
      'busybox',
      'httpd',
      '-f',
      '-p',
      '80',
      '-h',
      '/etc',
    ])
    await eventually(
      'it serves',
      async () => (await world.outside.curl(`http://${addresses.host}:8080/passwd`)).status === 200,
    )

    running.kill('SIGKILL')
    await running.result

    expect(await world.ok(['ps', '--format', '{{.Names}}'])).toBe('web')
    expect((await world.outside.curl(`http://${addresses.host}:8080/passwd`)).status).toBe(200)
  }),
)
