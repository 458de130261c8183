// Restart policies: no daemon watches, and still a container comes back.

import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually, sleep } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(() => world.tsrun(['rm', '-f', 'box', 'other', 'third']))
afterAll(() => world.dispose())

const start = (policy: string, script: string) =>
  world.ok(['run', '-d', '--name', 'box', '--restart', policy, 'busybox', 'sh', '-c', script])
const inspect = (template: string) => world.ok(['inspect', '-f', template, 'box'])
const runs = async () => (await world.ok(['logs', 'box'])).split('\n').filter(Boolean).length

describe('--restart', () => {
  test('on-failure:2 tries three times in all', async () => {
    await start('on-failure:2', 'echo run; exit 3')

    await eventually('it has given up', async () => (await inspect('{{.RestartCount}}')) === '2')
    await eventually('it has ended', async () => (await inspect('{{.State.Status}}')) === 'exited')

    await sleep(300)
    expect(await runs()).toBe(3)
    expect(await inspect('{{.State.ExitCode}}')).toBe('3')
  })

  test('on-failure leaves a success alone', async () => {
    await start('on-failure', 'echo run')
    await world.tsrun(['wait', 'box'])

    await sleep(400)
    expect(await runs()).toBe(1)
  })

  test('always starts it again, later each time', async () => {
    await start('always', 'cat /proc/uptime; exit 0')

    await eventually('it has run four times', async () => (await runs()) >= 4)

    const times = (await world.ok(['logs', 'box'])).split('\n').map(line => Number(line.split(' ')[0]))
    const gaps = times.slice(1, 4).map((time, index) => time - (times[index] ?? 0))
    expect(gaps[0]).toBeGreaterThan(0.09)
    expect(gaps[1]).toBeGreaterThan(0.19)
    expect(gaps[2]).toBeGreaterThan(0.39)
  })

  test('a container that waits is listed as restarting', async () => {
    await start('always', 'exit 7')

    await eventually('it waits', async () =>
      /^Restarting \(7\) .* ago$/.test(await world.ok(['ps', '--format', '{{.Status}}'])),
    )
    await eventually(
      'inspect says so',
      async () => (await inspect('{{.State.Restarting}} {{.State.Running}}')) === 'true true',
    )
  })

  test.each([['stop'], ['rm -f']])('%s during the wait wins', async verb => {
    await start('always', 'echo run; exit 1')
    await eventually('it has run four times', async () => (await runs()) >= 4)

    const begun = Date.now()
    await world.ok([...verb.split(' '), 'box'])

    expect(Date.now() - begun).toBeLessThan(1000)
    await sleep(1000)
    expect(await world.ok(['ps', '-q'])).toBe('')
    expect(readdirSync(join(world.state, 'restarting'))).toEqual([])
  })

  test('always leaves one alone that was stopped or killed', async () => {
    for (const verb of [['stop', '-t', '0'], ['kill']]) {
      await start('always', 'sleep 1000')

      await world.ok([...verb, 'box'])

      await sleep(400)
      expect(await inspect('{{.State.Status}} {{.RestartCount}}')).toBe('exited 0')
      await world.ok(['rm', 'box'])
    }
  })

  test('brings one back whose process was killed from outside', async () => {
    await start('unless-stopped', 'sleep 1000')
    const pid = Number(await inspect('{{.State.Pid}}'))

    process.kill(pid, 'SIGKILL')

    await eventually('it runs again', async () => {
      const [{ State }] = await world.json(['inspect', 'box'])
      return State.Status === 'running' && State.Pid !== pid
    })
  })

  test('a run in the foreground ends with the first end, and the container goes on', async () => {
    const { stdout, code } = await world.tsrun([
      'run',
      '--name',
      'box',
      '--restart',
      'always',
      'busybox',
      'sh',
      '-c',
      'test -e /again && exec sleep 1000; touch /again; echo first; exit 4',
    ])

    expect({ stdout, code }).toEqual({ stdout: 'first\n', code: 4 })
    await eventually('it runs again', async () => (await inspect('{{.State.Status}}')) === 'running')
  })

  test('a start by hand counts anew', async () => {
    const id = await start('on-failure:1', 'exit 1')
    await eventually(
      'it has given up',
      async () => (await inspect('{{.State.Status}} {{.RestartCount}}')) === 'exited 1',
    )

    await world.ok(['start', 'box'])

    await eventually(
      'it has given up again',
      async () => (await inspect('{{.State.Status}} {{.RestartCount}}')) === 'exited 1',
    )
    expect(
      await world.ok([
        'events',
        '--since',
        '1m',
        '--until',
        '0s',
        '-f',
        'event=start',
        '-f',
        `container=${id}`,
        '--format',
        'x',
      ]),
    ).toBe('x\nx\nx\nx')
  })

  test('does not go with --rm', async () => {
    expectError(await world.tsrun(['run', '--rm', '--restart', 'always', 'busybox', 'true']), 125, /--restart.*--rm/)
    expectError(await world.tsrun(['run', '--restart', 'often', 'busybox', 'true']), 125, /"often"/)
  })
})

describe('system up', () => {
  test('starts after a reboot what its policy says, and puts networks back', async () => {
    await world.ok(['network', 'create', '--subnet', '10.77.0.0/24', 'br7'])
    const run = (name: string, policy: string) =>
      world.ok(['run', '-d', '-net', 'br7', '--name', name, '--restart', policy, 'busybox', 'sleep', '1000'])
    await run('box', 'always')
    await run('other', 'unless-stopped')
    await run('third', 'no')
    await world.ok(['stop', '-t', '0', 'other'])
    await reboot()

    const before = await world.ok(['ps', '-a', '--format', '{{.Names}} {{.Status}}'])
    const said = await world.ok(['system', 'up'])

    expect(before).toMatch(/^third Exited \(255\)/m)
    expect(said.split('\n')).toEqual(expect.arrayContaining(['Started network: br7', 'Started container: box']))
    expect(await world.ok(['ps', '--format', '{{.Names}}'])).toBe('box')
    expect((await world.host.sh('ip -o link show master br7')).split('\n').length).toBeGreaterThan(0)
    await world.ok(['rm', '-f', 'box', 'other', 'third'])
    await world.ok(['network', 'rm', 'br7'])
  })

  /** What a reboot does as far as tsrun can see: processes, links, rules and the state directory are gone. */
  async function reboot(): Promise<void> {
    const pids = (await world.ok(['ps', '-q'])).split('\n').map(async id => {
      const [{ State }] = await world.json(['inspect', id])
      const stat = await world.host.sh(`cut -d' ' -f4 /proc/${State.Pid}/stat`)
      return [Number(stat), State.Pid as number]
    })
    for (const [monitor = 0, pid = 0] of await Promise.all(pids)) {
      // The monitor first: it must not see the end of its container.
      process.kill(monitor, 'SIGKILL')
      process.kill(pid, 'SIGKILL')
    }
    await sleep(200)
    await world.host.sh(
      'ip link del br7 || true; nft flush ruleset; sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=1',
    )
    rmSync(world.state, { recursive: true })
    writeFileSync(join(world.dir, 'rebooted'), '')
  }
})
