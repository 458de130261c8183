// What there is and on what it runs: the facts of `info`.

import { availableParallelism, hostname, release, totalmem } from 'node:os'
import { cgroupLayout } from '../kernel/cgroup/cgroup.ts'
import { readTextIfThere } from '../lib/if-there.ts'
import { unlessDamaged } from '../lib/state-file.ts'
import type { EngineContext } from './context.ts'

/** What there is, and on what it runs. */
export interface SystemInfo {
  readonly containers: { readonly running: number; readonly paused: number; readonly stopped: number }
  readonly images: number
  readonly rootDir: string
  readonly stateDir: string
  readonly cgroupMode: 'v1' | 'hybrid' | 'v2'
  readonly kernelVersion: string
  readonly operatingSystem: string
  /** docker's names: `x86_64`, `aarch64`. */
  readonly architecture: string
  readonly cpus: number
  readonly memoryBytes: number
  readonly hostname: string
  readonly securityOptions: readonly string[]
}

export function collectInfo(context: EngineContext, images: number): SystemInfo {
  const states = context.store.list().flatMap(({ id }) => unlessDamaged(() => context.store.state(id).status) ?? [])
  const count = (...wanted: readonly string[]) => states.filter(status => wanted.includes(status)).length
  const running = count('running', 'restarting')
  const paused = count('paused')
  return {
    containers: { running, paused, stopped: states.length - running - paused },
    images,
    rootDir: context.paths.root,
    stateDir: context.paths.state,
    cgroupMode: cgroupLayout().mode,
    kernelVersion: release(),
    operatingSystem:
      /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(readTextIfThere('/etc/os-release', 'EACCES') ?? '')?.[1] ?? 'Linux',
    architecture: ({ x64: 'x86_64', arm64: 'aarch64' } as Record<string, string>)[process.arch] ?? process.arch,
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    hostname: hostname(),
    securityOptions: ['name=seccomp,profile=builtin', ...lsms(), 'name=cgroupns'],
  }
}

function lsms(): string[] {
  const active = (readTextIfThere('/sys/kernel/security/lsm', 'EACCES') ?? '').trim().split(',')
  return ['apparmor', 'selinux'].filter(name => active.includes(name)).map(name => `name=${name}`)
}
