// The world of the kernel tests: the test process moves from one fresh network namespace to the next, so that neither the
// code under test nor the programs that it is compared with can reach the machine's own network.

import { execFileSync } from 'node:child_process'
import { closeSync, readdirSync, readlinkSync } from 'node:fs'
import { afterEach, beforeEach, describe } from 'vitest'
import type { HostState } from '../../src/drivers/network/forwarding.ts'
import { CLONE_NEWNET, unshare } from '../../src/ffi/libc.ts'
import { createNetns, type NewNetns, runInNetns } from '../../src/kernel/netns.ts'
import { freshenNetns } from '../helpers/fresh-netns.ts'

const isRoot = process.getuid?.() === 0
if (!isRoot && process.env.TSRUN_REQUIRE_ROOT === '1') throw new Error('these tests need root')

/** A suite whose tests run each in a fresh namespace; skipped without root. The namespaces end with the process. */
export function describeInNetns(title: string, tests: () => void): void {
  describe.skipIf(!isRoot)(title, () => {
    beforeEach(() => {
      enterFreshNetns()
    })
    afterEach(() => {
      for (const box of boxes.splice(0)) closeBox(box)
    })
    tests()
  })
}

/** The test process leaves the suite's namespace for another one. */
export function enterFreshNetns(): void {
  unshare(CLONE_NEWNET)
  freshenNetns()
  run('ip link set dev lo up')
}

// Made by the kernel in each new namespace when these modules are loaded.
const defaultLinks = /^(sit0|tunl0|gre0|gretap0|erspan0|ip6tnl0|ip6gre0|ip_vti0|ip6_vti0)$/
const boxes: NewNetns[] = []

/** A new namespace that is closed at the end of the test. */
export function newBox(label?: string): NewNetns {
  const box = createNetns(label)
  runInNetns(box.fd, freshenNetns)
  boxes.push(box)
  return box
}

export function closeBox(box: NewNetns): void {
  box.socket.close()
  closeSync(box.fd)
}

/** Runs a shell script in the suite's namespace, or in that of `box`. */
export function run(script: string, box?: { readonly fd: number }): string {
  const go = () =>
    execFileSync('sh', ['-euc', script], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 })
  return box === undefined ? go() : runInNetns(box.fd, go)
}

/** Parsed output of `ip -j -d`. */
// biome-ignore lint/suspicious/noExplicitAny: foreign JSON, looked into by each test
export function ipJson(args: string, box?: { readonly fd: number }): any[] {
  const text = run(`ip -j -d ${args}`, box).trim()
  return text === '' ? [] : JSON.parse(text)
}

/** Names of the links other than the loopback. */
export function linkNames(box?: { readonly fd: number }): string[] {
  return ipJson('link show', box)
    .map(link => link.ifname)
    .filter(name => name !== 'lo' && !defaultLinks.test(name))
}

/** The namespace of the calling thread. */
export function currentNetns(): string {
  return readlinkSync('/proc/thread-self/ns/net')
}

/** How many descriptors this process has open. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

/** A HostState in memory. */
export function memoryState(): HostState & { readonly entries: Map<string, string> } {
  const entries = new Map<string, string>()
  return {
    entries,
    get: key => entries.get(key),
    set: (key, value) => void (value === undefined ? entries.delete(key) : entries.set(key, value)),
  }
}
