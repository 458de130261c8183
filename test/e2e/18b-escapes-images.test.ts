// The published escapes of this field that start from an image, each tried through the command line. The others: 18a.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { World } from '../helpers/world.ts'

let world: World
/** Outside of the world's folder. */
let images: string

beforeAll(async () => {
  images = mkdtempSync(join(tmpdir(), 'tsrun-images-'))
  world = await World.create()
})
afterAll(async () => {
  rmSync(images, { recursive: true, force: true })
  await world.tsrun(['volume', 'prune', '-af'])
  await world.dispose()
})

const run = (flags: string[], ...command: string[]) =>
  world.tsrun(['run', '--rm', '--net', 'none', ...flags, ...command])

/** An image of a static busybox and what `script`, run in its root, adds. */
async function hostileImage(name: string, script: string, changes: string[] = []): Promise<void> {
  const root = mkdtempSync(join(images, 'image-'))
  const base =
    'mkdir bin; cp /bin/busybox bin; for a in sh cat ls id stat head wc grep readlink; do ln -s busybox bin/$a; done'
  execFileSync('sh', ['-euc', `${base}; ${script}; tar -cf ../${name}.tar .`], { cwd: root })
  const flags = changes.flatMap(change => ['-c', change])
  await world.ok(['import', join(images, `${name}.tar`), name, ...flags])
}

const masked = `for f in /proc/kcore /proc/keys /proc/timer_list; do head -c 1 $f 2>/dev/null; done | wc -c
  for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern; do (echo x > $f) 2>/dev/null && echo WROTE $f; done; true`

describe('an image', () => {
  test.each(['/proc/self/fd/8', '/proc/1/fd/7', '/proc/self/fd/9/../../..'])(
    'CVE-2024-21626: whose working directory is a link to %s does not run',
    async link => {
      await hostileImage('workdir', `ln -s ${link} wd`, ['WORKDIR /wd'])
      const { stdout, code } = await run([], 'workdir', 'ls')
      expect([code, stdout]).toEqual([125, ''])
    },
  )

  test.each([
    ['a link', 'mkdir dev; ln -s /proc/sysrq-trigger dev/null; ln -s /proc/sys/kernel/core_pattern dev/console'],
    ['a file', 'mkdir dev; echo secret > dev/null; echo secret > dev/console'],
    ['a link of /dev', 'mkdir fake; ln -s /proc fake/null; ln -s /fake dev'],
  ])('CVE-2025-31133: whose /dev/null is %s unmasks nothing', async (what, script) => {
    const name = `null-${what.replaceAll(/\W/g, '')}`.toLowerCase()
    await hostileImage(name, script)
    const { stdout, code } = await run([], name, 'sh', '-c', `${masked}; stat -c %t:%T /dev/null`)
    expect([code, stdout]).toEqual([0, '0\n1:3\n'])
  })

  test.each([
    ['pts', 'mkdir -p dev/pts; ln -s /proc/sysrq-trigger dev/pts/0; ln -s /proc dev/pts/ptmx; ln -s pts/0 dev/console'],
    ['ptmx', 'mkdir dev; ln -s /proc dev/pts; ln -s /proc/sys/kernel/core_pattern dev/ptmx; mkdir dev/console'],
    ['console', 'mkdir dev; ln -s /proc/sysrq-trigger dev/console; ln -s / dev/pts'],
  ])('CVE-2025-52565: whose %s is a trap gets a terminal and nothing else', async (what, script) => {
    await hostileImage(`tty-${what}`, script)
    const show = `${masked}; stat -L -c %t /dev/console; readlink /proc/self/fd/0; grep " /proc/[a-z]*.* devpts" /proc/self/mounts; echo end`
    const terminal = await world.terminal(['run', '--rm', '--net', 'none', '-it', `tty-${what}`, 'sh', '-c', show])
    await terminal.waitFor(/end\r/)
    expect(terminal.output()).toMatch(/^0\r\n88\r\n\/dev\/(pts\/0|console)\r\nend\r/m)
    expect((await terminal.finished()).code).toBe(0)
  })

  test.each([
    ['a link', 'mkdir -p fake/self/attr; ln -s /fake proc', []],
    ['a link and a volume', 'mkdir -p fake/self/attr; ln -s /fake proc', ['VOLUME /proc']],
    ['a link to the outside', `ln -s ../../../../../../../proc proc`, []],
  ])('CVE-2019-16884: whose /proc is %s does not run', async (what, script, changes) => {
    const name = `proc-${what.replaceAll(' ', '')}`
    await hostileImage(name, script, changes)
    const { stdout, stderr, code } = await run([], name, 'sh', '-c', 'echo runs')
    expect([code, stdout]).toEqual([125, ''])
    expect(stderr).toMatch(/\/proc/)
  })

  test.each([
    [
      'files',
      'mkdir -p proc/self/attr proc/sys/net/ipv4; echo 0 > proc/sys/net/ipv4/ip_forward; echo x > proc/self/attr/exec',
    ],
    [
      'links',
      'mkdir -p proc/sys/net/ipv4 proc/self; ln -s /proc/sysrq-trigger proc/sys/net/ipv4/ip_forward; ln -s /etc proc/self/attr',
    ],
  ])('CVE-2025-52881: whose /proc has false %s redirects no write', async (what, script) => {
    await hostileImage(`false-${what}`, script)
    const host = readFileSync('/proc/sys/kernel/core_pattern', 'utf8')
    const flags = ['--sysctl', 'net.ipv4.ip_forward=1', '--sysctl', 'net.ipv4.ip_default_ttl=77']
    const show =
      'cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_default_ttl; grep -c "^proc /proc proc rw" /proc/mounts'
    const { stdout, code } = await run(flags, `false-${what}`, 'sh', '-c', show)
    expect([code, stdout]).toEqual([0, '1\n77\n1\n'])
    expect(readFileSync('/proc/sys/kernel/core_pattern', 'utf8')).toBe(host)
  })
})
