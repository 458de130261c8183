// Ending containers: kill sends a signal, stop asks and then insists, wait only watches. Whoever sees the end through
// the monitor's socket does the teardown, so that it is over when the verb returns.

import { existsSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, isRefusedWrite } from '../../ffi/errno.ts'
import { killCgroup, thawCgroup } from '../../kernel/cgroup/cgroup.ts'
import { closePidfd, openPidfd, sendSignal } from '../../kernel/pidfd.ts'
import type { Container, RunRecord } from '../../model/container.ts'
import type { EngineContext } from '../context.ts'
import { emitContainer } from './container-events.ts'
import { isAlive } from './container-store.ts'
import { type ContainerClient, OutputRelay } from './output-relay.ts'
import { runningOrThrow } from './running-or-throw.ts'
import { signalNumber } from './signals.ts'
import { isStartedAgain, isTornDown } from './teardown.ts'

/** docker's: how long `stop` waits between asking and killing. */
const DEFAULT_STOP_TIMEOUT_SECONDS = 10
/** Without a monitor nobody tells the end. */
const UNMONITORED_POLL_MS = 50
/** The exit code of what SIGKILL has ended. */
const KILLED = 137

/** Sends a signal to the container's first process. @throws TsrunError conflict when it is not running */
export async function killContainer(context: EngineContext, container: Container, signal: string): Promise<void> {
  runningOrThrow(context, container, 'kill')
  const number = signalNumber(signal)
  if (number === 9 || number === signalNumber(container.stopSignal)) await markStopped(context, container.id)
  // It may have ended meanwhile, or have been restarted.
  const run = context.store.liveRun(container.id)
  if (run === undefined) return
  emitContainer(context, container, 'kill', { signal: String(number) })
  if (number === 9)
    await withEnd(context, container, { life: run, isNear: true }, () => killLife(context, container.id, run))
  else signalInit(run, number)
  // A frozen process takes no signal; docker thaws it for those that are to end it.
  if (number === signalNumber(container.stopSignal)) thawIfPaused(context, container.id, run)
}

/** How a container is stopped. */
export interface StopOptions {
  /** How long it may take to end before it is killed; 0 kills at once, negative waits for ever. Default: the container's, 10. */
  readonly timeoutSeconds?: number
  /** What asks it to end, `TERM` or `15`. Default: the container's stop signal. */
  readonly stopSignal?: string
}

/**
 * Asks with the stop signal, kills after the timeout, and tears the container down.
 * @param options isToStart: the caller starts it again, so one with `autoRemove` stays
 * @throws TsrunError invalid (signal)
 */
export async function stopContainer(
  context: EngineContext,
  container: Container,
  { timeoutSeconds, stopSignal = container.stopSignal, isToStart = false }: StopOptions & { isToStart?: boolean } = {},
): Promise<void> {
  const number = signalNumber(stopSignal)
  await markStopped(context, container.id, isToStart)
  const run = context.store.liveRun(container.id)
  if (run === undefined) return
  const timeout = timeoutSeconds ?? container.spec.stopTimeoutSeconds ?? DEFAULT_STOP_TIMEOUT_SECONDS
  await withEnd(context, container, { life: run, isNear: timeout === 0 }, async ended => {
    if (timeout !== 0) {
      emitContainer(context, container, 'kill', { signal: String(number) })
      signalInit(run, number)
      thawIfPaused(context, container.id, run)
      if (await endsWithin(ended, timeout)) return
    }
    emitContainer(context, container, 'kill', { signal: '9' })
    await killLife(context, container.id, run)
  })
  emitContainer(context, container, 'stop')
}

/**
 * From now on its restart policy leaves the container alone, and one that waits for its restart waits in vain.
 * @param isToStart whether this process starts it again
 */
async function markStopped(context: EngineContext, id: string, isToStart = false): Promise<void> {
  await context.locks.withContainer(id, async () => {
    try {
      const marked = context.store.change(id, container => ({ ...container, stoppedByUser: true }))
      // Else it might start by itself after a power cut.
      if (marked?.spec.restart?.name === 'unless-stopped') context.store.persist(id)
    } catch (error) {
      // What no policy would start again can be ended on a disk that takes no writes.
      if (!isRefusedWrite(error)) throw error
      const { restartsByPolicy } = await import('./start-with-client.ts')
      const container = context.store.read(id)
      if (container !== undefined && restartsByPolicy(container)) throw error
    }
    if (isToStart) markToStart(context, id)
    else context.store.unmarkRestarting(id)
  })
}

