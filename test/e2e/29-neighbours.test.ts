// A container that takes all it can get has what it was given, and its neighbours and the engine go on. And what other users of the
// machine see of the engine's files: nothing.

import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { World } from '../helpers/world.ts'

let world: World
beforeAll(async () => {
  world = await World.create()
  await world.ok(['run', '-d', '--name', 'neighbour', 'busybox', 'sleep', '1000'])
})
afterAll(async () => {
  await world.ok(['rm', '-f', 'neighbour'])
  await world.dispose()
})

const greedy: readonly (readonly [
  what: string,
  flags: readonly string[],
  script: string,
  isAtLimit: () => Promise<boolean>,
])[] = [
  [
    'processes',
    ['--pids-limit', '40'],
    'f() { f | f & }; while :; do f; sleep 1; done 2>/dev/null',
    async () => refusedForks() > 0,
  ],
  [
    'memory',
    ['-m', '24m', '--memory-swap', '24m', '--restart', 'always'],
    'x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done',
    async () => Number(await world.ok(['inspect', '-f', '{{.RestartCount}}', 'greedy'])) > 0,
  ],
  [
    'log',
    ['--log-opt', 'max-size=64k', '--log-opt', 'max-file=2', '--cpus', '0.5'],
    'yes 0123456789012345678901234567890123456789',
    async () => logBytes() > 64 * 1024,
  ],
]

/** How many forks the kernel has refused the container: how many run at one moment says little, they die as they are born. */
function refusedForks(): number {
  const counts = world.engineCgroups().flatMap(group =>
    readdirSync(group)
      .map(name => join(group, name, 'pids.events'))
      .filter(path => existsSync(path))
      .map(path => Number(/^max (\d+)$/m.exec(readFileSync(path, 'utf8'))?.[1])),
  )
  return Math.max(...counts)
}

/** All files of the log together. */
function logBytes(): number {
  const containers = join(world.root, 'containers')
  const logs = readdirSync(containers, { recursive: true, encoding: 'utf8' }).filter(name =>
    /container\.log/.test(name),
  )
  return logs.reduce((sum, name) => sum + (lstatSync(join(containers, name), { throwIfNoEntry: false })?.size ?? 0), 0)
}

describe('a container that takes all it can get of', () => {
  test.each(greedy)('%s leaves the engine and a neighbour alone', async (what, flags, script, isAtLimit) => {
    await world.ok(['run', '-d', '--name', 'greedy', ...flags, 'busybox', 'sh', '-c', script])
    try {
      await eventually(`it is at its limit of ${what}`, isAtLimit, 30_000)

      expect(await world.ok(['exec', 'neighbour', 'echo', 'here'])).toBe('here')
      expect(await world.ok(['run', '--rm', 'busybox', 'echo', 'new'])).toBe('new')
      expect(logBytes()).toBeLessThan(2 * 64 * 1024 + 4096)
    } finally {
      await world.ok(['rm', '-f', 'greedy'])
    }
    expect(await world.ok(['ps', '-q', '--filter', 'name=greedy'])).toBe('')
  })
})

test('other users of the machine can read nothing of the engine', () => {
  const open: string[] = []
  // What lies below a folder of mode 0700 nobody else gets at, whatever its own mode: layers have those of the image.
  const look = (path: string) => {
    const stat = lstatSync(path)
    if (stat.isSymbolicLink() || (stat.mode & 0o077) === 0) return
    open.push(`${path} ${(stat.mode & 0o777).toString(8)}`)
  }
  for (const folder of [world.root, world.state]) look(folder)
  // Those that are made to be replaced whole, and the sockets, keep to themselves even so.
  for (const name of readdirSync(join(world.state, 'containers'))) {
    for (const file of ['run.json', 'config.json', 'attach.sock']) look(join(world.state, 'containers', name, file))
    for (const file of ['container.json', 'container.log']) look(join(world.root, 'containers', name, file))
  }

  expect(open).toEqual([])
})
