// Commands that meet at a volume: it is held until the other has done its part. What somebody mounts stays, and nobody sees half of
// what the image has at its place.

import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually, execute } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { held, orWaits } from '../helpers/held.ts'
import { inWorld, type World } from '../helpers/world.ts'

const writer = ['busybox', 'sh', '-c', 'echo kept > /data/file; sleep 1000']

/** Takes the volumes away at the end. */
const inOwnWorld = (task: (world: World) => Promise<void>) =>
  inWorld(async world => {
    await task(world)
    await world.removeContainers()
    await world.ok(['volume', 'prune', '-af'])
    for (const name of ['bin', 'go']) rmSync(join(world.dir, 'work', name), { recursive: true, force: true })
  })

test(
  'a prune leaves the anonymous volumes that containers mount',
  inOwnWorld(async world => {
    await world.ok(['run', '-d', '--name', 'box', '-v', '/data', ...writer])
    await world.ok(['create', '--name', 'ended', '-v', '/data', 'busybox', 'true'])
    await world.ok(['start', '-a', 'ended'])
    const [name = '', ...others] = (await world.ok(['volume', 'ls', '-q'])).split('\n')
    expect(others).toHaveLength(1)

    await world.ok(['volume', 'prune', '-f'])
    expectError(await world.tsrun(['volume', 'rm', name]), 1, /mounts it/)

    expect((await world.ok(['volume', 'ls', '-q'])).split('\n')).toHaveLength(2)
    expect(await world.ok(['exec', 'box', 'cat', '/data/file'])).toBe('kept')
    await world.ok(['rm', '-fv', 'box', 'ended'])
    expect(await world.ok(['volume', 'ls', '-q'])).toBe('')
  }),
)

test(
  'a start that fails leaves the volume it has made to the container that mounts it meanwhile',
  inOwnWorld(async world => {
    const goOn = await held(world, 'run -v v:/data busybox true', 'write config.json', { further: 'init:fail' })
    await world.ok(['run', '-d', '--name', 'other', '-v', 'v:/data', ...writer])

    expect((await goOn()).code).not.toBe(0)

    expect(await world.ok(['run', '--rm', '-v', 'v:/data', 'busybox', 'cat', '/data/file'])).toBe('kept')
    expect(await world.ok(['exec', 'other', 'cat', '/data/file'])).toBe('kept')
  }),
)

test.each([
  ['rm', 'volume rm v'],
  ['prune', 'volume prune -af'],
])('a volume that a container begins to mount during its %s is there for it, old or new', (_, command) =>
  inOwnWorld(async world => {
    await world.ok(['volume', 'create', 'v'])
    const goOn = await held(world, command, 'volume unused')
    const box = world.ok(['run', '-d', '--name', 'box', '-v', 'v:/data', ...writer])
    // It may have to wait; it gets as far as its record.
    await eventually('the container is made', async () => (await world.ok(['ps', '-aq'])) !== '')
    await Promise.race([
      box,
      eventually('it runs', async () => (await world.ok(['ps', '-q'])) !== '', 1000).catch(() => {}),
    ])

    expect((await goOn()).code).toBe(0)

    await box
    await eventually(
      'it has written',
      async () => (await world.tsrun(['exec', 'box', 'cat', '/data/file'])).stdout === 'kept\n',
    )
    expect(await world.ok(['volume', 'ls', '-q'])).toBe('v')
    expect(existsSync(join(world.root, 'volumes/v/data/file'))).toBe(true)
  })(),
)

test(
  'two that remove a volume at once: one does, the other finds none',
  inOwnWorld(async world => {
    await world.ok(['volume', 'create', 'v'])
    const goOn = await held(world, 'volume rm v', 'volume unused')
    const other = world.tsrun(['volume', 'rm', 'v'])
    await orWaits(other)
    const codes = [await goOn(), await other].map(({ code, stderr }) => `${code} ${stderr}`)
    expect(codes.sort()).toEqual(['0 ', expect.stringMatching(/^1 .*no such volume/)])
  }),
)

test.each([
  ['is being made', [], 'volume create v', 'volume draft', 'v'],
  ['is being removed', [['volume', 'create', 'v']], 'volume rm v', 'volume taken out', ''],
])('a volume that %s is not listed', (_, before, command, step, after) =>
  inOwnWorld(async world => {
    for (const args of before) await world.ok(args)
    const goOn = await held(world, command, step)
    expect(await world.ok(['volume', 'ls', '-q'])).toBe('')
    expect(await world.ok(['system', 'df', '--format', '{{.Type}} {{.TotalCount}}'])).toContain('Local Volumes 0')

    expect((await goOn()).code).toBe(0)

    expect(await world.ok(['volume', 'ls', '-q'])).toBe(after)
  })(),
)