/** As a job: who is killed over it leaves half a mark. */
function markToStart({ journal, store }: EngineContext, id: string): void {
  const job = journal.begin('container', id)
  try {
    store.markRestarting(id)
  } finally {
    job.end()
  }
}

function thawIfPaused(context: EngineContext, id: string, run: RunRecord): void {
  const marker = context.paths.runFile(id, 'paused')
  if (!existsSync(marker)) return
  thawCgroup(run.cgroup)
  rmSync(marker, { force: true })
}

/** Waits until the container has ended. @returns its exit code; that of a kill where its monitor was killed, and it with that */
export async function waitContainer(context: EngineContext, { id }: Container, signal?: AbortSignal): Promise<number> {
  const { store } = context
  const run = store.readRun(id)
  const watcher = await openWatcher(context, id, signal === undefined ? {} : { signal })
  if (watcher !== undefined) {
    const code = await watcher.exit
    watcher.close()
    signal?.throwIfAborted()
    if (code !== undefined) return code
  }
  for (; store.liveRun(id) !== undefined; signal?.throwIfAborted()) await sleep(UNMONITORED_POLL_MS)
  return store.readExit(id)?.exitCode ?? (watcher !== undefined || run?.phase === 'running' ? KILLED : 0)
}

/** Ends every process of the container. */
export async function killEverything(run: RunRecord): Promise<void> {
  signalInit(run, 9)
  // Where the pid namespace is somebody else's, the first process does not take the others along.
  await killCgroup(run.cgroup)
}

/**
 * Runs `end`, which makes the container end, as the one who tears it down afterwards.
 * @param options life the one that is to end; isNear whether that is only milliseconds away
 */
async function withEnd(
  context: EngineContext,
  container: Container,
  { life, isNear }: { life: RunRecord; isNear: boolean },
  end: (ended: Promise<unknown>) => Promise<void>,
): Promise<void> {
  const watcher = isNear
    ? await openShortWatcher(context, container.id)
    : await openWatcher(context, container.id, { owner: true })
  const ended = watcher === undefined ? Promise.resolve() : watcher.exit
  try {
    // Then the watcher may be one of the new life, and that is not to end.
    if (isStartedAgain(context, container.id, life)) return
    await end(ended)
    await ended
    await context.locks.withContainer(container.id, async () => {
      // As it is on record now: it may have joined networks while it was ending.
      const current = context.store.read(container.id)
      if (current !== undefined && !isStartedAgain(context, container.id, life))
        await isTornDown(context.tearDown(current))
    })
    watcher?.release(context.takeLeftover)
  } finally {
    watcher?.close()
  }
}

/** Kills the container in this life of it alone: the next one has the same cgroup. */
async function killLife(context: EngineContext, id: string, life: RunRecord): Promise<void> {
  await context.locks.withContainer(id, async () => {
    if (!isStartedAgain(context, id, life)) await context.kill(id, life)
  })
}

/** A client that may wait long, and asks for nothing but the end; undefined when the monitor has gone. */
async function openWatcher(
  context: EngineContext,
  id: string,
  options: { owner?: boolean; signal?: AbortSignal },
): Promise<ContainerClient | undefined> {
  const { Attachment } = await import('./attachment.ts')
  return whileMonitored(async () => {
    const watcher = await Attachment.open(context.paths.runFile(id, 'attach.sock'), options)
    watcher.ignoreOutput()
    return watcher
  })
}

/** The same for an end that is near: quicker to make, but it holds a pool thread while it waits. */
function openShortWatcher(context: EngineContext, id: string): Promise<ContainerClient | undefined> {
  return whileMonitored(async () => new OutputRelay(context.paths.runFile(id, 'attach.sock'), { owner: true }))
}

async function whileMonitored<T>(open: () => Promise<T>): Promise<T | undefined> {
  try {
    return await open()
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ECONNREFUSED')) return undefined
    throw error
  }
}

function signalInit(run: RunRecord, number: number): void {
  let pidfd: number
  try {
    pidfd = openPidfd(run.pid)
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return
    throw error
  }
  try {
    // The descriptor is of whoever has the pid now: make sure that it is ours before the signal.
    if (isAlive(run)) sendSignal(pidfd, number)
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  } finally {
    closePidfd(pidfd)
  }
}

async function endsWithin(ended: Promise<unknown>, seconds: number): Promise<boolean> {
  if (seconds < 0) {
    await ended
    return true
  }
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<false>(resolve => {
    timer = setTimeout(() => resolve(false), seconds * 1000)
  })
  const result = await Promise.race([ended.then(() => true), timeout])
  clearTimeout(timer)
  return result
}
