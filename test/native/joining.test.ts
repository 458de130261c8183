// CVE-2016-9962: what joins a container can be looked into from there until it is the command, unless something forbids it. Two things
// do, and each alone suffices: it is not dumpable, and it has capabilities that nobody inside has. Here each is taken away.

import { chmodSync, closeSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { attach, openPidfd, repository, Workbench } from './harness.ts'

const SYS_PTRACE = 1n << 19n
const few = 0xfn
const most = 0x1ff_ffff_ffffn & ~SYS_PTRACE
/** The engine without CAP_SYS_PTRACE: whoever inside has all that it has may look into what it starts. */
const equal = ['setpriv', '--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace']

let folder = ''
let asItIs: Workbench
let dumpable: Workbench
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsrun-joining-'))
  const compiler = join(folder, 'cc')
  writeFileSync(compiler, `#!/bin/sh\nexec musl-gcc -include ${join(repository, 'test/native/dumpable.h')} "$@"\n`)
  chmodSync(compiler, 0o755)
  asItIs = new Workbench()
  dumpable = new Workbench({ compiler })
})
afterAll(() => {
  asItIs.dispose()
  dumpable.dispose()
  rmSync(folder, { recursive: true })
})

/** For a process that has these, and gets no others. */
function setsOf(capabilities: bigint) {
  return { bounding: capabilities, effective: capabilities, permitted: capabilities, inheritable: 0n, ambient: 0n }
}

/** What a process of the container with these capabilities sees of one that waits to become its command. */
async function look(bench: Workbench, wrapper: readonly string[], capabilities: bigint): Promise<string> {
  const box = bench.box()
  // With fewer capabilities than the engine, or that could not look at it, and so not join it.
  const container = await bench.start(bench.config(box, ['sleep', '1000'], { process: { capabilities: setsOf(few) } }))
  const owner = await attach(join(box, 'attach.sock'))
  owner.own()
  container.go()
  expect(await container.outcome()).toEqual({ kind: 'started' })
  const pidfd = openPidfd(container.pid)
  const { rootfs, hostname, ...config } = bench.execConfig(bench.box(), ['true'])
  const waiting = await bench.start(config, { fd5: pidfd, wrapper })
  expect(waiting.messages).toMatchObject([{ kind: 'ready' }])
  closeSync(pidfd)
  const script =
    'for p in /proc/[0-9]*; do grep -q tsrun.setup $p/comm && { readlink $p/fd/0 >/dev/null && echo open || echo closed; }; done'
  const { stdout } = await bench.exec(container.pid, ['sh', '-c', script], {
    process: { capabilities: setsOf(capabilities) },
  })
  waiting.vanish()
  process.kill(container.pid, 'SIGKILL')
  await owner.exit()
  owner.release()
  return stdout
}

test('a command that joins is closed to the container, with either defence alone', async () => {
  expect(await look(asItIs, [], few)).toBe('closed\n')
  expect(await look(asItIs, equal, most)).toBe('closed\n')
  expect(await look(dumpable, [], few)).toBe('closed\n')
})

test('a command that joins would be open to the container with neither', async () => {
  expect(await look(dumpable, equal, most)).toBe('open\n')
})
