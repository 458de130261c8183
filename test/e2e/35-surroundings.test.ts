// What a container gets of its surroundings: devices, other containers' volumes, its place among cgroups, labels from files.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { World } from '../helpers/world.ts'

let world: World

beforeAll(async () => {
  world = await World.create()
})
afterEach(() => world.tsrun(['rm', '-f', '-v', 'box', 'other']))
afterAll(() => world.dispose())

test('--device gives a device under another name, with the access asked for', async () => {
  const run = (spec: string, command: string) =>
    world.tsrun(['run', '--rm', '--device', spec, 'busybox', 'sh', '-c', command])

  expect((await world.tsrun(['run', '--rm', 'busybox', 'ls', '/dev/fuse'])).code).toBe(1)
  expect((await run('/dev/fuse', ': <> /dev/fuse && echo opened')).stdout).toBe('opened\n')
  expect((await run('/dev/fuse:/dev/two', ': < /dev/two && echo opened')).stdout).toBe('opened\n')
  expect((await run('/dev/fuse:/dev/two:r', ': > /dev/two')).stderr).toMatch(/not permitted/)
  expectError(await run('/dev/none', 'true'), 125, /device "\/dev\/none": it does not exist/)
  expectError(await run('/etc/passwd', 'true'), 125, /"\/etc\/passwd": it is not a device/)
})

test('--device-cgroup-rule lets a container use what it makes', async () => {
  const make = 'mknod /tmp/node c 10 229 && : < /tmp/node && echo opened'

  expect((await world.tsrun(['run', '--rm', 'busybox', 'sh', '-c', make])).stdout).toBe('')
  expect(await world.ok(['run', '--rm', '--device-cgroup-rule', 'c 10:229 r', 'busybox', 'sh', '-c', make])).toBe(
    'opened',
  )
})

test('--volumes-from mounts what another container has, also read-only', async () => {
  await world.ok(['run', '--name', 'box', '-v', '/anonymous', 'busybox', 'sh', '-c', 'echo note > /anonymous/file'])
  const run = (spec: string, command: string) =>
    world.tsrun(['run', '--rm', '--volumes-from', spec, 'busybox', 'sh', '-c', command])

  expect((await run('box', 'cat /anonymous/file')).stdout).toBe('note\n')
  expect((await run('box:ro', 'touch /anonymous/x')).stderr).toMatch(/Read-only/)
  // The one who borrowed it with --rm has not taken it along.
  expect((await run('box', 'cat /anonymous/file')).stdout).toBe('note\n')
  expectError(await run('nobody', 'true'), 125, /no such container: "nobody"/)
})

test('--cgroup-parent puts its cgroup below that one', async () => {
  const parent = `tsrun-test-${process.pid}`
  await world.ok(['run', '-d', '--name', 'box', '--cgroup-parent', parent, 'busybox', 'sleep', '1000'])

  const [{ Id, State }] = await world.json(['inspect', 'box'])
  expect(readFileSync(`/proc/${State.Pid}/cgroup`, 'utf8')).toContain(`/${parent}/${Id}`)
  await world.ok(['rm', '-f', 'box'])
  await world.host.sh(`find /sys/fs/cgroup -maxdepth 3 -type d -name ${parent} | xargs -r rmdir`)
})

test('--label-file, --annotation and --platform', async () => {
  const file = join(world.dir, 'labels')
  writeFileSync(file, '# a comment\nfrom=file\nboth=file\n')

  await world.ok([
    'create',
    '--name',
    'box',
    '--label-file',
    file,
    '-l',
    'both=flag',
    '--annotation',
    'a=b',
    '--platform',
    'linux',
    'busybox',
  ])

  const [{ Config, HostConfig }] = await world.json(['inspect', 'box'])
  expect(Config.Labels).toMatchObject({ from: 'file', both: 'flag' })
  expect(HostConfig.Annotations).toEqual({ a: 'b' })
  expectError(await world.tsrun(['run', '--platform', 'linux/s390x', 'busybox']), 125, /platform "linux\/s390x"/)
})
