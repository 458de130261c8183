// Other engines beside tsrun: each installed one gets a store, a network namespace and an image of its own, so that nothing of
// the machine's is touched. One that cannot run a container here counts as missing.

import { execFileSync, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { isInstalled, type World } from './world.ts'

/** An engine that runs `busybox` here. */
export interface Peer {
  readonly name: 'docker' | 'podman'
  /** `docker run ...` and the like. */
  command(...words: string[]): string[]
  stop(): void
}

const START_MS = 20_000
// Root without CAP_SYS_RESOURCE cannot raise limits, which podman would.
const podmanLimits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024', '--log-driver', 'k8s-file']

/** Those that can run a container, and the names of those that cannot. */
export function startPeers(world: World): { peers: Peer[]; missing: string[] } {
  const archive = makeArchive(world)
  const peers: Peer[] = []
  const missing: string[] = []
  for (const [name, start] of [
    ['docker', startDocker],
    ['podman', startPodman],
  ] as const) {
    const peer = isInstalled(name) ? start(world) : undefined
    if (peer !== undefined && bounded(peer.command('import', archive, 'busybox')).status === 0 && canRun(peer)) {
      peers.push(peer)
      continue
    }
    peer?.stop()
    missing.push(name)
  }
  return { peers, missing }
}

function canRun(peer: Peer): boolean {
  const { status, stderr } = bounded(peer.command('run', '--rm', '-p', '18080:80', 'busybox', 'true'))
  if (status !== 0 && process.env.TSRUN_BENCH_DEBUG) process.stderr.write(`${peer.name}: ${stderr}\n`)
  return status === 0
}

function startPodman(world: World): Peer {
  const place = join(world.directory, 'podman')
  mkdirSync(place)
  const lock = '/dev/shm/libpod_lock'
  const hadLock = existsSync(lock)
  const where = ['--root', `${place}/root`, '--runroot', `${place}/run`, '--tmpdir', `${place}/tmp`]
  const how = ['--network-config-dir', `${place}/net`, '--cgroup-manager', 'cgroupfs', '--events-backend', 'file']
  const podman = (...words: string[]) => world.withoutUnified('podman', ...where, ...how, ...words)
  return {
    name: 'podman',
    command: (verb = '', ...words) => {
      if (verb === 'run') return podman('run', '--pull', 'never', ...podmanLimits, ...words)
      // Its plain `rm -f` waits ten seconds for a pid 1 that does not listen.
      return verb === 'rm' ? podman('rm', '-t', '0', ...words) : podman(verb, ...words)
    },
    stop: () => {
      bounded(podman('rm', '-f', '-t', '0', '-a'))
      bounded(podman('network', 'prune', '-f'))
      spawnSync('umount', ['-R', `${place}/root/overlay`], { stdio: 'ignore' })
      if (!hadLock) rmSync(lock, { force: true })
      removeCgroups('libpod_parent')
    },
  }
}

function startDocker(world: World): Peer | undefined {
  if (!isInstalled('dockerd')) return undefined
  const place = join(world.directory, 'docker')
  mkdirSync(place)
  const socket = `unix://${place}/docker.sock`
  const where = ['--data-root', `${place}/data`, '--exec-root', `${place}/exec`, '-p', `${place}/pid`, '-H', socket]
  const quiet = ['--oom-score-adjust', '0', '-l', 'fatal']
  const [program = '', ...args] = world.inside('unshare', '-m', 'dockerd', ...where, ...quiet)
  const child = spawn(program, args, { stdio: 'ignore' })
  const docker = (...words: string[]) => world.inside('docker', '-H', socket, ...words)
  const answers = waitUntil(() => bounded(docker('version')).status === 0)
  const stop = () => {
    bounded(['sh', '-c', `${docker('ps', '-aq').join(' ')} | xargs -r ${docker('rm', '-f').join(' ')}`])
    for (const file of [`${place}/pid`, `${place}/exec/containerd/containerd.pid`])
      if (existsSync(file)) process.kill(Number(readFileSync(file, 'utf8')), 'SIGTERM')
    waitUntil(() => !existsSync(`${place}/pid`))
    if (child.exitCode === null) child.kill('SIGKILL')
    spawnSync('umount', ['-R', `${place}/data`], { stdio: 'ignore' })
    removeCgroups('docker')
  }
  if (answers) return { name: 'docker', command: docker, stop }
  stop()
  return undefined
}

/** Those without processes, in every hierarchy. */
function removeCgroups(name: string): void {
  const remove = `for each in /sys/fs/cgroup/*/${name}; do find "$each" -depth -type d -exec rmdir {} ";"; done`
  spawnSync('sh', ['-c', remove], { stdio: 'ignore' })
}

/** busybox as an archive of a root file system. */
function makeArchive(world: World): string {
  const root = join(world.directory, 'peer-rootfs')
  for (const folder of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp']) mkdirSync(join(root, folder), { recursive: true })
  execFileSync('cp', ['/bin/busybox', join(root, 'bin/busybox')])
  for (const name of ['true', 'sh', 'sleep']) symlinkSync('busybox', join(root, 'bin', name))
  const archive = join(world.directory, 'busybox.tar')
  execFileSync('tar', ['-C', root, '-cf', archive, '.'])
  return archive
}

function bounded([program = '', ...args]: readonly string[]): SpawnSyncReturns<Buffer> {
  return spawnSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: START_MS })
}

function waitUntil(condition: () => boolean): boolean {
  for (const end = performance.now() + START_MS; performance.now() < end; spawnSync('sleep', ['0.2'])) {
    if (condition()) return true
  }
  return condition()
}
