// Feeds a target what is in its corpus and then mutants of it, for a while. No coverage is measured: a mutant that gets an answer
// nobody got before is bred from. A finding says how to have it again; put the input into the corpus once it is repaired.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Random } from '../helpers/random.ts'
import { seed } from '../helpers/seed.ts'
import { type InputKind, mutate } from './mutate.ts'
import { Watchdog } from './watchdog.ts'

/** Something that reads what others wrote. */
export interface FuzzTarget {
  /** Also the folder of its corpus. */
  readonly name: string
  readonly kind: InputKind
  /**
   * Reads one input and looks at what came of it.
   * @returns a few words on the answer, by which new ones are known; throws what the reader threw, or what is wrong with the answer
   */
  readonly run: (input: Buffer) => unknown
  /** Whether the reader is meant to throw this. */
  readonly refuses: (error: unknown) => boolean
}

/** What a run was. */
export interface FuzzResult {
  readonly executions: number
  /** Inputs that were bred from. */
  readonly pool: number
  readonly seed: number
}

/** More than this for one input is a finding: processor time, as the machine may be busy. */
const maxInputMs = 1000
/** More than this for a whole run is a finding. */
const maxGrowthBytes = 512 * 1024 * 1024
const maxPool = 2000

const folder = fileURLToPath(new URL('corpus', import.meta.url))

/** The inputs in the repository, by file name. */
export function corpusOf(target: string): Map<string, Buffer> {
  const own = join(folder, target)
  return new Map(
    readdirSync(own)
      .sort()
      .map(name => [name, readFileSync(join(own, name))]),
  )
}

/** How long a target is fuzzed: TSRUN_FUZZ_SECONDS, else what `npm run ok` can spare. */
export function fuzzSeconds(): number {
  return Number(process.env.TSRUN_FUZZ_SECONDS ?? 0.5)
}

/** @throws Error with the input in it, for the first finding */
export async function fuzz(target: FuzzTarget, seconds = fuzzSeconds()): Promise<FuzzResult> {
  const random = new Random(seed)
  const corpus = corpusOf(target.name)
  const pool = [...corpus.values()]
  if (pool.length === 0) throw new Error(`the corpus of ${target.name} is empty`)
  const known = new Set<string>()
  const watchdog = new Watchdog(target.name)
  const atStart = process.memoryUsage.rss()
  let executions = 0
  try {
    for (const [name, input] of corpus) known.add(await execute(target, input, name, watchdog))
    const end = Date.now() + seconds * 1000
    while (Date.now() < end) {
      const input = mutate(random.pick(pool), pool, target.kind, random)
      const answer = await execute(target, input, `TSRUN_SEED=${seed}, execution ${executions}`, watchdog)
      executions++
      if (!known.has(answer) && pool.length < maxPool) {
        known.add(answer)
        pool.push(input)
      }
      if (executions % 500 === 0) checkMemory(target, atStart)
    }
  } finally {
    await watchdog.stop()
  }
  return { executions, pool: pool.length, seed }
}

async function execute(target: FuzzTarget, input: Buffer, place: string, watchdog: Watchdog): Promise<string> {
  watchdog.watch(input)
  const before = process.cpuUsage()
  let answer: string
  try {
    const value = target.run(input)
    answer = `ok ${value instanceof Promise ? await value : value}`
  } catch (error) {
    if (!target.refuses(error)) throw finding(target, input, place, error)
    answer = error instanceof Error ? `refused ${shape(error.message)}` : 'refused'
  }
  const { user, system } = process.cpuUsage(before)
  if (user + system > maxInputMs * 1000) throw finding(target, input, place, `it took ${(user + system) / 1000} ms`)
  for (const key in {}) throw finding(target, input, place, `every object now has "${key}"`)
  return answer
}

function checkMemory(target: FuzzTarget, atStart: number): void {
  const growth = process.memoryUsage.rss() - atStart
  if (growth > maxGrowthBytes) throw new Error(`fuzzing ${target.name} took ${growth} bytes of memory`)
}

/** A message without what differs from input to input. */
function shape(message: string): string {
  return message
    .replace(/"[^"]*"/g, '""')
    .replace(/[0-9]+/g, '0')
    .slice(0, 120)
}

function finding(target: FuzzTarget, input: Buffer, place: string, cause: unknown): Error {
  const what = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
  const file = `base64 -d > test/fuzz/corpus/${target.name}/NAME`
  return new Error(`fuzzing ${target.name} (${place}): ${what}\n${file} <<< ${input.toString('base64')}`, { cause })
}
