// A short storm; `scripts/storm` makes long ones. TSRUN_SEED lets its clients choose otherwise.

import { expect, test } from 'vitest'
import { storm } from '../faults/storm.ts'
import { seed } from '../helpers/seed.ts'

test(`clients at random, and killed at random, leave files and kernel at one (seed ${seed})`, async () => {
  const { problems, commands, killedClients } = await storm({ seed, clients: 4, seconds: 12, roundSeconds: 6 })

  expect(problems, `seed ${seed}`).toEqual([])
  expect(commands).toBeGreaterThan(20)
  expect(killedClients).toBeGreaterThan(0)
}, 300_000)
