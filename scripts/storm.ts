// scripts/storm: see there for its use.

import { parseArgs } from 'node:util'
import { storm } from '../test/faults/storm.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    clients: { type: 'string', default: '8' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})

console.log(`seed ${values.seed}`)
let printed = 0
const figures = await storm({
  seed: Number(values.seed),
  seconds: Number(values.seconds),
  clients: Number(values.clients),
  onRound: ({ rounds, commands, problems }) => {
    console.log(`round ${rounds}: ${commands} commands, ${problems.length} problems`)
    for (const problem of problems.slice(printed)) console.log(`FAILED ${problem}`)
    printed = problems.length
  },
})
for (const problem of figures.problems.slice(printed)) console.log(`FAILED ${problem}`)
const { problems, ...rest } = figures
console.log(`${JSON.stringify(rest)}, problems ${problems.length}, seed ${values.seed}`)
process.exit(problems.length === 0 ? 0 : 1)
