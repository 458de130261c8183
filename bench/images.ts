// Images in: load, import, pull, and a pull that finds nothing new; beside skopeo with umoci, podman and docker where they are
// installed, and beside `tar -xf` with `sha256sum`, which is what has to be done at least. Everything is on tmpfs: after many files were
// deleted at once ext4 is slow for minutes, and that would be measured.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type ImageFixture, makeImage } from './image-fixtures.ts'
import { type Candidate, type Measurement, measure, run } from './measure.ts'
import { isInstalled, type World } from './world.ts'

interface Result {
  readonly title: string
  readonly reference: string
  readonly measurements: readonly Measurement[]
}

const registryPort = 15000
const podmanLock = '/dev/shm/libpod_lock'

/** Images of that size with 1, 5 and 20 layers. */
export function benchImages(world: World, rounds: number, megabytes: number): Result[] {
  const folder = mkdtempSync('/dev/shm/tsrun-bench-')
  const stop: (() => void)[] = [() => rmSync(folder, { recursive: true, force: true })]
  // podman's, whatever its --root is.
  if (!existsSync(podmanLock)) stop.push(() => rmSync(podmanLock, { force: true }))
  try {
    stop.push(startRegistry(world, folder))
    const docker = startDocker(world, folder)
    if (docker !== undefined) stop.push(docker.stop)
    return [1, 5, 20].flatMap(layers => {
      const place = join(folder, 'image')
      const image = makeImage(place, megabytes, layers)
      const results = new Engines({ world, folder, image, docker }).measure(rounds)
      rmSync(place, { recursive: true })
      return results
    })
  } finally {
    for (const each of stop.reverse()) each()
  }
}

interface Parts {
  readonly world: World
  readonly folder: string
  readonly image: ImageFixture
  readonly docker: Docker | undefined
}

/** The same job by each engine, each with a store of its own that is empty before. */
class Engines {
  readonly #parts: Parts
  readonly #remote: string

  constructor(parts: Parts) {
    this.#parts = parts
    this.#remote = `127.0.0.1:${registryPort}/bench:${parts.image.title.replaceAll(' ', '-').toLowerCase()}`
  }

