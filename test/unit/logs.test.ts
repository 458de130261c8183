// Reading a container's log as the monitor writes it.

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type LogOptions, readLog } from '../../src/engine/container/logs.ts'

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsrun-logs-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** What a container wrote, as `logs` shows it. */
async function shown(path: string, options: LogOptions = {}): Promise<string> {
  const parts: string[] = []
  for await (const { stream, content } of readLog(path, options, Promise.resolve()))
    parts.push(`${stream === 'stderr' ? '!' : ''}${content}`)
  return parts.join('|')
}

const stamp = '2026-01-02T03:04:05.000000000Z'
const whole = (text: string, stream = 'stdout') => `${stamp} ${stream} F ${text}\n`
const part = (text: string) => `${stamp} stdout P ${text}\n`

test('readLog() gives back lines byte for byte, and leaves out what is not a line of a log', async () => {
  const path = join(folder, 'plain.log')
  writeFileSync(
    path,
    `${whole('one ')}${whole('', 'stderr')}nonsense\n\n${stamp} stdout X no\n${part('a b')}${whole('c')}`,
  )

  expect(await shown(path)).toBe('one \n|!\n|a b|c\n')
})

test('readLog({tail}) does not read a long log from its beginning', async () => {
  const path = join(folder, 'long.log')
  writeFileSync(path, '')
  // A hole of a terabyte: whoever reads it is not back today.
  truncateSync(path, 2 ** 40)
  writeFileSync(path, `\n${Array.from({ length: 5000 }, (_, index) => whole(`${index}`)).join('')}`, { flag: 'a' })

  expect(await shown(path, { tail: 2 })).toBe('4998\n|4999\n')
  expect(await shown(path, { tail: 0 })).toBe('')
  expect((await shown(path, { tail: 3000 })).startsWith('2000\n|')).toBe(true)
})

test('readLog({tail}) counts a line that was cut into parts once, wherever the reading starts', async () => {
  const path = join(folder, 'parts.log')
  const cut = part('p'.repeat(16_000)).repeat(20) + whole('end')
  writeFileSync(path, whole('first') + cut + whole('last'))

  expect(await shown(path, { tail: 2 })).toBe(`${`${'p'.repeat(16_000)}|`.repeat(20)}end\n|last\n`)
  expect((await shown(path, { tail: 3 })).startsWith('first\n|ppp')).toBe(true)
})
