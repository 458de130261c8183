// scripts/errno-matrix: see there for its use.

import { parseArgs } from 'node:util'
import { type ErrnoTrial, errnoCases, errnoTrials, runErrnoTrial } from '../test/faults/errno-matrix.ts'
import { FaultWorld } from '../test/faults/fault-matrix.ts'
import { Random } from '../test/helpers/random.ts'
import { chosenCases, runTrials } from './run-trials.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    calls: { type: 'string' },
    sample: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    from: { type: 'string', default: '0' },
    minutes: { type: 'string' },
    workers: { type: 'string', default: '2' },
  },
})

const cases = chosenCases('errno-matrix', errnoCases, positionals)

const first = await FaultWorld.create()
const worlds = [first]
let failures = 0
let unreached = 0
try {
  const all: ErrnoTrial[] = []
  for (const of of cases) all.push(...(await errnoTrials(first, of)))
  const trials = all.filter(({ call }) => values.calls === undefined || values.calls.split(',').includes(call))
  const sampled =
    values.sample === undefined ? trials : new Random(Number(values.seed)).sample(trials, Number(values.sample))
  if (values.sample !== undefined) console.log(`seed ${values.seed}`)
  const chosen = sampled.slice(Number(values.from))
  while (worlds.length < Number(values.workers)) worlds.push(await FaultWorld.create())
  const { failed, left } = await runTrials(worlds, chosen, {
    ...(values.minutes === undefined ? {} : { minutes: Number(values.minutes) }),
    run: async (world, trial) => {
      const { problems, wasReached } = await runErrnoTrial(world, trial)
      if (!wasReached) unreached += 1
      return problems
    },
    title: ({ of, error, call, nth }) => `${of.title}, ${error} at ${call} ${nth}`,
  })
  failures = failed
  console.log(
    `${trials.length} failing calls: ${chosen.length - left} tried, ${unreached} not reached, failures ${failed}`,
  )
  if (left > 0) console.log(`${left} are left: go on with --from ${sampled.length - left}`)
} finally {
  for (const world of worlds) await world.dispose()
}
process.exit(failures === 0 ? 0 : 1)
