import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeBootstrap, type InitConfig } from '../../src/kernel/init-protocol.ts'
import { defaultMounts, type RunResult, repository, Workbench } from './harness.ts'

// Calls newer than Linux 5.10, or hidden by sandboxes, are made to fail; their numbers are the same everywhere.
const ENOSYS = 38
const EINVAL = 22
const FSOPEN = 430
const FSCONFIG = 431
const CLONE3 = 435
const MOUNT_SETATTR = 442

let bench: Workbench
let deny: string
beforeAll(() => {
  bench = new Workbench()
  deny = join(bench.dir, 'deny-syscalls')
  execFileSync('gcc', ['-o', deny, join(repository, 'test/native/deny-syscalls.c')])
})
afterAll(() => bench.dispose())

async function runWithout(
  calls: readonly (readonly [number, number])[],
  config: InitConfig,
  dir: string,
): Promise<RunResult> {
  const session = bench.spawn({ wrapper: [deny, ...calls.map(([number, errno]) => `${number}:${errno}`), '--'] })
  session.send(encodeBootstrap(config))
  await session.first()
  return bench.finish(dir, session, {})
}

test.each([
  ['mount_setattr (5.12)', [[MOUNT_SETATTR, ENOSYS]]],
  ['fsopen', [[FSOPEN, ENOSYS]]],
  ['lowerdir+ (6.7)', [[FSCONFIG, EINVAL]]],
  ['clone3', [[CLONE3, ENOSYS]]],
  [
    'all of them',
    [
      [MOUNT_SETATTR, ENOSYS],
      [FSOPEN, ENOSYS],
      [CLONE3, ENOSYS],
    ],
  ],
] as const)('run works without %s', async (_, calls) => {
  const dir = bench.box()
  const source = join(dir, 'source')
  mkdirSync(source)
  const script =
    'touch /b/x /etc/x /y 2>&1 | grep -c Read-only; grep -E " /b " /proc/self/mountinfo | cut -d" " -f 6; cat /proc/keys'
  const base = bench.config(dir, ['sh', '-c', script], {
    mounts: [...defaultMounts, { destination: '/b', type: 'bind', source, flags: 4096 | 1 | 2 | 8, data: '' }],
    readonlyPaths: ['/etc'],
    maskedPaths: ['/proc/keys'],
  })
  if (base.rootfs === undefined) throw new Error('no rootfs')
  const result = await runWithout(calls, { ...base, rootfs: { ...base.rootfs, readonly: true } }, dir)

  expect(result.outcome).toEqual({ kind: 'started' })
  expect(result.stdout).toBe('3\nro,nosuid,noexec,relatime\n')
})

test('many layers with long names work without lowerdir+', async () => {
  const dir = bench.box()
  const lowerDirs = Array.from({ length: 100 }, (_, i) => join(dir, `${'layer-'.repeat(30)}${i}`))
  for (const layer of lowerDirs) mkdirSync(layer)
  const base = bench.config(dir, ['true'])
  const source = base.rootfs?.source
  if (base.rootfs === undefined || source?.kind !== 'overlay') throw new Error('no overlay')
  const rootfs = { ...base.rootfs, source: { ...source, lowerDirs: [...lowerDirs, bench.lower] } }
  expect(await runWithout([[FSCONFIG, EINVAL]], { ...base, rootfs }, dir)).toMatchObject({
    outcome: { kind: 'started' },
    code: 0,
  })
})

test('a recursive read-only mount says what it needs', async () => {
  const dir = bench.box()
  const base = bench.config(dir, ['true'], {
    mounts: [
      ...defaultMounts,
      { destination: '/b', type: 'bind', source: dir, flags: 4096, data: '', recursiveReadOnly: true },
    ],
  })
  expect((await runWithout([[MOUNT_SETATTR, ENOSYS]], base, dir)).outcome).toMatchObject({
    kind: 'failed',
    errno: 38,
    what: 'make the mounts below /b read-only (needs Linux 5.12)',
  })
})
