// A container that is removed, or let go on, while somebody reads its files: what is not all of it is told so and kept by nobody.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { held, heldBefore } from '../helpers/held.ts'
import { World } from '../helpers/world.ts'

let world: World
beforeAll(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.removeContainers()
  for (const name of readdirSync(join(world.dir, 'work'))) rmSync(join(world.dir, 'work', name), { recursive: true })
})
afterAll(() => world.dispose())

const removed = /cannot read all of "box": it was removed meanwhile/

/** More than fits in a pipe, in several files. */
const write = 'mkdir /big; for n in 1 2 3 4 5 6 7 8; do dd if=/dev/urandom of=/big/$n bs=64k count=16 2>/dev/null; done'

test.each([
  ['export', ['export', 'box']],
  ['cp', ['cp', 'box:/big', '-']],
])('%s of a container that is removed before all is read fails, and its archive has no end', async (_, args) => {
  await world.ok(['run', '--name', 'box', 'busybox', 'sh', '-c', write])
  const [program = '', ...rest] = world.tsrunCommand(args)
  const reader = spawn(program, rest, { env: world.env, stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  reader.stderr.on('data', chunk => {
    errors += chunk
  })
  await once(reader.stdout, 'readable')
  await world.ok(['rm', 'box'])

  const chunks: Buffer[] = []
  reader.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  const [code] = await once(reader, 'close')

  expect(code).toBe(1)
  expect(errors).toMatch(removed)
  expect(
    Buffer.concat(chunks)
      .subarray(-1024)
      .every(byte => byte === 0),
  ).toBe(false)
})

test('commit of a container that is removed meanwhile makes no image', async () => {
  await world.ok(['run', '--name', 'box', 'busybox', 'sh', '-c', write])
  const goOn = await held(world, 'commit box made', 'staging folder')
  await world.ok(['rm', 'box'])

  expectError(await goOn(), 1, removed)

  expect(await world.ok(['images', '-q', 'made'])).toBe('')
  expect(existsSync(join(world.root, 'images/names/docker.io+library+made'))).toBe(false)
})

test.each([
  ['let go on', ['unpause', 'box'], true],
  ['stopped', ['stop', '-t', '0', 'box'], true],
  ['removed', ['rm', '-f', 'box'], false],
])('commit of a running container that is %s meanwhile', async (_, command, isMade) => {
  await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])
  const goOn = await held(world, 'commit box made', 'staging folder')
  await world.ok(command)

  const ended = await goOn()
  if (isMade) expect(ended).toMatchObject({ code: 0, stderr: '' })
  else expectError(ended, 1, removed)

  expect((await world.ok(['images', '-q', 'made'])) !== '').toBe(isMade)
  await world.tsrun(['rmi', 'made'])
})

test('commit of a running container that another commit has paused meanwhile', async () => {
  const id = await world.ok(['run', '-d', '--name', 'box', 'busybox', 'sleep', '1000'])
  const renaming = await held(world, 'rename box other', 'new name')
  const second = await heldBefore(world, `commit ${id} two`, join(world.root, 'containers', id))
  await renaming()
  const first = await held(world, `commit ${id} one`, 'staging folder')

  expect(await second()).toMatchObject({ code: 0, stderr: '' })
  expect(await world.ok(['ps', '--format', '{{.Status}}'])).toMatch(/Paused/)
  expect(await first()).toMatchObject({ code: 0, stderr: '' })

  expect(await world.ok(['ps', '--format', '{{.Status}}'])).not.toMatch(/Paused/)
  await world.ok(['rmi', 'one', 'two'])
})
