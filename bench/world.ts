// Where the benchmark runs: a network namespace, and for crun, which refuses hybrid cgroups, a mount namespace without
// the v2 tree. Everything is removed at the end.

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export interface World {
  readonly directory: string
  /** The commands of tsrun, with its namespace and directories. */
  tsrun(...args: string[]): string[]
  /** A command in the benchmark's network namespace. */
  inside(...command: string[]): string[]
  /** `run` of an OCI runtime on the bare bundle; undefined where it is not installed. */
  runtime(name: 'crun' | 'runc'): ((id: string) => string[]) | undefined
  /** docker or podman, if installed and answering. */
  peers(): string[]
  dispose(): void
}

export function createWorld(): World {
  const directory = mkdtempSync(join(tmpdir(), 'tsrun-bench-'))
  const namespace = `tsbench${process.pid}`
  execFileSync('ip', ['netns', 'add', namespace])
  execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up'])
  const mounts = prepareMountNamespace(directory)
  const network = ['nsenter', `--net=/run/netns/${namespace}`]
  const root = join(directory, 'root')
  const state = join(directory, 'state')
  const tsrun = (...args: string[]) => [...network, resolve('dist/tsrun'), '--root', root, '--state', state, ...args]
  const bundle = prepareBundle(directory)
  return {
    directory,
    tsrun,
    inside: (...command) => [...network, ...command],
    runtime: name => {
      if (!isInstalled(name)) return undefined
      const prefix =
        name === 'crun' && mounts !== undefined
          ? ['nsenter', `--mount=${mounts}`, `--net=/run/netns/${namespace}`]
          : network
      return id => [...prefix, name, '--root', join(directory, name), 'run', '--bundle', bundle, id]
    },
    peers: () =>
      ['docker', 'podman'].filter(
        name => isInstalled(name) && spawnSync(name, ['info'], { stdio: 'ignore' }).status === 0,
      ),
    dispose: () => {
      if (mounts !== undefined) execFileSync('umount', [mounts])
      execFileSync('ip', ['netns', 'del', namespace])
      rmSync(directory, { recursive: true, force: true })
    },
  }
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
