// Starting a container together with a client on its streams, so that nothing it writes is missed.

import type { Container, RunRecord } from '../../model/container.ts'
import type { EngineContext } from '../context.ts'
import type { Attachment, AttachOptions } from './attachment.ts'
import { emitContainer } from './container-events.ts'
import { type ContainerClient, OutputRelay, type OutputTargets } from './output-relay.ts'
import { type StartOptions, startContainer } from './start-container.ts'

/** How a container is started with a client. */
export interface StartAttachedOptions extends StartOptions {
  /** Whether the caller tears the container down when it ends: call `finish()` then. Default false. */
  readonly owner?: boolean
  /** Closes the client when aborted; the container goes on. */
  readonly signal?: AbortSignal
}

/** A container that was started together with a client on its streams. */
export interface StartedContainer {
  readonly container: Container
  readonly run: RunRecord
  readonly attachment: Attachment
}

/** A container that was started with its output going straight to descriptors. */
export interface RelayedContainer {
  readonly container: Container
  readonly run: RunRecord
  readonly attachment: ContainerClient
}

/** @throws TsrunError; nothing of the start is left behind then */
export async function startAttached(
  context: EngineContext,
  container: Container,
  options: StartAttachedOptions,
): Promise<StartedContainer> {
  const { owner, signal, ...start } = options
  const open = () =>
    openAttachment(context, container, {
      // Whose policy restarts it needs its monitor's call at the end, and has no other owner.
      owner: owner === true && !restartsByPolicy(container),
      ...(signal === undefined ? {} : { signal }),
    })
  const { client, run } = await startWith(context, container, open, start)
  return { container, run, attachment: client }
}

/** The quickest way when nothing is sent to the container. @throws TsrunError */
export async function startRelayed(
  context: EngineContext,
  container: Container,
  targets: OutputTargets,
  options: StartOptions,
): Promise<RelayedContainer> {
  const socketPath = context.paths.runFile(container.id, 'attach.sock')
  const open = async () => new OutputRelay(socketPath, { owner: !restartsByPolicy(container), targets })
  const { client, run } = await startWith(context, container, open, options)
  return { container, run, attachment: client }
}

/** A client of the monitor of a container that runs. @throws Error ENOENT or ECONNREFUSED when there is none any more */
export async function openAttachment(
  context: EngineContext,
  container: Container,
  options: AttachOptions,
): Promise<Attachment> {
  const { Attachment } = await import('./attachment.ts')
  const onResize = (rows: number, columns: number) =>
    emitContainer(context, container, 'resize', { height: String(rows), width: String(columns) })
  const onDetach = () => emitContainer(context, container, 'detach')
  return Attachment.open(context.paths.runFile(container.id, 'attach.sock'), { onResize, onDetach, ...options })
}

/** Whether it has a policy that may start it again. */
export function restartsByPolicy({ spec }: Container): boolean {
  return spec.restart !== undefined && spec.restart.name !== 'no'
}

async function startWith<C extends ContainerClient>(
  context: EngineContext,
  container: Container,
  open: () => Promise<C>,
  options: StartOptions,
): Promise<{ client: C; run: RunRecord }> {
  let client: C | undefined
  const run = await startContainer(context, container.id, {
    ...options,
    beforeGo: async () => {
      client = await open()
    },
  }).catch((error: unknown) => {
    client?.close()
    throw error
  })
  if (client === undefined) throw new Error('the start went by without attaching')
  return { client, run }
}
