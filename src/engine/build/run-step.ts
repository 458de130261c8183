// RUN: a container of the layers so far, through the same code as `tsrun run`; what it has changed is moved out of it as the new
// layer. The container is removed whatever happens.

import { mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { faultPoint } from '../../lib/fault.ts'
import type { ContainerSpec, MountSpec } from '../../model/container.ts'
import { isNoSuchContainer, TsrunError } from '../../model/errors.ts'
import type { ContainerDefaults } from '../../model/image.ts'
import { emitContainer } from '../container/container-events.ts'
import type { StartedContainer } from '../container/container-service.ts'
import { createContainer } from '../container/create-container.ts'
import { erase } from '../container/erase-container.ts'
import type { BuildParts } from './build-parts.ts'
import { removeStubs } from './mount-stubs.ts'
import { removeStepContainer } from './step-containers.ts'
import { labelsOfStep } from './step-label.ts'
import type { StepReport } from './step-log.ts'

export interface RunRequest {
  readonly args: readonly string[]
  /** `KEY=value` for this step alone. */
  readonly env: readonly string[]
  readonly config: ContainerDefaults
  /** Top first. */
  readonly layerDirs: readonly string[]
  readonly mounts: readonly MountSpec[]
  readonly network: string | undefined
  /** The instruction, for messages. */
  readonly text: string
}

/** Runs the step; its layer's tree is then `<folder>/fs`. @throws TsrunError step-failed: it ended with another code than 0; step-removed */
export async function runStep(parts: BuildParts, folder: string, request: RunRequest, step: StepReport): Promise<void> {
  const { context, containers, signal } = parts
  signal.throwIfAborted()
  const container = await createContainer(context, toSpec(parts, request), {
    reference: 'build',
    id: '',
    layerDirs: request.layerDirs,
    config: { os: 'linux', architecture: '', rootfs: { type: 'layers', diff_ids: [] }, config: defaultsFor(request) },
  })
  emitContainer(context, container, 'create')
  let started: StartedContainer | undefined
  let isFinished = false
  const stop = () => void containers.kill(container.id, 'KILL').catch(() => {})
  try {
    started = await containers.startAttached(container.id, { owner: true })
    // The signal may have come while it was being started.
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    const code = await follow(started, step)
    const exitCode = code ?? (await containers.wait(container.id))
    signal.throwIfAborted()
    faultPoint('step ended')
    if (exitCode !== 0) throw failed(parts, container.id, exitCode, request)
    await context.locks.withContainer(container.id, async () => {
      // What a removal has left of its files is no layer.
      if (context.store.read(container.id) === undefined) throw removed(request)
      await context.tearDown(container)
      mkdirSync(folder, { recursive: true })
      renameSync(context.paths.containerFile(container.id, 'upper'), join(folder, 'fs'))
      await erase(context, container, false)
    })
    isFinished = true
    removeStubs(
      join(folder, 'fs'),
      request.layerDirs,
      request.mounts.map(mount => mount.target),
    )
  } catch (error) {
    throw isNoSuchContainer(error) ? removed(request, error) : error
  } finally {
    signal.removeEventListener('abort', stop)
    try {
      // The removal may have begun already, and failed behind the record: the next command finishes it.
      if (!isFinished) await removeStepContainer(parts, container.id)
    } finally {
      // While it is held, the process does not end.
      started?.attachment.release()
    }
  }
}

function removed({ text }: RunRequest, cause?: unknown): TsrunError {
  const message = `"${text}" did not complete: its container was removed meanwhile`
  return new TsrunError('conflict', 'step-removed', message, cause === undefined ? {} : { cause })
}

/** Its output to whoever watches. @returns the exit code; undefined where the monitor told none */
async function follow({ attachment }: StartedContainer, step: StepReport): Promise<number | undefined> {
  attachment.stdin.end()
  const relay = async (stream: 'stdout' | 'stderr') => {
    for await (const bytes of attachment[stream]) step.output(stream, bytes as Buffer)
  }
  const [code] = await Promise.all([attachment.exit, relay('stdout'), relay('stderr')])
  return code
}

function toSpec(parts: BuildParts, request: RunRequest): ContainerSpec {
  const { options, staging } = parts
  const network = request.network ?? options.network
  return {
    image: 'build',
    entrypoint: [],
    command: request.args,
    env: request.env,
    hostname: 'buildkitsandbox',
    labels: labelsOfStep(staging.path),
    autoRemove: true,
    mounts: request.mounts,
    log: { driver: 'none', maxSizeBytes: 0, maxFiles: 1 },
    ...(network === undefined || network === 'default' ? {} : { networks: [{ network }] }),
    ...options.stepLimits,
    ...(options.extraHosts === undefined ? {} : { extraHosts: options.extraHosts }),
  }
}

/** What counts while it is built: no volumes, since what a step writes there belongs to the layer; no healthcheck. */
function defaultsFor({ config: { Env, User, WorkingDir } }: RunRequest): ContainerDefaults {
  return {
    ...(Env === undefined ? {} : { Env }),
    ...(User === undefined ? {} : { User }),
    ...(WorkingDir === undefined ? {} : { WorkingDir }),
  }
}

function failed({ context }: BuildParts, id: string, exitCode: number, { text }: RunRequest): TsrunError {
  const isKilled = context.store.readExit(id)?.oomKilled === true
  const reason = isKilled ? 'it ran out of memory' : `exit code: ${exitCode}`
  return new TsrunError('system', 'step-failed', `"${text}" did not complete successfully: ${reason}`)
}
