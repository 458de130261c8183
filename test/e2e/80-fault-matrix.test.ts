// A sample of the fault matrix; `scripts/fault-matrix` goes through all of it. TSRUN_SEED takes another sample.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { type FaultCase, faultCases } from '../faults/fault-cases.ts'
import { allTrials, FaultWorld } from '../faults/fault-matrix.ts'
import { Random } from '../helpers/random.ts'
import { seed } from '../helpers/seed.ts'

const random = new Random(seed)
const cases = random.sample(faultCases, 4)
let world: FaultWorld

beforeAll(async () => {
  world = await FaultWorld.create()
}, 120_000)
afterAll(() => world?.dispose())

test(`commands broken at any step leave nothing, and the next one works (seed ${seed})`, async () => {
  const trials = await allTrials(world, cases)
  for (const of of cases) {
    expect(
      trials.some(trial => trial.of === of),
      `${of.title} has fault points`,
    ).toBe(true)
  }

  const problems: string[] = []
  for (const trial of random.sample(trials, 12)) problems.push(...(await world.run(trial)))

  expect(problems, `seed ${seed}`).toEqual([])
}, 300_000)

test('a step that is broken without being undone is found', async () => {
  const of = { title: 'left', command: 'volume create left', clean: [] }

  const problems = await world.run({ of, point: 'no such step', kind: 'fail' }, { patienceMs: 500 })

  expect(problems.join('\n')).toContain('file appeared: /root/volumes/left/')
}, 60_000)

// Found by the whole matrix: the first two waited for ever, the others left a file and an address.
test.each([
  ['build', 'container record removed', 'fail'],
  ['build', 'go', 'fail'],
  ['exec', 'init exit-draft', 'kill-monitor'],
  ['network connect stopped', 'static address', 'kill-client'],
] as const)(
  '%s, broken at "%s" (%s), ends and leaves nothing',
  async (title, point, kind) => {
    expect(await world.run({ of: caseOf(title), point, kind })).toEqual([])
  },
  60_000,
)

test('a monitor is killed while its client stands at a fault point', async () => {
  const before = world.killedMonitors

  expect(await world.run({ of: caseOf('run'), point: 'running record', kind: 'kill-monitor' })).toEqual([])

  expect(world.killedMonitors).toBe(before + 1)
}, 60_000)

function caseOf(title: string): FaultCase {
  const found = faultCases.find(of => of.title === title)
  if (found === undefined) throw new Error(`no case "${title}"`)
  return found
}