/** A directory for PATH whose `cp` copies /etc/passwd alone and then does `script`. */
function halfCopier(world: World, script: string): NodeJS.ProcessEnv {
  const folder = join(world.dir, 'work', 'bin')
  mkdirSync(folder)
  writeFileSync(join(folder, 'cp'), `#!/bin/sh\n/bin/cp -a -- "$3/passwd" "$4/"\n${script}\n`)
  chmodSync(join(folder, 'cp'), 0o755)
  return { ...world.env, PATH: `${folder}:${world.env.PATH}` }
}

const listEtc = ['run', '--rm', '-v', 'v:/etc', 'busybox', 'ls', '/etc']

test(
  'a volume whose filling was cut off is filled by the next that starts with it',
  inOwnWorld(async world => {
    const whole = await world.ok(['run', '--rm', '-v', 'other:/etc', 'busybox', 'ls', '/etc'])
    const env = halfCopier(world, 'kill -9 $PPID')
    expect((await world.tsrun(['run', '--rm', '-v', 'v:/etc', 'busybox', 'true'], { env })).signal).toBe('SIGKILL')
    expect(await world.ok(listEtc)).toBe(whole)
  }),
)

test.each(['volume filling', 'volume filled', 'volume content moved'])(
  'a volume whose filling was killed behind "%s" is filled by the next; what others have made there meanwhile stays',
  step =>
    inOwnWorld(async world => {
      await world.ok(['volume', 'create', 'v'])
      const whole = await world.ok(['run', '--rm', '-v', 'other:/etc', 'busybox', 'ls', '-ldn', '/etc', '/etc/group'])
      const kill = { env: { ...world.env, TSRUN_FAULT: `${step}:kill` } }
      expect((await world.tsrun(['run', '--rm', '-v', 'v:/etc', 'busybox', 'true'], kill)).signal).toBe('SIGKILL')
      if (step !== 'volume filling')
        await world.ok([
          'run',
          '--rm',
          '-v',
          'v:/data',
          'busybox',
          'sh',
          '-c',
          'rm -f /data/passwd; echo own > /data/passwd',
        ])
      const shown = ['sh', '-c', 'ls -ldn /etc /etc/group; cat /etc/passwd']
      const [own = '', ...rest] = (await world.ok(['run', '--rm', '-v', 'v:/etc', 'busybox', ...shown]))
        .split('\n')
        .reverse()
      if (step !== 'volume filling') expect(own).toBe('own')
      expect(rest.reverse().slice(0, 2).map(shape)).toEqual(whole.split('\n').map(shape))
    })(),
)

/** Mode, owner and name. */
function shape(line: string): string {
  const [mode, , owner, group, ...further] = line.split(/ +/)
  return [mode, owner, group, further.at(-1)].join(' ')
}

test(
  'a volume with something mounted in the place of its folder is filled, too',
  inOwnWorld(async world => {
    await world.ok(['volume', 'create', 'v'])
    const data = join(world.root, 'volumes/v/data')
    const whole = await world.ok(['run', '--rm', '-v', 'other:/etc', 'busybox', 'ls', '/etc'])
    await execute(['mount', '-t', 'tmpfs', 'tmpfs', data])
    try {
      expect(await world.ok(listEtc)).toBe(whole)
    } finally {
      await execute(['umount', data])
    }
  }),
)

test(
  'a container waits until another has filled the volume that both mount',
  inOwnWorld(async world => {
    const whole = await world.ok(['run', '--rm', '-v', 'other:/etc', 'busybox', 'ls', '/etc'])
    const go = join(world.dir, 'work', 'go')
    const env = halfCopier(world, `while [ ! -e ${go} ]; do sleep 0.05; done; exec /bin/cp "$@"`)
    const first = world.tsrun(['run', '--rm', '-v', 'v:/etc', 'busybox', 'true'], { env })
    const places = ['data', 'filling'].map(folder => join(world.root, 'volumes/v', folder, 'passwd'))
    await eventually('half of it is there', () => places.some(place => existsSync(place)))
    const second = world.ok(listEtc)
    await orWaits(second)
    writeFileSync(go, '')
    expect((await first).code).toBe(0)
    expect(await second).toBe(whole)
  }),
)
