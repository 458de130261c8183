// Where the benchmark runs: a network namespace, and for crun, which refuses hybrid cgroups, a mount namespace without
// the v2 tree. Everything is removed at the end.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { output } from './measure.ts'

export interface World {
  readonly directory: string
  /** The commands of tsrun, with its namespace and directories. */
  tsrun(...args: string[]): string[]
  /** What such a command prints. @throws Error when it fails */
  tsrunOutput(...args: string[]): string
  /** A command in the benchmark's network namespace. */
  inside(...command: string[]): string[]
  /** `run` of an OCI runtime on the bare bundle; undefined where it is not installed. */
  runtime(name: 'crun' | 'runc'): ((id: string) => string[]) | undefined
  /** bench/NAME.c, compiled without dependencies. */
  program(name: string): string
  /** A further network namespace with a link to that of tsrun, which has the address .1 of `subnet` (three octets); ours is .2. */
  neighbour(subnet: string): string[]
  /** The same where crun works, which refuses hybrid cgroups: without the v2 tree. */
  withoutUnified(...command: string[]): string[]
  /** Done by dispose(), the last one first. */
  onDispose(task: () => void): void
  dispose(): void
}

export function createWorld(): World {
  const directory = mkdtempSync(join(tmpdir(), 'tsrun-bench-'))
  const namespace = `tsbench${process.pid}`
  ip('netns', 'add', namespace)
  ip('-n', namespace, 'link', 'set', 'lo', 'up')
  const mounts = prepareMountNamespace(directory)
  const network = ['nsenter', `--net=/run/netns/${namespace}`]
  const root = join(directory, 'root')
  const state = join(directory, 'state')
  const tsrun = (...args: string[]) => [...network, resolve('dist/tsrun'), '--root', root, '--state', state, ...args]
  const bundle = prepareBundle(directory)
  const hybridless = mounts === undefined ? network : ['nsenter', `--mount=${mounts}`, `--net=/run/netns/${namespace}`]
  const tasks: (() => void)[] = []
  let neighbours = 0
  return {
    directory,
    tsrun,
    tsrunOutput: (...args) => output(tsrun(...args)),
    inside: (...command) => [...network, ...command],
    withoutUnified: (...command) => [...hybridless, ...command],
    runtime: name => {
      if (!isInstalled(name)) return undefined
      const prefix = name === 'crun' ? hybridless : network
      return id => [...prefix, name, '--root', join(directory, name), 'run', '--bundle', bundle, id]
    },
    program: name => {
      const program = join(directory, name)
      if (!existsSync(program)) execFileSync('gcc', ['-static', '-O2', '-o', program, `bench/${name}.c`])
      return program
    },
    neighbour: subnet => {
      neighbours += 1
      const other = `${namespace}-${neighbours}`
      const link = `out${neighbours}`
      ip('netns', 'add', other)
      tasks.push(() => ip('netns', 'del', other))
      ip('-n', namespace, 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', other)
      ip('-n', namespace, 'address', 'add', `${subnet}.1/24`, 'dev', link)
      ip('-n', namespace, 'link', 'set', link, 'up')
      ip('-n', other, 'address', 'add', `${subnet}.2/24`, 'dev', 'eth0')
      for (const name of ['lo', 'eth0']) ip('-n', other, 'link', 'set', name, 'up')
      ip('-n', other, 'route', 'add', 'default', 'via', `${subnet}.1`)
      return ['nsenter', `--net=/run/netns/${other}`]
    },
    onDispose: task => tasks.push(task),
    dispose: () => {
      for (const task of tasks.reverse()) task()
      if (mounts !== undefined) execFileSync('umount', [mounts])
      ip('netns', 'del', namespace)
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args)
}

export function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0
}

/** A mount namespace without the v2 tree of a hybrid host, bound to a file; undefined where there is no such tree. */
function prepareMountNamespace(directory: string): string | undefined {
  if (!readFileSync('/proc/self/mountinfo', 'utf8').includes(' /sys/fs/cgroup/unified ')) return undefined
  const folder = join(directory, 'ns')
  mkdirSync(folder)
  // The file must lie on a private mount: a mount namespace cannot be bound into one that it would propagate to.
  const file = join(folder, 'mnt')
  writeFileSync(file, '')
  const made = spawnSync('unshare', [`--mount=${file}`, '--propagation', 'private', 'umount', '/sys/fs/cgroup/unified'])
  return made.status === 0 ? file : undefined
}

/** busybox and the default configuration of runc, without a terminal. */
function prepareBundle(directory: string): string {
  const bundle = join(directory, 'bundle')
  const bin = join(bundle, 'rootfs/bin')
  mkdirSync(bin, { recursive: true })
  for (const folder of ['proc', 'sys', 'dev', 'etc', 'tmp']) mkdirSync(join(bundle, 'rootfs', folder))
  execFileSync('cp', ['/bin/busybox', join(bin, 'true')])
  const generator = ['runc', 'crun'].find(isInstalled)
  if (generator === undefined) return bundle
  execFileSync(generator, ['spec'], { cwd: bundle })
  const file = join(bundle, 'config.json')
  const config = JSON.parse(readFileSync(file, 'utf8'))
  config.process.terminal = false
  config.process.args = ['/bin/true']
  // Rootless generators and a root without CAP_SYS_RESOURCE: the limit they ask for cannot be raised.
  config.process.rlimits = []
  writeFileSync(file, JSON.stringify(config))
  return bundle
}
