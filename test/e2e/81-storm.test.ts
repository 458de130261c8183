// A short storm; `scripts/storm` makes long ones. TSRUN_TEST_SEED repeats the choices of its clients.

import { expect, test } from 'vitest'
import { storm } from '../faults/storm.ts'

const seed = Number(process.env.TSRUN_TEST_SEED ?? Date.now() % 1_000_000)

test(`clients at random, and killed at random, leave files and kernel at one (seed ${seed})`, async () => {
  const { problems, commands, killedClients } = await storm({ seed, clients: 4, seconds: 12, roundSeconds: 6 })

  expect(problems, `seed ${seed}`).toEqual([])
  expect(commands).toBeGreaterThan(20)
  expect(killedClients).toBeGreaterThan(0)
}, 300_000)
