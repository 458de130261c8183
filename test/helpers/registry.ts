// Registries for the tests: Debian's docker-registry on a free port of 127.0.0.1, plain, with basic or with token
// authentication; and a home for tsrun with a store, credentials and a registries.json of its own.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CommandOptions, eventually, execute, type Result, type Running, start, succeed } from './command.ts'
import { plainEnvironment } from './namespace.ts'
import type { TokenAuthority } from './token-authority.ts'
import { faceCommand } from './world.ts'

/** Who may use the registries with basic authentication. The password is one that shells and URLs mistreat. */
export const user = { name: 'alice', password: 's3cret pass' } as const
const htpasswd = `${user.name}:$2b$05$abcdefghijklmnopqrstuu1qdcFaS0PtqFUPzaCxLQ8/0lspH0ZEW\n`

export interface RegistryOptions {
  readonly auth?: 'basic' | TokenAuthority
}

export class Registry {
  /** As references write it, e.g. `127.0.0.1:34567`. */
  readonly host: string
  readonly #dir: string
  readonly #process: Running

  private constructor(host: string, dir: string, process: Running) {
    this.host = host
    this.#dir = dir
    this.#process = process
  }

  static async start({ auth }: RegistryOptions = {}): Promise<Registry> {
    const dir = mkdtempSync(join(tmpdir(), 'tsrun-registry-'))
    const host = `127.0.0.1:${await freePort()}`
    writeFileSync(join(dir, 'htpasswd'), htpasswd)
    // The file is YAML, and JSON is YAML.
    const config = {
      version: 0.1,
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(dir, 'data') } },
      http: { addr: host },
      ...(auth === undefined ? {} : { auth: authConfig(auth, dir) }),
    }
    writeFileSync(join(dir, 'config.yml'), JSON.stringify(config))
    const process = start(['docker-registry', 'serve', join(dir, 'config.yml')], { env: plainEnvironment })
    const registry = new Registry(host, dir, process)
    await eventually('the registry answers', async () => {
      const status = await fetch(`http://${host}/v2/`).then(
        response => response.status,
        () => 0,
      )
      return status === 200 || status === 401
    })
    return registry
  }

  /** PUTs a manifest or index as it is. */
  async putManifest(repository: string, tag: string, mediaType: string, document: object): Promise<void> {
    const response = await fetch(`http://${this.host}/v2/${repository}/manifests/${tag}`, {
      method: 'PUT',
      headers: { 'content-type': mediaType },
      body: JSON.stringify(document),
    })
    if (response.status !== 201) throw new Error(`HTTP ${response.status}: ${await response.text()}`)
  }

  /** A manifest or index, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: foreign JSON, looked into by each test
  async manifest(repository: string, reference: string): Promise<{ type: string; size: number; document: any }> {
    const response = await fetch(`http://${this.host}/v2/${repository}/manifests/${reference}`, {
      headers: { accept: acceptAll },
    })
    if (response.status !== 200) throw new Error(`HTTP ${response.status}: ${await response.text()}`)
    const text = await response.text()
    return { type: response.headers.get('content-type') ?? '', size: text.length, document: JSON.parse(text) }
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#process.result
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

const acceptAll = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')

/** A machine of its own as far as images go. */
export class Home {
  readonly dir: string
  readonly root: string
  readonly env: NodeJS.ProcessEnv
  readonly #patience: CommandOptions

  /** @param timeoutMs how long a command may take, where it has much to do */
  constructor({ timeoutMs }: { timeoutMs?: number } = {}) {
    this.#patience = timeoutMs === undefined ? {} : { timeoutMs }
    this.dir = mkdtempSync(join(tmpdir(), 'tsrun-home-'))
    this.root = join(this.dir, 'root')
    mkdirSync(join(this.dir, 'bin'))
    this.env = {
      ...plainEnvironment,
      PATH: `${join(this.dir, 'bin')}:${plainEnvironment.PATH}`,
      HOME: this.dir,
      XDG_RUNTIME_DIR: join(this.dir, 'run'),
      DOCKER_CONFIG: join(this.dir, 'docker'),
      TSRUN_ROOT: this.root,
      TSRUN_STATE: join(this.dir, 'state'),
      TSRUN_REGISTRIES: join(this.dir, 'registries.json'),
    }
  }

  /** Writes registries.json. */
  configure(registries: object): void {
    writeFileSync(join(this.dir, 'registries.json'), JSON.stringify(registries))
  }

  /** The file that login writes. */
  get dockerConfig(): string {
    return join(this.dir, 'docker', 'config.json')
  }

  tsrun(args: readonly string[], options: CommandOptions = {}): Promise<Result> {
    return execute([...faceCommand(), ...args], { env: this.env, ...this.#patience, ...options })
  }

  /** A command that must succeed; its stdout without the last line feed. */
  async ok(...args: string[]): Promise<string> {
    return (await succeed([...faceCommand(), ...args], { env: this.env, ...this.#patience })).replace(/\n$/, '')
  }

  /** The stderr of a command that must fail. */
  async fails(...args: string[]): Promise<string> {
    const { code, stderr, stdout } = await this.tsrun(args)
    if (code === 0) throw new Error(`it succeeded: tsrun ${args.join(' ')}\n${stdout}`)
    return stderr
  }

  start(args: readonly string[], options: CommandOptions = {}): Running {
    return start([...faceCommand(), ...args], { env: this.env, ...options })
  }

  /** Runs a command in a container of the image, without a network. */
  run(image: string, ...command: string[]): Promise<string> {
    return this.ok('run', '--rm', '--net', 'none', image, ...command)
  }

  /** Checks by sha256sum that every blob is what its name says. */
  async checkStore(): Promise<void> {
    const script = 'for name in *; do [ "$name" = "*" ] || echo "$name  $name"; done | sha256sum -c --quiet'
    const blobs = join(this.root, 'images/blobs/sha256')
    await succeed(['sh', '-c', script], { cwd: blobs })
  }

  /** Names of the blobs that are there in part. */
  partial(): string[] {
    return listOrEmpty(join(this.root, 'images/partial'))
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}

export function listOrEmpty(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

/** An image with a layer of random bytes, `bytes` long, on busybox: as a name in the home's store. Compresses to nothing less. */
export async function makeLargeImage(home: Home, name: string, bytes: number): Promise<void> {
  const rootfs = mkdtempSync(join(home.dir, 'rootfs-'))
  mkdirSync(join(rootfs, 'bin'))
  const busybox = readFileSync('/bin/busybox')
  writeFileSync(join(rootfs, 'bin/busybox'), busybox, { mode: 0o755 })
  await succeed(['sh', '-c', `head -c ${bytes} /dev/urandom > large && tar -cf ../large.tar .`], { cwd: rootfs })
  await home.ok('import', join(home.dir, 'large.tar'), name)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}

function authConfig(auth: 'basic' | TokenAuthority, dir: string): object {
  if (auth === 'basic') return { htpasswd: { realm: 'tests', path: join(dir, 'htpasswd') } }
  const { realm, service, issuer, certificatePath } = auth
  return { token: { realm, service, issuer, rootcertbundle: certificatePath } }
}
