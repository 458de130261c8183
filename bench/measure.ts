// Times whole commands, interleaved: each round runs every candidate once, so that a burst of foreign load hits all alike.

import { spawnSync } from 'node:child_process'

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
  readonly failures: number
  readonly peakKiB?: number
}

/** Runs `rounds` rounds after two that do not count. */
export function measure(candidates: readonly Candidate[], rounds: number): Measurement[] {
  const samples = new Map(candidates.map(candidate => [candidate.name, [] as number[]]))
  const peaks = new Map<string, number>()
  const failures = new Map(candidates.map(candidate => [candidate.name, 0]))
  for (let round = -2; round < rounds; round += 1) {
    for (const candidate of candidates) {
      if (candidate.before !== undefined) run(candidate.before)
      const start = performance.now()
      const ok = run(candidate.command)
      const elapsed = performance.now() - start
      const peak = candidate.peakKiB?.()
      if (peak !== undefined) peaks.set(candidate.name, Math.max(peak, peaks.get(candidate.name) ?? 0))
      if (candidate.after !== undefined) run(candidate.after)
      if (round < 0) continue
      if (ok) samples.get(candidate.name)?.push(elapsed)
      else failures.set(candidate.name, (failures.get(candidate.name) ?? 0) + 1)
    }
  }
  return candidates.map(({ name }) => {
    const peakKiB = peaks.get(name)
    const memory = peakKiB === undefined ? {} : { peakKiB }
    return { name, samplesMs: samples.get(name) ?? [], failures: failures.get(name) ?? 0, ...memory }
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
