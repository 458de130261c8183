// One probe of one container: runs its command inside, and writes down what came of it in `health.json` of its run folder.

import { hasCode } from '../../ffi/errno.ts'
import { closePidfd, openPidfd, sendSignal } from '../../kernel/pidfd.ts'
import { readTextIfThere } from '../../lib/if-there.ts'
import { writeJson } from '../../lib/state-file.ts'
import type { Container, HealthProbe, HealthState } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import { Attachment } from '../container/attachment.ts'
import { emitContainer } from '../container/container-events.ts'
import { startExec } from '../container/exec-container.ts'
import type { EngineContext } from '../context.ts'
import { addProbe, nextProbeMs, type ProbePlan, planProbes } from './probe-plan.ts'

const MAX_OUTPUT_BYTES = 4096

/** @returns how long to wait before the next probe; undefined when the container does not run any more */
export async function checkHealth(context: EngineContext, id: string): Promise<number | undefined> {
  const { store } = context
  const container = store.read(id)
  const { status, run, health } = store.state(id)
  if (container?.healthcheck === undefined || run === undefined) return undefined
  const plan = planProbes(container.healthcheck, container.shell)
  const livedMs = () => Date.now() - Date.parse(run.startedAt)
  if (status === 'paused') return plan.intervalMs
  if (status !== 'running') return undefined
  const probe = await runProbe(context, container, plan)
  const before: HealthState = health ?? { status: 'starting', failingStreak: 0, log: [] }
  const after = addProbe(before, probe, plan, run.startedAt)
  const isCurrent = await context.locks.withContainer(id, async () => {
    const now = store.readRun(id)
    // It has ended, or has been started anew, while we looked.
    if (now?.pid !== run.pid || now.pidStartTime !== run.pidStartTime) return false
    writeJson(context.paths.runFile(id, 'health.json'), after)
    return true
  })
  if (!isCurrent) return undefined
  if (after.status !== before.status) emitContainer(context, container, `health_status: ${after.status}`)
  return nextProbeMs(plan, after.status, livedMs())
}

async function runProbe(context: EngineContext, container: Container, plan: ProbePlan): Promise<HealthProbe> {
  const start = new Date().toISOString()
  const finish = (exitCode: number, output: string): HealthProbe => {
    return { start, end: new Date().toISOString(), exitCode, output }
  }
  try {
    const { client, pid } = await startExec(context, container, { command: plan.command }, path =>
      Attachment.open(path, { owner: true }),
    )
    const output = collect(client)
    const code = await within(client.exit, plan.timeoutMs)
    if (code === 'late') {
      killProcess(pid)
      client.close()
      return finish(-1, `Health check exceeded timeout (${plan.timeoutMs / 1000}s)${output() && `: ${output()}`}`)
    }
    client.close()
    return finish(code ?? -1, output())
  } catch (error) {
    if (!(error instanceof TsrunError)) throw error
    const code = error.kind === 'command-not-found' ? 127 : error.kind === 'not-executable' ? 126 : -1
    return finish(code, error.message)
  }
}

/** @returns what both streams have brought so far, in the order it came */
function collect(client: Attachment): () => string {
  const chunks: Buffer[] = []
  let left = MAX_OUTPUT_BYTES
  const take = (chunk: Buffer) => {
    const part = chunk.subarray(0, left)
    left -= part.length
    if (part.length > 0) chunks.push(part)
  }
  client.stdout.on('data', take)
  client.stderr.on('data', take)
  return () => Buffer.concat(chunks).toString('utf8')
}

async function within<T>(task: Promise<T>, timeoutMs: number): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<'late'>(resolve => {
    timer = setTimeout(() => resolve('late'), timeoutMs)
  })
  return Promise.race([task, late]).finally(() => clearTimeout(timer))
}

/** With what it has started: a command that hangs, hangs in a child of its shell. */
function killProcess(pid: number): void {
  for (const each of [...descendants(pid), pid]) {
    try {
      const pidfd = openPidfd(each)
      try {
        sendSignal(pidfd, 9)
      } finally {
        closePidfd(pidfd)
      }
    } catch (error) {
      if (!hasCode(error, 'ESRCH')) throw error
    }
  }
}

function descendants(pid: number): number[] {
  const children = (readTextIfThere(`/proc/${pid}/task/${pid}/children`, 'ESRCH') ?? '')
    .split(' ')
    .filter(Boolean)
    .map(Number)
  return children.flatMap(child => [...descendants(child), child])
}
