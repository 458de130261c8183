// scripts/fault-matrix: see there for its use.

import { parseArgs } from 'node:util'
import { faultCases } from '../test/faults/fault-cases.ts'
import { allTrials, FaultWorld, faultKinds, type Trial } from '../test/faults/fault-matrix.ts'
import { Random } from '../test/helpers/random.ts'
import { chosenCases, runTrials } from './run-trials.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    sample: { type: 'string' },
    from: { type: 'string', default: '0' },
    minutes: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    workers: { type: 'string', default: '2' },
  },
})

const cases = chosenCases('fault-matrix', faultCases, positionals)

const first = await FaultWorld.create()
const worlds = [first]
let failures = 0
try {
  const trials = await allTrials(first, cases)
  if (values.list) list(trials)
  else {
    const seed = Number(values.seed)
    const sampled = values.sample === undefined ? trials : new Random(seed).sample(trials, Number(values.sample))
    const chosen = sampled.slice(Number(values.from))
    if (values.sample !== undefined) console.log(`seed ${seed}`)
    while (worlds.length < Number(values.workers)) worlds.push(await FaultWorld.create())
    const started = Date.now()
    const { failed, left } = await runTrials(worlds, chosen, {
      ...(values.minutes === undefined ? {} : { minutes: Number(values.minutes) }),
      run: (world, trial) => world.run(trial),
      title: ({ of, kind, point }) => `${of.title}, ${kind} at "${point}"`,
    })
    failures = failed
    const minutes = ((Date.now() - started) / 60_000).toFixed(1)
    const points = `${trials.length / faultKinds.length} fault points x ${faultKinds.length}`
    console.log(`${points}: ${chosen.length - left} trials, failures ${failures}, ${minutes} minutes`)
    if (left > 0) console.log(`${left} trials are left: go on with --from ${sampled.length - left}`)
  }
} finally {
  for (const world of worlds) await world.dispose()
}
process.exit(failures === 0 ? 0 : 1)

function list(trials: readonly Trial[]): void {
  for (const of of cases) {
    const points = trials.filter(trial => trial.of === of && trial.kind === 'fail').map(trial => trial.point)
    console.log(`${of.title} (${points.length})\n  ${points.join('\n  ')}`)
  }
}
