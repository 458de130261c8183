// A container's changes as an image: the image service packs them, the container stands still meanwhile.

import type { Container } from '../model/container.ts'
import { TsrunError } from '../model/errors.ts'
import type { ContainerDefaults } from '../model/image.ts'
import { emitContainer } from './container/container-events.ts'
import { pauseContainer, unpauseContainer } from './container/pause.ts'
import type { EngineContext } from './context.ts'
import { streamWhileThere } from './files/while-there.ts'
import type { LoadedImageSummary } from './image/image-options.ts'
import type { ImageService } from './image/image-service.ts'

/** How a container becomes an image. */
export interface CommitOptions {
  /** Name of the new image. */
  readonly reference?: string
  readonly author?: string
  readonly message?: string
  /** Dockerfile instructions for its defaults. */
  readonly changes?: readonly string[]
  /** Freeze a running container meanwhile. Default true. */
  readonly pause?: boolean
}

export async function commitContainer(
  context: EngineContext,
  images: ImageService,
  container: Container,
  options: CommitOptions,
): Promise<LoadedImageSummary> {
  const { pause = true, ...request } = options
  const isRunning = context.store.state(container.id).status === 'running'
  const isOurs = pause && isRunning && (await pauseUnlessPaused(context, container))
  try {
    const { packDirectory } = await import('../drivers/image/layer-packer.ts')
    const upper = context.paths.containerFile(container.id, 'upper')
    const base = await images.inspect(container.image.id)
    const made = await images.commit({
      ...request,
      base: container.image.id,
      layer: streamWhileThere(context, container, () => packDirectory(upper, { kind: 'upper' })),
      defaults: defaultsOf(container, base.Config),
      createdBy: container.process.args.join(' '),
    })
    emitContainer(context, container, 'commit', { comment: options.message ?? '' })
    return made
  } finally {
    if (isOurs) await unpauseUnlessRunning(context, container)
  }
}

/** @returns false where somebody else has paused it meanwhile: it is his to let it go on */
async function pauseUnlessPaused(context: EngineContext, container: Container): Promise<boolean> {
  try {
    await pauseContainer(context, container)
    return true
  } catch (error) {
    if (error instanceof TsrunError && error.code === 'already-paused') return false
    throw error
  }
}

/** Somebody else may have let it go on, ended or removed it meanwhile. */
async function unpauseUnlessRunning(context: EngineContext, container: Container): Promise<void> {
  try {
    await unpauseContainer(context, container)
  } catch (error) {
    if (!(error instanceof TsrunError && error.code === 'not-paused')) throw error
  }
}

/** The image's defaults with what the user said when the container was made, as docker commits them. */
function defaultsOf({ spec, process }: Container, base: ContainerDefaults): ContainerDefaults {
  const exposed = Object.fromEntries((spec.expose ?? []).map(port => [port.includes('/') ? port : `${port}/tcp`, {}]))
  return {
    ...base,
    Env: process.env,
    Labels: { ...base.Labels, ...spec.labels },
    ...(spec.user === undefined ? {} : { User: spec.user }),
    ...(spec.workingDir === undefined ? {} : { WorkingDir: spec.workingDir }),
    ...(spec.entrypoint === undefined ? {} : { Entrypoint: spec.entrypoint, Cmd: [] }),
    ...(spec.command === undefined ? {} : { Cmd: spec.command }),
    ...(Object.keys(exposed).length === 0 ? {} : { ExposedPorts: { ...base.ExposedPorts, ...exposed } }),
  }
}
