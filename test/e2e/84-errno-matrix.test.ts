// A sample of system calls that fail; `scripts/errno-matrix` goes through all of them. TSRUN_SEED takes another sample.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { errnoCases, errnoTrials, runErrnoTrial } from '../faults/errno-matrix.ts'
import { FaultWorld } from '../faults/fault-matrix.ts'
import { Random } from '../helpers/random.ts'
import { seed } from '../helpers/seed.ts'

const random = new Random(seed)
let faults: FaultWorld

beforeAll(async () => {
  faults = await FaultWorld.create()
}, 120_000)
afterAll(() => faults?.dispose())

test(`a system call that fails is told, and leaves nothing (seed ${seed})`, async () => {
  const problems: string[] = []
  let reached = 0
  for (const of of random.sample(errnoCases, 2)) {
    for (const trial of random.sample(await errnoTrials(faults, of), 4)) {
      const outcome = await runErrnoTrial(faults, trial)
      problems.push(...outcome.problems)
      reached += outcome.wasReached ? 1 : 0
    }
  }

  expect(problems, `seed ${seed}`).toEqual([])
  expect(reached, 'calls that were reached').toBeGreaterThan(4)
}, 300_000)

test('what a failing call leaves is found', async () => {
  const of = { title: 'left', command: 'volume create left', clean: [] }
  const trial = (await errnoTrials(faults, of)).find(({ call, error }) => call === 'openat' && error === 'EIO')
  if (trial === undefined) throw new Error('a volume is made without opening a file')

  const { problems, wasReached } = await runErrnoTrial(faults, { ...trial, nth: 100_000 })

  expect(problems.join('\n')).toContain('file appeared: /root/volumes/left/')
  expect(wasReached).toBe(false)
}, 60_000)
