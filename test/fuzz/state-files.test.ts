// State that somebody edited, a disk spoiled, or another version wrote: whoever reads it says which file it is, and changes nothing.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { World } from '../helpers/world.ts'

let world: World
let id = ''
beforeAll(async () => {
  world = await World.create()
  id = await world.ok(['run', '-d', '--name', 'box', '-v', 'vol:/vol', 'busybox', 'sleep', '1000'])
  await world.ok(['network', 'create', 'net'])
})
afterAll(async () => {
  await world.ok(['rm', '-f', 'box'])
  await world.ok(['volume', 'rm', 'vol'])
  await world.ok(['network', 'rm', 'net'])
  await world.dispose()
})

const files: readonly (readonly [name: string, path: () => string, reader: string])[] = [
  ['container.json', () => join(world.root, 'containers', id, 'container.json'), 'inspect box'],
  ['run.json', () => join(world.state, 'containers', id, 'run.json'), 'stop box'],
  ['a network', () => join(world.root, 'networks', 'net.json'), 'network inspect net'],
  ['a volume', () => join(world.root, 'volumes', 'vol', 'volume.json'), 'volume inspect vol'],
]
const contents = [
  '',
  '{',
  'null',
  '[]',
  '5',
  '"text"',
  '{}',
  '{"id":5,"name":[],"pid":"1","__proto__":{"id":"x"}}',
  '\0\0\0\0',
]

describe('a damaged file is named', () => {
  test.each(files)('%s', async (_, path, reader) => {
    const good = readFileSync(path())
    try {
      for (const content of contents) {
        writeFileSync(path(), content)
        const { code, stderr } = await world.tsrun(reader.split(' '))

        expect({ content, code, stderr }).toEqual({
          content,
          code: 1,
          stderr: expect.stringMatching(/^tsrun: [^\n]*"[^"]*\.json" is damaged: [^\n]+\n {2}hint: [^\n]+\n$/),
        })
        expect(stderr).toContain(path())
        expect(readFileSync(path(), 'latin1')).toBe(content)
      }
    } finally {
      writeFileSync(path(), good)
    }
    expect((await world.tsrun(reader.replace('stop', 'inspect').split(' '))).code).toBe(0)
  })
})
