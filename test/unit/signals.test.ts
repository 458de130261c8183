// A pid may be somebody else's by the time a signal arrives; a pidfd may not. So nobody calls kill(2) for another process.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const source = fileURLToPath(new URL('../../src', import.meta.url))

/** A process group has no pidfd before Linux 6.9: its leader is known by its start time, and is ours. */
const group = 'engine/health/health-loop.ts: process.kill(-record.pid'

test('signals go to other processes through pidfds only', () => {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))
  const calls = files.flatMap(name =>
    [...readFileSync(join(source, name), 'utf8').matchAll(/(?:process\.|\blibc\.|'int )kill\s*\(([^,)]*)/g)]
      .filter(([, target]) => target !== 'process.pid')
      .map(([call]) => `${name}: ${call}`),
  )

  expect(calls).toEqual([group])
})