  measure(rounds: number): Result[] {
    const { image, world } = this.#parts
    const copy = [
      'skopeo',
      'copy',
      '-q',
      '--dest-tls-verify=false',
      `oci:${image.layout}:bench`,
      `docker://${this.#remote}`,
    ]
    execFileSync('nsenter', world.inside(...copy).slice(1))
    const plain = this.#floor('tar -xf + sha256sum', '-xf', image.tars)
    const gzip = this.#floor('tar -xzf + sha256sum', '-xzf', image.gzips)
    const table = (verb: string, candidates: readonly Candidate[]): Result => ({
      title: `${verb}, ${image.title}`,
      reference: plain.name,
      measurements: measure(candidates, rounds),
    })
    return [
      table('load', [plain, ...this.#load()]),
      ...(image.tars.length === 1 ? [table('import', [plain, ...this.#import(image.tars[0] ?? '')])] : []),
      table('pull', [plain, gzip, ...this.#pull()]),
      ...(image.tars.length === 5 ? [table('pull again, unchanged', this.#pullAgain())] : []),
    ]
  }

  #load(): Candidate[] {
    const { image, docker } = this.#parts
    return [
      this.#tsrun('tsrun load', 'load', '-q', '-i', image.archive),
      this.#skopeo('skopeo copy + umoci unpack', `docker-archive:${image.archive}`),
      ...this.#podman('podman load', 'load', '-q', '-i', image.archive),
      ...(docker?.candidate('docker load', 'load', '-q', '-i', image.archive) ?? []),
    ]
  }

  #import(tar: string): Candidate[] {
    const { docker } = this.#parts
    return [
      this.#tsrun('tsrun import', 'import', tar, 'bench'),
      ...this.#podman('podman import', 'import', '-q', tar, 'bench'),
      ...(docker?.candidate('docker import', 'import', tar, 'bench') ?? []),
    ]
  }

  #pull(): Candidate[] {
    const { docker } = this.#parts
    return [
      this.#tsrun('tsrun pull', 'pull', '-q', this.#remote),
      this.#skopeo('skopeo copy + umoci unpack', '--src-tls-verify=false', `docker://${this.#remote}`),
      ...this.#podman('podman pull', 'pull', '-q', '--tls-verify=false', this.#remote),
      ...(docker?.candidate('docker pull', 'pull', '-q', this.#remote) ?? []),
    ]
  }

  #pullAgain(): Candidate[] {
    const { world, docker } = this.#parts
    const again = (candidate: Candidate): Candidate => ({ ...candidate, before: candidate.command })
    const accept = 'Accept: application/vnd.oci.image.manifest.v1+json'
    const url = `http://${this.#remote.replace('/bench:', '/v2/bench/manifests/')}`
    return [
      { name: 'one round trip (curl -I)', command: world.inside('curl', '-sfI', '-H', accept, url) },
      ...this.#pull()
        .filter(({ name }) => name.startsWith('tsrun') || name.startsWith('podman'))
        .map(again),
      ...(docker?.candidate('docker pull', 'pull', '-q', this.#remote) ?? []).map(again),
    ]
  }

  #floor(name: string, flag: string, archives: readonly string[]): Candidate {
    const place = this.#place('floor')
    const unpack = archives.map(archive => `tar ${flag} ${archive} -C ${place}`).join(' && ')
    const script = `mkdir -p ${place} && ${unpack} && sha256sum ${archives.join(' ')} >${place}/sums`
    return this.#emptied({ name, place, command: ['sh', '-c', script] })
  }

  #tsrun(name: string, ...args: string[]): Candidate {
    const place = this.#place('tsrun')
    const command = [resolve('dist/tsrun'), '--root', `${place}/root`, '--state', `${place}/state`, ...args]
    return this.#emptied({ name, place, command })
  }

  #podman(name: string, ...args: string[]): Candidate[] {
    if (!isInstalled('podman')) return []
    const place = this.#place('podman')
    const stores = ['--root', `${place}/root`, '--runroot', `${place}/run`, '--storage-driver', 'overlay']
    return [this.#emptied({ name, place, command: ['podman', ...stores, ...args] })]
  }

  #skopeo(name: string, ...from: string[]): Candidate {
    const place = this.#place('skopeo')
    const copy = `skopeo copy -q ${from.join(' ')} oci:${place}/oci:bench`
    const script = `mkdir -p ${place} && ${copy} && umoci unpack --image ${place}/oci:bench ${place}/bundle`
    return this.#emptied({ name, place, command: ['sh', '-c', script] })
  }

  #place(engine: string): string {
    return join(this.#parts.folder, `store-${engine}`)
  }

  /** Timed with time(1), which says how much memory the largest process had. */
  #emptied({ name, place, command }: { name: string; place: string; command: readonly string[] }): Candidate {
    const peak = join(this.#parts.folder, 'peak')
    return {
      name,
      before: ['sh', '-c', `rm -rf ${place}`],
      command: this.#parts.world.inside('/usr/bin/time', '-f', '%M', '-o', peak, ...command),
      peakKiB: () => Number(readFileSync(peak, 'utf8').trim().split('\n').at(-1)),
    }
  }
}

/** docker-registry on a port of the namespace. */
function startRegistry(world: World, folder: string): () => void {
  const config = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'registry') } },
    http: { addr: `127.0.0.1:${registryPort}` },
  }
  const file = join(folder, 'registry.yml')
  writeFileSync(file, JSON.stringify(config))
  const [program = '', ...args] = world.inside('docker-registry', 'serve', file)
  const child = spawn(program, args, { stdio: 'ignore' })
  waitFor('the registry', () => run(world.inside('curl', '-sf', `http://127.0.0.1:${registryPort}/v2/`)))
  return () => child.kill('SIGKILL')
}

interface Docker {
  candidate(name: string, ...args: string[]): Candidate[]
  stop(): void
}

/** A daemon of our own in the namespace, with its store on tmpfs and without a network; undefined where docker is not installed. */
function startDocker(world: World, folder: string): Docker | undefined {
  if (!isInstalled('dockerd')) return undefined
  const place = join(folder, 'docker')
  mkdirSync(place)
  const socket = `unix://${place}/docker.sock`
  const where = ['--data-root', `${place}/data`, '--exec-root', `${place}/exec`, '-p', `${place}/pid`, '-H', socket]
  const quiet = ['--iptables=false', '--ip6tables=false', '--bridge=none', '--oom-score-adjust', '0', '-l', 'fatal']
  const [program = '', ...args] = world.inside('unshare', '-m', 'dockerd', ...where, ...quiet)
  const child = spawn(program, args, { stdio: 'ignore' })
  const docker = (...words: string[]) => world.inside('docker', '-H', socket, ...words)
  waitFor('dockerd', () => run(docker('version')))
  const pids = () => [
    readFileSync(`${place}/pid`, 'utf8').trim(),
    readFileSync(`${place}/exec/containerd/containerd.pid`, 'utf8').trim(),
  ]
  const clear = `docker -H ${socket} image ls -aq | sort -u | xargs -r docker -H ${socket} rmi -f`
  return {
    candidate: (name, ...words) => [
      {
        name,
        before: world.inside('sh', '-c', clear),
        command: docker(...words),
        // Of daemon and containerd, since they were started.
        peakKiB: () => pids().reduce((total, pid) => total + highWater(pid), 0),
      },
    ],
    stop: () => {
      for (const pid of pids()) process.kill(Number(pid), 'SIGTERM')
      waitFor('the end of dockerd', () => child.exitCode !== null || !existsSync(`${place}/pid`))
      spawnSync('umount', ['-R', `${place}/data`], { stdio: 'ignore' })
    },
  }
}

function highWater(pid: string): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
}

function waitFor(what: string, isThere: () => boolean): void {
  for (let tries = 0; tries < 200; tries++) {
    if (isThere()) return
    spawnSync('sleep', ['0.1'])
  }
  throw new Error(`${what} does not come`)
}
