// A network namespace that plays a machine of the simulated world. Programs enter it with nsenter and nothing else:
// `ip netns exec` would also hide the cgroups behind a new /sys.

import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { type CommandOptions, execute, type Result, type Running, start, succeed } from './command.ts'
import { freshenScript } from './fresh-netns.ts'

/** What a program of the tests finds in its environment: nothing of the developer's. */
export const plainEnvironment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LANG: 'C.UTF-8',
}

export interface Fetched {
  /** HTTP status, 0 when there was no answer. */
  readonly status: number
  readonly body: string
  /** curl's exit code: 7 refused, 28 timed out. */
  readonly code: number | null
}

export class Namespace {
  readonly name: string
  /** A file that the namespace is bound to. */
  readonly path: string
  readonly env: NodeJS.ProcessEnv
  readonly #background: Running[] = []

  private constructor(name: string, path: string, env: NodeJS.ProcessEnv) {
    this.name = name
    this.path = path
    this.env = env
  }

  /** Makes a namespace with `lo` up. It lives until remove(), or longer while something runs in it. */
  static async create(name: string, path: string, env: NodeJS.ProcessEnv = plainEnvironment): Promise<Namespace> {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, '')
    await succeed(['unshare', `--net=${path}`, 'sh', '-euc', `${freshenScript}; ip link set lo up`])
    return new Namespace(name, path, env)
  }

  /** Number of the namespace in nsfs, as in `net:[4026532000]`. */
  get inode(): number {
    return statSync(this.path).ino
  }

  command(command: string, args: readonly string[] = []): string[] {
    return ['nsenter', `--net=${this.path}`, command, ...args]
  }

  /** Runs a program inside that must succeed; returns its stdout. */
  exec(command: string, args: readonly string[] = [], options: CommandOptions = {}): Promise<string> {
    return succeed(this.command(command, args), { env: this.env, ...options })
  }

  /** Runs a program inside, whatever its exit code. */
  tryExec(command: string, args: readonly string[] = [], options: CommandOptions = {}): Promise<Result> {
    return execute(this.command(command, args), { env: this.env, ...options })
  }

  /** Runs a shell script inside that must succeed; returns its stdout. */
  sh(script: string, options: CommandOptions = {}): Promise<string> {
    return this.exec('sh', ['-euc', script], options)
  }

  /** Starts a program inside; stopBackground() ends it. */
  start(command: string, args: readonly string[] = [], options: CommandOptions = {}): Running {
    const running = start(this.command(command, args), { env: this.env, ...options })
    this.#background.push(running)
    return running
  }

  /** Parsed output of `ip -j ARGS`, e.g. `ipJson('link', 'show', 'type', 'veth')`. */
  // biome-ignore lint/suspicious/noExplicitAny: foreign JSON, looked into by each test
  async ipJson(...args: string[]): Promise<any[]> {
    const text = await this.exec('ip', ['-j', '-d', ...args])
    return text.trim() === '' ? [] : JSON.parse(text)
  }

  /** The objects of `nft -j list ruleset`, without its header. */
  // biome-ignore lint/suspicious/noExplicitAny: foreign JSON, looked into by each test
  async nftJson(): Promise<any[]> {
    const { nftables } = JSON.parse(await this.exec('nft', ['-j', 'list', 'ruleset']))
    return nftables.filter((object: object) => !('metainfo' in object))
  }

  /** Fetches a page as a real client would. Never throws for want of an answer. */
  async curl(url: string, options: { timeoutSeconds?: number; from?: string } = {}): Promise<Fetched> {
    const { timeoutSeconds = 2, from } = options
    const source = from === undefined ? [] : ['--interface', from]
    // -g: an IPv6 address in brackets is no pattern.
    const args = ['-gsS', '--max-time', String(timeoutSeconds), '-w', '\\n%{http_code}', ...source, url]
    const { stdout, code } = await this.tryExec('curl', args)
    const cut = stdout.lastIndexOf('\n')
    return { status: Number(stdout.slice(cut + 1)) || 0, body: stdout.slice(0, Math.max(cut, 0)), code }
  }

  /** Whether one of three echo requests comes back. */
  async ping(address: string): Promise<boolean> {
    const { code } = await this.tryExec('busybox', ['ping', '-c', '3', '-i', '0.2', '-W', '1', '-A', address])
    return code === 0
  }

  /** Ends what start() began. */
  async stopBackground(): Promise<void> {
    for (const running of this.#background.splice(0)) {
      running.kill('SIGKILL')
      await running.result.catch(() => {})
    }
  }

  /** Takes the file away: the namespace goes when nothing runs in it any more. */
  async remove(): Promise<void> {
    await this.stopBackground()
    await execute(['umount', this.path])
    rmSync(this.path, { force: true })
  }
}
