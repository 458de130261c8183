// stats, events, info, system df, ps filters, inspect, groups, prune, commit: what people and scripts look at.

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { EventLog } from '../../src/engine/event-log.ts'
import { eventually, execute } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(() => world.tsrun(['rm', '-f', 'box', 'other']))
afterAll(async () => {
  await world.ok(['volume', 'prune', '-af'])
  await world.dispose()
})

const start = (flags: string[] = [], script = 'sleep 1000') =>
  world.ok(['run', '-d', '--name', 'box', ...flags, 'busybox', 'sh', '-c', script])

describe('stats', () => {
  test('--no-stream shows processor, memory, limit and processes', async () => {
    await start(['-m', '64m'], 'sleep 1000 & while :; do :; done')

    const [head, line] = (await world.ok(['stats', '--no-stream'])).split('\n')

    expect(head).toMatch(/^CONTAINER ID +NAME +CPU % +MEM USAGE \/ LIMIT +MEM % +NET I\/O +BLOCK I\/O +PIDS$/)
    expect(line).toMatch(
      /^[0-9a-f]{12} +box +[1-9][\d.]+% +[\d.]+[KM]iB \/ 64MiB +[\d.]+% +\S+B \/ \S+B +\S+B \/ \S+B +2$/,
    )
  })

  test('counts what comes over the network', async () => {
    const sent = 2_000_000
    await start(
      [],
      `head -c ${sent} /dev/zero | nc -w 1 $(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p') 9 ; sleep 1000`,
    )

    const json = await world.ok(['stats', '--no-stream', '--format', 'json', 'box'])

    expect(JSON.parse(json)).toMatchObject({ Name: 'box', NetIO: expect.stringMatching(/^\S+B \/ \S+B$/) })
  })

  test('goes on until it is interrupted', async () => {
    await start()
    const stats = world.start(['stats', '--format', '{{.Name}}'])
    await stats.waitFor(/box\nbox\n/)

    stats.kill('SIGINT')

    expect((await stats.result).code).toBe(0)
  })

  test('-a shows those that do not run, and an unknown name is an error', async () => {
    await world.ok(['create', '--name', 'box', 'busybox', 'true'])

    expect(await world.ok(['stats', '-a', '--no-stream', '--format', '{{.Name}} {{.PIDs}}'])).toBe('box 0')
    expectError(await world.tsrun(['stats', '--no-stream', 'nobody']), 1, /no such container/)
  })
})

describe('events', () => {
  const past = (...args: string[]) => world.ok(['events', '--since', '1m', '--until', '0s', ...args])

  test('tells the life of a container in order', async () => {
    const id = await start(['-l', 'team=red'])
    await world.ok(['exec', 'box', 'true'])
    await world.ok(['pause', 'box'])
    await world.ok(['unpause', 'box'])
    await world.ok(['rename', 'box', 'other'])
    await world.ok(['stop', '-t', '0', 'other'])
    await world.ok(['rm', 'other'])

    const actions = (await past('-f', `container=${id}`, '-f', 'type=container', '--format', '{{.Action}}')).split('\n')

    expect(actions).toEqual(
      ['create', 'start', 'exec_create: true', 'exec_start: true', 'exec_die'].concat([
        'pause',
        'unpause',
        'rename',
        'kill',
        'die',
        'stop',
        'destroy',
      ]),
    )
    expect(await past('-f', `container=${id}`, '-f', 'event=die')).toMatch(
      new RegExp(
        `^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{9}[+-]\\d\\d:\\d\\d container die ${id} \\(execDuration=\\d+, exitCode=137, image=busybox, name=other, .*team=red\\)$`,
      ),
    )
    expect(await past('-f', 'label=team=red', '-f', 'event=create', '--format', '{{.Actor.ID}}')).toBe(id)
    expect(JSON.parse(await past('-f', `container=${id}`, '-f', 'event=start', '--format', 'json'))).toMatchObject({
      Type: 'container',
      Action: 'start',
      Actor: { ID: id, Attributes: { image: 'busybox', name: 'box' } },
    })
  })

  test('follows what other processes do, also when nobody watches the end', async () => {
    const events = world.start(['events', '-f', 'event=die', '--format', '{{.Actor.Attributes.exitCode}}'])
    await eventually('it watches', async () => {
      await world.tsrun(['run', '--rm', 'busybox', 'sh', '-c', 'exit 5'])
      return events.stdout().includes('5')
    })

    await start([], 'exit 6')

    await events.waitFor(/6\n/)
    events.kill('SIGTERM')
    expect((await events.result).code).toBe(0)
  })

  test('tells of networks and volumes', async () => {
    await world.ok(['network', 'create', '--subnet', '10.78.0.0/24', 'br8'])
    await start(['-net', 'br8', '-v', 'box-data:/data'])
    await world.ok(['rm', '-f', 'box'])
    await world.ok(['network', 'rm', 'br8'])
    await world.ok(['volume', 'rm', 'box-data'])

    expect((await past('-f', 'network=br8', '--format', '{{.Action}}')).split('\n')).toEqual([
      'create',
      'connect',
      'disconnect',
      'destroy',
    ])
    expect((await past('-f', 'volume=box-data', '--format', '{{.Action}}')).split('\n')).toEqual([
      'create',
      'mount',
      'unmount',
      'destroy',
    ])
  })

  test('refuses a filter that it does not know', async () => {
    expectError(await world.tsrun(['events', '-f', 'colour=red']), 1, /invalid filter "colour=red"/)
  })
})

