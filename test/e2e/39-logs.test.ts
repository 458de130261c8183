// Logs and clients under load: nothing lost across rotations, readers that are slow, several clients at once.

import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(() => world.tsrun(['rm', '-f', 'box']))
afterAll(() => world.dispose())

const count = 200_000
/** Numbers from 1 on, each on a line. */
const numbers = Array.from({ length: count }, (_, index) => `${index + 1}\n`).join('')
/** Waits for its start, so that whoever follows sees it from the first line on. */
const writer = `while [ ! -e /go ]; do sleep 0.05; done; seq ${count}`
const lines = (text: string) => text.split('\n').length - 1

describe('a log that is rotated fast', () => {
  test('is followed from file to file without a line lost or doubled', async () => {
    const flags = ['--log-opt', 'max-size=64k', '--log-opt', 'max-file=1000']
    const id = await world.ok(['run', '-d', '--name', 'box', ...flags, 'busybox', 'sh', '-c', writer])
    const followers = [world.start(['logs', '-f', 'box']), world.start(['logs', '-f', '-t', 'box'])] as const

    await world.ok(['exec', 'box', 'touch', '/go'])
    const [plain, stamped] = await Promise.all(followers.map(follower => follower.result))

    const files = readdirSync(join(world.root, 'containers', id)).filter(name => name.startsWith('container.log'))
    expect(files.length).toBeGreaterThan(50)
    expect(plain).toMatchObject({ code: 0, stderr: '' })
    expect(plain?.stdout === numbers, `${lines(plain?.stdout ?? '')} of ${count} lines`).toBe(true)
    expect(stamped?.stdout.replace(/^\S+Z /gm, '') === numbers).toBe(true)
    expect((await world.tsrun(['logs', 'box'])).stdout === numbers).toBe(true)
    expect(await world.ok(['logs', '--tail', '3', 'box'])).toBe(`${count - 2}\n${count - 1}\n${count}`)
  })

  test('keeps the last files, whole', async () => {
    const flags = ['--log-opt', 'max-size=64k', '--log-opt', 'max-file=3']
    await world.ok(['run', '--name', 'box', ...flags, 'busybox', 'sh', '-c', `seq ${count} >&2`])

    const { stderr } = await world.tsrun(['logs', 'box'])

    expect(lines(stderr)).toBeGreaterThan(1000)
    expect(numbers.endsWith(stderr)).toBe(true)
  })
})

test('several clients that attach see the same, whoever is slow, and the log has it all', async () => {
  await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sh', '-c', writer])
  const clients = [world.start(['attach', '--no-stdin', 'box']), world.start(['attach', '--no-stdin', 'box'])]
  const slow = world.host.sh(
    `${world.tsrunCommand(['attach', '--no-stdin', 'box']).slice(-4).join(' ')} | (sleep 1; sha256sum)`,
  )
  const attached = ['events', '--since', '1m', '--until', '0s', '-f', 'event=attach', '--format', '{{.Action}}']
  await eventually('all are attached', async () => (await world.ok(attached)).split('\n').length === 3)

  await world.ok(['exec', 'box', 'touch', '/go'])

  for (const client of clients) expect((await client.result).stdout === numbers).toBe(true)
  expect((await slow).split(' ')[0]).toBe(createHash('sha256').update(numbers).digest('hex'))
  expect((await world.tsrun(['logs', 'box'])).stdout === numbers).toBe(true)
})

test('a last line that is not ended is kept as it is, and is one line to --tail', async () => {
  await world.ok(['run', '--name', 'box', 'busybox', 'sh', '-c', 'echo first; printf half; printf er'])

  expect((await world.tsrun(['logs', 'box'])).stdout).toBe('first\nhalfer')
  expect((await world.tsrun(['logs', '--tail', '1', 'box'])).stdout).toBe('halfer')
})

test('--sig-proxy=false ends the client alone', async () => {
  await world.ok([
    'run',
    '-d',
    '--name',
    'box',
    'busybox',
    'sh',
    '-c',
    'trap "exit 9" TERM; echo up; sleep 1000 & wait',
  ])
  const deaf = world.start(['attach', '--sig-proxy=false', 'box'])
  const attached = [
    'events',
    '--since',
    '1m',
    '--until',
    '0s',
    '-f',
    'event=attach',
    '-f',
    'container=box',
    '-f',
    'type=container',
  ]
  await eventually('it is attached', async () => (await world.ok(attached)) !== '')

  deaf.kill('SIGTERM')
  await deaf.result

  expect(await world.ok(['inspect', '-f', '{{.State.Status}}', 'box'])).toBe('running')
})
