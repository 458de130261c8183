// Every step of `run` and `network create` is made to fail once and to kill the client once; nothing may stay behind.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, type Result } from '../helpers/command.ts'
import type { Snapshot } from '../helpers/snapshot.ts'
import { addresses, inWorld, World } from '../helpers/world.ts'

// Each try publishes a port of its own: what one leaves behind must not disturb the next.
const commands: [string, (port: number) => string[]][] = [
  ['run', port => `run --name victim -net br -p ${port}:80 -m 64m busybox true`.split(' ')],
  ['run -d', port => `run -d --name victim -net br -p ${port}:80 busybox sleep 1000`.split(' ')],
  ['run --rm on the default network', () => 'run --rm --name victim busybox true'.split(' ')],
  ['network create', () => 'network create --subnet 10.52.0.0/24 victim'.split(' ')],
]

/** Where the next address is looked for: advances with every try, and is nobody's. */
const ignore = [/ipam\/.*(last|next)/]

describe.each(commands)('%s', (_, command) => {
  let world: World
  let steps: string[]
  let port = 8000

  beforeAll(async () => {
    world = await World.create()
    await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
    // Once before, so that images, networks and caches stand already.
    await world.ok(['run', '--rm', '-net', 'br', '-p', '8080:80', 'busybox', 'true'])
    await world.ok(['run', '--rm', 'busybox', 'true'])
    const { stderr } = await world.tsrun(command(port), { env: { ...world.env, TSRUN_FAULT: '*' } })
    steps = [...new Set([...stderr.matchAll(/^fault point: (.*)$/gm)].map(([, step = '']) => step))]
    await clean()
  })
  // What is left is told by the tests, step by step.
  afterAll(() => world?.dispose({ leakCheck: false }))

  const clean = async () => {
    await world.tsrun(['rm', '-f', 'victim'])
    await world.tsrun(['network', 'rm', 'victim'])
  }

  /** Runs the command with a fault, then `judge`; returns its problems and what came or went, each with the step. */
  const withFault = async (kind: 'fail' | 'kill', judge: (result: Result) => Promise<string[]>): Promise<string[]> => {
    const problems: string[] = []
    let before: Snapshot = await world.settled()
    for (const step of steps) {
      port += 1
      const env = { ...world.env, TSRUN_FAULT: `${step}:${kind}` }
      const found = await world.tsrun(command(port), { env, timeoutMs: 10_000 }).then(judge, error => [error.message])
      const changes = await world.changesSince(before, { ignore })
      problems.push(...[...found, ...changes].map(problem => `${step}: ${problem}`))
      if (found.length + changes.length > 0) {
        await clean()
        before = await world.settled()
      }
    }
    return problems
  }

  test('has named steps', () => {
    expect(steps.length).toBeGreaterThan(2)
  })

  test('leaves nothing when any of its steps fails', async () => {
    const problems = await withFault('fail', async result => {
      // A fault behind the end of the command, in what is cleared away then, need not fail the command.
      if (result.code === 0) await clean()
      else if (!/injected fault/.test(result.stderr)) return [`says ${result.stderr}`]
      // Whoever failed to clear away leaves it to the next command.
      if (/cleanup failed/.test(result.stderr)) await clean()
      // Lost in a foreign namespace the process ends at once (design decision D4): the next command clears away.
      if (/"return to the host namespace"/.test(result.stderr)) await clean()
      return []
    })

    expect(problems).toEqual([])
  }, 300_000)

  test('leaves nothing that the next commands do not clean up when the client is killed at any of its steps', async () => {
    const problems = await withFault('kill', async result => {
      // nsenter executes tsrun in its own place, so its end is that of the client.
      if (result.signal !== 'SIGKILL' && result.code !== 0) return [`ended with ${result.code} ${result.stderr}`]
      const next = await world.tsrun(['run', '--rm', '-net', 'br', '-p', '9999:80', 'busybox', 'true'])
      await clean()
      return next.code === 0 ? [] : [`the next run says ${next.stderr}`]
    })

    expect(problems).toEqual([])
  }, 300_000)
})

test(
  'kill -9 of the client at any moment leaves nothing that the next command does not clean up',
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
    await world.ok(['run', '--rm', '-net', 'br', 'busybox', 'true'])
    const before = await world.settled()
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
    // A note of what is under way counts as cut off when it is some seconds old.
    await eventually(
      'a later command has cleared away',
      async () => {
        await world.ok(['ps', '-a'])
        return (await world.changesSince(before, { ignore, timeoutMs: 500 })).length === 0
      },
      15_000,
    ).catch(() => {})
    expect(await world.changesSince(before, { ignore, timeoutMs: 0 })).toEqual([])
  }),
  120_000,
)

test(
  'a container that goes on after its client was killed still serves',
  inWorld(async world => {
    const running = world.start('run --name web -p 8080:80 busybox httpd -f -p 80 -h /etc'.split(' '))
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

test(
  'a container with --rm whose start fails, or is killed, is gone with its anonymous volumes, as with docker',
  inWorld(async world => {
    const left = async () => [await world.ok(['ps', '-aq']), await world.ok(['volume', 'ls', '-q'])]
    await world.ok(['create', '--rm', '--name', 'box', '-v', '/data', 'busybox', 'nonsense'])
    const { code, stderr } = await world.tsrun(['start', 'box'])
    expect(code).toBe(1)
    expect(stderr).toContain('"nonsense" was not found')
    expect(await left()).toEqual(['', ''])

    const env = { ...world.env, TSRUN_FAULT: 'init:kill' }
    const killed = await world.tsrun('run --rm --name box -v /data -p 8080:80 busybox true'.split(' '), { env })
    expect(killed.signal).toBe('SIGKILL')
    expect(await left()).toEqual(['', ''])

    // Without --rm it stays, for another try.
    await world.ok(['create', '--name', 'box', 'busybox', 'nonsense'])
    expect((await world.tsrun(['start', 'box'])).code).toBe(1)
    expect(await world.ok(['ps', '-a', '--format', '{{.Names}} {{.Status}}'])).toBe('box Created')
  }),
)
