import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockFile, lockIfFree, withLock } from '../../src/kernel/flock.ts'
import { closePidfd, openPidfd, parseStartTime, processStartTime, sendSignal } from '../../src/kernel/pidfd.ts'
import { openDescriptors } from './netlink-world.ts'

let folder = ''
let path = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsrun-flock-'))
  path = join(folder, 'lock')
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Another process that holds the lock until it is killed. */
async function holder() {
  const child = spawn('flock', ['--no-fork', path, 'sh', '-c', 'echo held; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return child
}

test('withLock() lets one in at a time, in one process', async () => {
  let inside = 0
  let most = 0

  await Promise.all(
    Array.from({ length: 8 }, () =>
      withLock(path, async () => {
        most = Math.max(most, ++inside)
        await sleep(2)
        inside--
      }),
    ),
  )

  expect(most).toBe(1)
})

test('shared holders come in together, and keep a sole one out', async () => {
  const [a, b] = [await lockFile(path, { shared: true }), await lockFile(path, { shared: true })]

  await expect(lockFile(path, { timeoutMs: 0 })).rejects.toMatchObject({ kind: 'unavailable' })
  a.release()
  b.release()
  ;(await lockFile(path, { timeoutMs: 0 })).release()
})

test('lockFile() gives up after its time, naming what is locked, and leaves no descriptor', async () => {
  const child = await holder()
  const before = openDescriptors()

  await expect(lockFile(path, { what: 'network "br"', timeoutMs: 50 })).rejects.toMatchObject({
    kind: 'unavailable',
    message: 'cannot lock network "br": another process still holds it after 50 ms',
  })

  expect(openDescriptors()).toBe(before)
  child.kill('SIGKILL')
})

test('lockFile() can be aborted', async () => {
  const held = await lockFile(path)
  const controller = new AbortController()
  const attempt = lockFile(path, { signal: controller.signal })

  controller.abort(new Error('enough'))

  await expect(attempt).rejects.toThrow()
  held.release()
})

test('a lock dies with its holder', async () => {
  const child = await holder()
  const attempt = lockFile(path)

  child.kill('SIGKILL')

  ;(await attempt).release()
})

test('a lock is given back when the task throws', async () => {
  await expect(
    withLock(path, () => {
      throw new Error('task')
    }),
  ).rejects.toThrow('task')

  ;(await lockFile(path, { timeoutMs: 0 })).release()
})

test('lockIfFree() gives a lock at once or not at all, and makes no file unless it is told to', async () => {
  expect(lockIfFree(path)).toBeUndefined()
  expect(existsSync(path)).toBe(false)
  const child = await holder()

  expect(lockIfFree(path)).toBeUndefined()

  child.kill()
  await once(child, 'exit')
  const fd = lockIfFree(path, { flags: 'a' })
  expect(fd).toBeTypeOf('number')
  expect(lockIfFree(path, { shared: true })).toBeUndefined()
  closeSync(fd ?? -1)
})

test('lockIfFree() shared lets others in that share, and nobody else', () => {
  const first = lockIfFree(path, { flags: 'a', shared: true })
  const second = lockIfFree(path, { shared: true })

  expect(first).toBeTypeOf('number')
  expect(second).toBeTypeOf('number')
  expect(lockIfFree(path)).toBeUndefined()
  for (const fd of [first, second]) closeSync(fd ?? -1)
})

test('a program started meanwhile does not inherit the lock', async () => {
  const lock = await lockFile(path)
  const child = spawn('sleep', ['60'])
  await once(child, 'spawn')

  lock.release()

  ;(await lockFile(path, { timeoutMs: 0 })).release()
  child.kill()
})

test('sendSignal() ends the process of a pidfd', async () => {
  const child = spawn('sleep', ['60'])
  const pidfd = openPidfd(child.pid ?? 0)

  sendSignal(pidfd, 9)

  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
  expect(() => sendSignal(pidfd, 9)).toThrowError(/ESRCH/)
  closePidfd(pidfd)
})

test('openPidfd() of a process that is gone throws ESRCH', async () => {
  const child = spawn('true')
  await once(child, 'exit')

  expect(() => openPidfd(child.pid ?? 0)).toThrow('ESRCH')
  expect(processStartTime(child.pid ?? 0)).toBeUndefined()
})

test('processStartTime() is the same at every look', () => {
  expect(processStartTime(process.pid)).toMatch(/^\d+$/)
  expect(processStartTime(process.pid)).toBe(processStartTime(process.pid))
})

test('parseStartTime() is not fooled by a process name', () => {
  const fields = ['S', ...Array.from({ length: 18 }, (_, i) => String(i)), '4711', '99']

  expect(parseStartTime(`12 (a) b) 1 2 (c) ${fields.join(' ')}`)).toBe('4711')
  expect(parseStartTime('')).toBeUndefined()
})
