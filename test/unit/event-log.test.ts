// The file of events, with several that write and read it.

import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { EventLog } from '../../src/engine/event-log.ts'
import { EventBus } from '../../src/engine/events.ts'
import { tryLock } from '../../src/kernel/flock.ts'

describe('EventLog', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'tsrun-events-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  test('never has more than two files, and follows from one to the next', async () => {
    const path = join(dir, 'events.jsonl')
    const log = new EventLog(path, { maxBytes: 1000 })
    const stop = new AbortController()
    const seen: string[] = []
    const following = (async () => {
      for await (const line of log.lines(stop.signal)) {
        seen.push(line)
        if (seen.length === 200) stop.abort()
      }
    })()

    for (let number = 0; number < 200; number += 1) {
      log.append(`line ${number}`)
      if (number % 20 === 0) await new Promise(resolve => setTimeout(resolve, 30))
    }
    await following

    expect(seen).toEqual(Array.from({ length: 200 }, (_, number) => `line ${number}`))
    expect(existsSync(`${path}.2`)).toBe(false)
    expect(statSync(`${path}.1`).size).toBeLessThan(1100)
  })

  test('who was stopped while it renames the file keeps nobody from writing', () => {
    const path = join(dir, 'events.jsonl')
    const log = new EventLog(path)
    log.append('first')
    const renaming = openSync(path, 'a')
    expect(tryLock(renaming)).toBe(true)
    log.append('all the same')
    closeSync(renaming)
    expect(readFileSync(path, 'utf8')).toBe('first\nall the same\n')
  })

  test('a line that was cut off is passed over', async () => {
    const log = new EventLog(join(dir, 'events.jsonl'))
    const bus = new EventBus(log)
    log.append('{"time":"20')
    bus.emit({ type: 'volume', action: 'create', id: 'v', name: 'v' })

    const events = []
    for await (const event of bus.stream({ since: '2000-01-01T00:00:00Z', until: new Date().toISOString() }))
      events.push(event)

    expect(events).toMatchObject([{ action: 'create', id: 'v' }])
  })

  test.each([
    ['renamed while the older one is read', 120],
    ['renamed twice while it is read', 50],
  ])('a slow reader misses nothing that is there when the file is %s', async (_, before) => {
    const log = new EventLog(join(dir, 'events.jsonl'), { maxBytes: 1000 })
    const stop = new AbortController()
    const expected = Array.from({ length: 250 }, (_, number) => `line ${1000 + number}`)
    for (const line of expected.slice(0, before)) log.append(line)
    const reader = log.lines(stop.signal)
    const seen = [(await reader.next()).value]

    for (const line of expected.slice(before)) log.append(line)
    while (seen.at(-1) !== expected.at(-1)) seen.push((await reader.next()).value)

    stop.abort()
    expect(seen).toEqual(expected)
  })
})
