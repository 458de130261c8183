// The C readers under AddressSanitizer and UBSan, a moment each: the corpus, then mutants of it. Long runs with coverage are
// `scripts/fuzz TARGET`.

import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seed } from '../helpers/seed.ts'

const run = promisify(execFile)
const repository = fileURLToPath(new URL('../../', import.meta.url))
const targets = readdirSync(join(repository, 'test/fuzz/native'))
  .filter(name => name.startsWith('fuzz_') && name.endsWith('.c'))
  .map(name => name.slice('fuzz_'.length, -'.c'.length).replaceAll('_', '-'))

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsrun-fuzz-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('hostile bytes do no harm to tsrun-init', () => {
  test.each(targets)(
    '%s',
    async target => {
      const program = join(folder, target)
      const corpus = join(repository, 'test/fuzz/corpus', target)
      const inputs = readdirSync(corpus).map(name => join(corpus, name))
      await run(join(repository, 'scripts/build-fuzz'), [target, program, 'gcc', '-fsanitize=address,undefined'])
      // A finding ends the program; what it says has the address and the line in it.
      const { stdout } = await run(program, ['1', String(seed), ...inputs], {
        env: { ...process.env, ASAN_OPTIONS: 'abort_on_error=1:detect_leaks=0' },
      }).catch((error: { message: string; stderr?: string }) => {
        throw new Error(`fuzzing ${target} with TSRUN_SEED=${seed}: ${error.message}\n${error.stderr ?? ''}`)
      })
      expect(stdout).toMatch(/^[0-9]+ executions\n$/)
    },
    120_000,
  )
})
