// Every reader of what others wrote, for a moment each: the corpus, then mutants. See README.md for long runs.

import { afterAll, describe, expect, test } from 'vitest'
import { fuzz, fuzzSeconds } from './fuzzer.ts'
import { targets } from './targets/all.ts'
import { removeTemporary } from './temporary.ts'

afterAll(removeTemporary)

describe('hostile input is read or refused', () => {
  test.each(targets.map(target => [target.name, target] as const))(
    '%s',
    async (name, target) => {
      const { executions, pool, seed } = await fuzz(target)
      if (process.env.TSRUN_FUZZ_SECONDS !== undefined)
        process.stderr.write(`${name}: ${executions} executions, pool of ${pool}, seed ${seed}\n`)
      expect(executions).toBeGreaterThan(0)
    },
    60_000 + fuzzSeconds() * 2000,
  )
})
