import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Workbench } from './harness.ts'

let bench: Workbench
beforeAll(() => {
  bench = new Workbench()
}, 60_000)
afterAll(() => bench.dispose())

describe('the exit code', () => {
  test.each([
    [['true'], 0],
    [['false'], 1],
    [['sh', '-c', 'exit 42'], 42],
    [['sh', '-c', 'echo out; echo err >&2; exit 3'], 3],
  ])('of %j is %i', async (args, code) => {
    const result = await bench.run(args)

    expect(result.outcome).toEqual({ kind: 'started' })
    expect(result.code).toBe(code)
    expect(JSON.parse(readFileSync(join(result.dir, 'exit.json'), 'utf8'))).toMatchObject({ exitCode: code, signal: 0 })
  })
})
