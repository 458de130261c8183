// Runs programs for the tests and keeps all of what they print.

import { type ChildProcess, spawn } from 'node:child_process'

export interface Result {
  readonly stdout: string
  readonly stderr: string
  /** Exit code; null when a signal ended it. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface CommandOptions {
  /** Written to stdin, which is then closed; without it stdin is empty. */
  readonly input?: string | Uint8Array
  /** Replaces the environment. */
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** After it the program is killed and the call fails. Default 20 s. */
  readonly timeoutMs?: number
}

/** A program that is running. */
export interface Running {
  readonly child: ChildProcess
  readonly pid: number
  /** What it has printed so far, stdout and stderr in the order they came. */
  output(): string
  stdout(): string
  stderr(): string
  /** Waits until the output matches. @throws Error with the output after `timeoutMs` (default 10 s) or at its end */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>
  write(text: string | Uint8Array): void
  endInput(): void
  kill(signal?: NodeJS.Signals): void
  /** Resolves when it has ended and its output is read. */
  readonly result: Promise<Result>
}

/** Starts a program; nothing ends it but itself or kill(). */
export function start(command: readonly string[], options: CommandOptions = {}): Running {
  const [program = '', ...args] = command
  const child = spawn(program, args, { env: options.env, cwd: options.cwd, stdio: ['pipe', 'pipe', 'pipe'] })
  const chunks: { from: 'stdout' | 'stderr'; data: Buffer }[] = []
  const listeners = new Set<() => void>()
  let ended = false
  const changed = () => {
    for (const listener of listeners) listener()
  }
  child.stdout.on('data', (data: Buffer) => {
    chunks.push({ from: 'stdout', data })
    changed()
  })
  child.stderr.on('data', (data: Buffer) => {
    chunks.push({ from: 'stderr', data })
    changed()
  })
  // The program may end without reading its input.
  child.stdin.on('error', () => {})

  const text = (from?: 'stdout' | 'stderr') =>
    Buffer.concat(chunks.filter(chunk => from === undefined || chunk.from === from).map(chunk => chunk.data)).toString()
  const result = new Promise<Result>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      ended = true
      changed()
      resolve({ stdout: text('stdout'), stderr: text('stderr'), code, signal })
    })
  })
  // A failure to start is reported to whoever awaits the result.
  result.catch(() => {})

  return {
    child,
    pid: child.pid ?? -1,
    output: () => text(),
    stdout: () => text('stdout'),
    stderr: () => text('stderr'),
    waitFor(pattern, timeoutMs = 10_000) {
      return new Promise((resolve, reject) => {
        const finish = (match: RegExpMatchArray | undefined, why: string) => {
          clearTimeout(timer)
          listeners.delete(check)
          if (match !== undefined) resolve(match)
          else reject(new Error(`${why} before ${pattern} of: ${command.join(' ')}\n${text()}`))
        }
        const check = () => {
          const match = text().match(pattern)
          if (match !== null) finish(match, '')
          else if (ended) finish(undefined, 'the program ended')
        }
        const timer = setTimeout(() => finish(undefined, `${timeoutMs} ms passed`), timeoutMs)
        listeners.add(check)
        check()
      })
    },
    write: input => {
      child.stdin.write(input)
    },
    endInput: () => {
      child.stdin.end()
    },
    kill: (signal = 'SIGTERM') => {
      child.kill(signal)
    },
    result,
  }
}

/** Runs a program to its end, whatever its exit code. @throws Error when it cannot be started or takes too long */
export async function execute(command: readonly string[], options: CommandOptions = {}): Promise<Result> {
  const timeoutMs = options.timeoutMs ?? 20_000
  const running = start(command, options)
  running.child.stdin?.end(options.input)
  let expired = false
  const timer = setTimeout(() => {
    expired = true
    running.kill('SIGKILL')
    // A grandchild may hold the pipes open: do not wait for it.
    running.child.stdout?.destroy()
    running.child.stderr?.destroy()
  }, timeoutMs)
  const result = await running.result.finally(() => clearTimeout(timer))
  if (expired) throw new Error(`no end after ${timeoutMs} ms: ${command.join(' ')}\n${running.output()}`)
  return result
}

/** Runs a program that must succeed and returns its stdout. @throws Error with its output */
export async function succeed(command: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await execute(command, options)
  if (result.code !== 0) {
    throw new Error(`exit ${result.code ?? result.signal}: ${command.join(' ')}\n${result.stdout}${result.stderr}`)
  }
  return result.stdout
}

/** Calls `attempt` until it returns something else than undefined or false. @throws Error after `timeoutMs` */
export async function eventually<T>(
  what: string,
  attempt: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 5_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const value = await attempt()
    if (value !== undefined && value !== false) return value
    if (Date.now() > deadline) throw new Error(`still not after ${timeoutMs} ms: ${what}`)
    await sleep(20)
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
