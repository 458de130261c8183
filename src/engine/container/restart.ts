// Restart policies without a daemon: the process that the monitor turned into when nobody watched its container end waits
// here, and starts the container again. While it waits, `<state>/restarting/<id>` names it; who removes that file ends it.

import type { Container, ExitRecord } from '../../model/container.ts'
import { isNoSuchContainer, TsrunError } from '../../model/errors.ts'
import { startInBackground } from '../background.ts'
import type { EngineContext } from '../context.ts'
import { watchQuietly } from '../watch-quietly.ts'
import { NotWanted, startContainer } from './start-container.ts'

// docker's numbers.
const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 60_000
/** Who ran for so long did not fail at the start: the next wait is the first one again. */
const LONG_ENOUGH_MS = 10_000

/** Starts a container that has ended again, after a while, if its policy says so. Returns when that is done or off. */
export async function restartByPolicy(context: EngineContext, container: Container): Promise<void> {
  const { store } = context
  const { id } = container
  const delayMs = await context.locks.withContainer(id, async () => {
    const current = store.read(id)
    const exit = store.readExit(id)
    // Somebody else may have started it in the meantime.
    if (current === undefined || exit === undefined || store.state(id).status !== 'exited') return undefined
    const delay = planRestart(current, exit)
    if (delay === undefined) return undefined
    store.write({ ...current, restartDelayMs: delay })
    store.markRestarting(id)
    return delay
  })
  if (delayMs === undefined) return
  try {
    await waitUnlessUnmarked(context, id, delayMs)
    await startContainer(context, id, { automatic: () => store.isRestarter(id) })
  } catch (error) {
    if (error instanceof NotWanted || isNoSuchContainer(error)) return
    store.writeExit(id, failedStart(store.readExit(id), error))
    throw error
  } finally {
    if (store.isRestarter(id)) store.unmarkRestarting(id)
  }
}

/**
 * For a container that nobody is going to start again any more: its monitor was killed, or who waited to do it was. Another
 * process does it, as if the monitor had called; a second one for the same end finds nothing to do.
 */
export async function resumeRestart(context: EngineContext, { id }: Container): Promise<void> {
  await startInBackground(context.exitCommand(id))
}

/** How long to wait before the next start; undefined when there is to be none. */
export function planRestart(
  container: Pick<Container, 'spec' | 'stoppedByUser' | 'restartCount' | 'restartDelayMs'>,
  exit: Pick<ExitRecord, 'exitCode' | 'startedAt' | 'finishedAt'>,
): number | undefined {
  const { name, maximumRetryCount } = container.spec.restart ?? { name: 'no', maximumRetryCount: 0 }
  if (name === 'no' || container.stoppedByUser === true) return undefined
  if (name === 'on-failure') {
    if (exit.exitCode === 0) return undefined
    if (maximumRetryCount > 0 && (container.restartCount ?? 0) >= maximumRetryCount) return undefined
  }
  const livedMs = Date.parse(exit.finishedAt) - Date.parse(exit.startedAt)
  const last = livedMs >= LONG_ENOUGH_MS ? undefined : container.restartDelayMs
  return last === undefined ? FIRST_DELAY_MS : Math.min(last * 2, LONGEST_DELAY_MS)
}

/** Whether a container that does not run is to be started when the machine has started: docker's rules. */
export function startsAtBoot(container: Container): boolean {
  // One that was never started waits for its first time.
  if (container.startedAt === undefined) return false
  const name = container.spec.restart?.name
  return name === 'always' || (name === 'unless-stopped' && container.stoppedByUser !== true)
}

/** Ends early when the mark has gone. */
function waitUnlessUnmarked(context: EngineContext, id: string, delayMs: number): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      clearInterval(poll)
      watcher?.close()
      resolve()
    }
    const look = () => {
      if (!context.store.isRestarter(id)) done()
    }
    const timer = setTimeout(done, delayMs)
    // For what a watch misses: a removal between marking and watching, or no inotify at all.
    const poll = setInterval(look, 1000)
    const watcher = watchQuietly(`${context.paths.restarting}/${id}`, look)
    look()
  })
}

/** The start has taken the record of the last end with it. */
function failedStart(last: ExitRecord | undefined, error: unknown): ExitRecord {
  const now = new Date().toISOString()
  const code = error instanceof TsrunError && error.kind === 'command-not-found' ? 127 : 128
  return {
    signal: 0,
    oomKilled: false,
    startedAt: last?.startedAt ?? now,
    finishedAt: now,
    exitCode: error instanceof TsrunError && error.kind === 'not-executable' ? 126 : code,
    error: error instanceof Error ? error.message : String(error),
  }
}