describe('ps --filter', () => {
  test.each([
    ['name=^bo', true],
    ['name=^ox', false],
    ['health=none', true],
    ['health=healthy', false],
    ['ancestor=busybox', true],
    ['status=running', true],
    ['status=paused', false],
    ['since=box', false],
  ])('%s', async (filter, isShown) => {
    await start()

    expect(await world.ok(['ps', '--format', '{{.Names}}', '-f', filter])).toBe(isShown ? 'box' : '')
  })
})

test('inspect has what scripts look for', async () => {
  const id = await start([
    '-p',
    '8081:80',
    '-v',
    'box-data:/data',
    '-e',
    'A=b',
    '--annotation',
    'note=1',
    '--restart',
    'on-failure:3',
  ])

  const template = (text: string) => world.ok(['inspect', '-f', text, 'box'])
  expect(await template('{{.Id}} {{.Name}} {{.State.Running}}')).toBe(`${id} /box true`)
  expect(await template('{{.NetworkSettings.IPAddress}}')).toBe(await world.addressOf('box'))
  expect(await template('{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}')).toMatch(/^[\d.]+$/)
  expect(await template('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}')).toBe('8081')
  expect(await template('{{range .Mounts}}{{.Name}}:{{.Destination}}{{end}}')).toBe('box-data:/data')
  expect(await template('{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}')).toBe(
    'on-failure 3',
  )
  expect(await template('{{.HostConfig.Annotations.note}} {{.LogPath}}')).toMatch(/^1 \/.*container\.log$/)
  expect(await template('{{json .Config.Env}}')).toContain('"A=b"')
})

test('container and image groups are the verbs, and say what they hold', async () => {
  await world.ok(['container', 'run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])

  expect(await world.ok(['container', 'ls', '--format', '{{.Names}}'])).toBe('box')
  expect(await world.ok(['container', 'inspect', '-f', '{{.Name}}', 'box'])).toBe('/box')
  expect(await world.ok(['image', 'ls', '-q'])).toMatch(/^[0-9a-f]{12}$/m)
  expect(await world.ok(['container', '--help'])).toMatch(/^ {2}prune /m)
  expectError(await world.tsrun(['container', 'fly']), 1, /no command "container fly"/)
})

test('container prune removes what does not run, and says what that gave back', async () => {
  await start()
  await world.ok(['run', '--name', 'other', 'busybox', 'sh', '-c', 'head -c 5000 /dev/zero > /file'])

  const said = await world.ok(['container', 'prune', '-f'])

  expect(said).toMatch(/^Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed space: 5kB$/)
  expect(await world.ok(['ps', '-a', '--format', '{{.Names}}'])).toBe('box')
})

test('commit makes an image of what a container has changed', async () => {
  await start([], 'echo new > /new; sleep 1000')
  await eventually('it wrote', async () => (await world.tsrun(['exec', 'box', 'cat', '/new'])).code === 0)

  expect(await world.ok(['commit', '-c', 'CMD ["cat", "/new"]', 'box', 'committed:1'])).toMatch(/^sha256:[0-9a-f]{64}$/)

  expect(await world.ok(['run', '--rm', 'committed:1'])).toBe('new')
  expect(await world.ok(['inspect', '-f', '{{.State.Status}}', 'box'])).toBe('running')
  await world.ok(['rmi', 'committed:1'])
})

test('info, version and system df have forms for people and for scripts', async () => {
  await start()

  expect(await world.ok(['info'])).toMatch(/^Containers: 1\n Running: 1\n/m)
  expect(JSON.parse(await world.ok(['info', '-f', 'json']))).toMatchObject({
    Containers: 1,
    ContainersRunning: 1,
    OSType: 'linux',
  })
  expect(await world.ok(['version', '-f', '{{.Server.Version}}'])).toMatch(/^\d+\.\d+\.\d+/)
  const [head, images] = (await world.ok(['system', 'df'])).split('\n')
  expect(head).toMatch(/^TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE$/)
  expect(images).toMatch(/^Images +\d+ +1 +/)
})

test('an event is in a file that nobody renames between its opening and the writing, which who follows would miss', async () => {
  const path = join(world.state, 'events.jsonl')
  const log = join(world.dir, 'work', 'strace.log')
  await world.ok(['volume', 'create', 'earlier'])
  const slow = ['-f', '-P', path, '-e', 'trace=openat,write', '-e', 'inject=write:delay_enter=700000', '-o', log]
  const writer = execute(['strace', ...slow, ...world.tsrunCommand(['volume', 'create', 'late'])], { env: world.env })
  await eventually('it is about to write', () => existsSync(log) && readFileSync(log, 'utf8').includes('openat('))

  new EventLog(path, { maxBytes: 1 }).append('{"action":"between"}')

  expect((await writer).code).toBe(0)
  const renamed = existsSync(`${path}.1`) ? readFileSync(`${path}.1`, 'utf8') : ''
  expect(renamed).not.toContain('"late"')
  expect(readFileSync(path, 'utf8')).toContain('"late"')
  rmSync(log)
})
