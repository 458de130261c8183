// Times whole commands, interleaved: each round runs every candidate once, so that a burst of foreign load hits all alike.

import { execFileSync, spawnSync } from 'node:child_process'

/** Bun runs the benchmark: it gives the resource usage of each child, which Node does not. */
declare const Bun: {
  spawnSync(
    command: string[],
    options: { stdin: 'ignore'; stdout: 'ignore'; stderr: 'ignore' },
  ): { exitCode: number | null; resourceUsage: { cpuTime: { total: number | bigint } } }
}

/** One way to do the job. */
export interface Candidate {
  readonly name: string
  readonly command: readonly string[]
  /** Run before and after each measured command, unmeasured. */
  readonly before?: readonly string[]
  readonly after?: readonly string[]
  /** Asked after each measured command: the most memory it had, in KiB. */
  readonly peakKiB?: () => number
}

/** What was measured of one candidate. */
export interface Measurement {
  readonly name: string
  readonly samplesMs: readonly number[]
  /** What each took of the processors, with the children it waited for: what foreign load disturbs least. */
  readonly cpuMs: readonly number[]
  readonly failures: number
  readonly peakKiB?: number
}

/** Runs `rounds` rounds after two that do not count. */
export function measure(candidates: readonly Candidate[], rounds: number): Measurement[] {
  const samples = new Map(candidates.map(candidate => [candidate.name, [] as number[]]))
  const times = new Map(candidates.map(candidate => [candidate.name, [] as number[]]))
  const peaks = new Map<string, number>()
  const failures = new Map(candidates.map(candidate => [candidate.name, 0]))
  for (let round = -2; round < rounds; round += 1) {
    for (const candidate of candidates) {
      if (candidate.before !== undefined) run(candidate.before)
      const start = performance.now()
      const cpuMs = runTimed(candidate.command)
      const elapsed = performance.now() - start
      const peak = candidate.peakKiB?.()
      if (peak !== undefined) peaks.set(candidate.name, Math.max(peak, peaks.get(candidate.name) ?? 0))
      if (candidate.after !== undefined) run(candidate.after)
      if (round < 0) continue
      if (cpuMs !== undefined) {
        samples.get(candidate.name)?.push(elapsed)
        times.get(candidate.name)?.push(cpuMs)
      } else failures.set(candidate.name, (failures.get(candidate.name) ?? 0) + 1)
    }
  }
  return candidates.map(({ name }) => {
    const peakKiB = peaks.get(name)
    const memory = peakKiB === undefined ? {} : { peakKiB }
    const cpuMs = times.get(name) ?? []
    return { name, samplesMs: samples.get(name) ?? [], cpuMs, failures: failures.get(name) ?? 0, ...memory }
  })
}

/** Whether the command succeeded. */
export function run(command: readonly string[]): boolean {
  const [program = '', ...args] = command
  const result = spawnSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  if (result.status !== 0 && process.env.TSRUN_BENCH_DEBUG)
    process.stderr.write(`${command.join(' ')}: ${result.stderr}\n`)
  return result.status === 0
}

/** What the command prints. @throws Error when it fails */
export function output([program = '', ...args]: readonly string[]): string {
  return execFileSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  }).trim()
}

/** How long the command takes, in ms. @throws Error when it fails */
export function timeOf(command: readonly string[]): number {
  const start = performance.now()
  if (!run(command)) throw new Error(`failed: ${command.join(' ').slice(0, 300)}`)
  return performance.now() - start
}

/** Runs the command. @returns its processor time in ms; undefined when it failed */
function runTimed(command: readonly string[]): number | undefined {
  const { exitCode, resourceUsage } = Bun.spawnSync([...command], {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  return exitCode === 0 ? Number(resourceUsage.cpuTime.total) / 1000 : undefined
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

/** The median of the ratios of each round: what foreign load disturbs least. */
export function ratio(of: Measurement, to: Measurement): number {
  return median(
    of.samplesMs.map((sample, round) => sample / (to.samplesMs[round] ?? Number.NaN)).filter(Number.isFinite),
  )
}
