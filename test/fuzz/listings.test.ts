// What strangers call their things - images, labels, commands, volumes - reaches no terminal raw, whatever lists or inspects it.

import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { World } from '../helpers/world.ts'

/** Clears the screen, sets the title, goes to a new line, writes backwards; in 7 and in 8 bits. */
const hostile = 'a\u001b[2J\u001b]0;t\u0007\u009b31m\u202egnp\rb\u2028c'

let world: World
beforeAll(async () => {
  world = await World.create()
  const folder = join(world.dir, 'work', 'rootfs')
  mkdirSync(join(folder, 'bin'), { recursive: true })
  execFileSync('tar', ['-cf', join(world.dir, 'work', 'rootfs.tar'), '-C', folder, '.'])
  await world.ok([
    'import',
    '-m',
    hostile,
    '-c',
    `LABEL x="${hostile}"`,
    join(world.dir, 'work', 'rootfs.tar'),
    'hostile',
  ])
  await world.ok(['volume', 'create', '--label', `x=${hostile}`, 'vol'])
  await world.ok(['network', 'create', '--label', `x=${hostile}`, 'net'])
  const flags = [
    '--label',
    `x=${hostile}`,
    '--label',
    `${hostile}=x`,
    '--label',
    '__proto__=x',
    '-e',
    '__proto__=x',
    '-e',
    `X=${hostile}`,
  ]
  await world.ok([
    'run',
    '-d',
    '--name',
    'box',
    '--network',
    'net',
    '-v',
    'vol:/vol',
    ...flags,
    'busybox',
    'sh',
    '-c',
    `: '${hostile}'; sleep 1000`,
  ])
  await world.ok(['exec', 'box', 'touch', `/${hostile.replaceAll('/', '')}`])
})
afterAll(async () => {
  for (const name of ['rootfs', 'rootfs.tar']) rmSync(join(world.dir, 'work', name), { recursive: true })
  await world.ok(['rm', '-f', 'box'])
  await world.ok(['network', 'rm', 'net'])
  await world.ok(['volume', 'rm', 'vol'])
  await world.dispose()
})

describe('what others wrote is made visible', () => {
  test.each([
    'ps -a --no-trunc',
    'ps -a',
    'ps -a --format json',
    'inspect box',
    'inspect --format json box',
    'images',
    'images --format json',
    'history --no-trunc hostile',
    'history --format json hostile',
    'image inspect hostile',
    'network ls',
    'network ls --format json',
    'network inspect net',
    'network graph',
    'network graph --format json',
    'volume ls',
    'volume ls --format json',
    'volume inspect vol',
    'system df -v',
    'top box',
    'diff box',
    'stats --no-stream box',
    'events --since 10m --until 0s',
    'events --since 10m --until 0s --format json',
    'port box',
    'search hostile',
    'search --format json hostile',
    'network doctor',
    'network doctor box',
    'info',
  ])('by %s', async words => {
    const { code, stdout, stderr } = await world.tsrun(words.split(' '))

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.replace(/\n/g, '').replace(/[^\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, '')).toBe('')
  })

  test('by the columns of a template', async () => {
    const columns = 'table {{.Names}}\t{{.Command}}\t{{.Labels}}'

    expect(await world.ok(['ps', '-a', '--no-trunc', '--format', columns])).toContain('\\x1b[2J')
  })

  test('by an error', async () => {
    const { code, stderr } = await world.tsrun(['inspect', hostile])

    expect({ code, lines: stderr.trimEnd().split('\n').length }).toEqual({
      code: 1,
      lines: expect.toSatisfy(n => n <= 2),
    })
    expect(stderr).toContain('\\x1b[2J')
  })
})

test('a label or a variable called __proto__ is one like any other', async () => {
  const [{ Config }] = await world.json(['inspect', 'box'])

  expect(Object.getOwnPropertyDescriptor(Config.Labels, '__proto__')?.value).toBe('x')
  expect(Config.Env).toContain('__proto__=x')
  expect(await world.ok(['ps', '-q', '--filter', 'label=__proto__=x'])).not.toBe('')
  expect(await world.ok(['ps', '-q', '--filter', 'label=constructor'])).toBe('')
})
