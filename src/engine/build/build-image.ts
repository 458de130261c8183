// A build from its beginning to its end: Dockerfile, plan, stages side by side, image. All that it makes on the way is in two
// staging folders, which go when it ends, or with the next build when it is killed.

import { mkdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { BlobStore } from '../../drivers/image/blob-store.ts'
import { ImageFiles } from '../../drivers/image/image-files.ts'
import { LayerStore } from '../../drivers/image/layer-store.ts'
import { Staging, sweepStaging } from '../../drivers/image/staging.ts'
import { assurePoolThread } from '../../ffi/pool-thread.ts'
import { OverlayView } from '../../kernel/overlay.ts'
import { limiter } from '../../lib/limit.ts'
import { TsrunError } from '../../model/errors.ts'
import { type Descriptor, type ImageConfig, type ImageManifest, mediaTypes } from '../../model/image.ts'
import type { ContainerService } from '../container/container-service.ts'
import type { EngineContext } from '../context.ts'
import { FileTree } from '../files/file-tree.ts'
import { addImage } from '../image/add-image.ts'
import { tellImages } from '../image/image-events.ts'
import { familiarReference, parseReference } from '../image/image-reference.ts'
import type { ImageService } from '../image/image-service.ts'
import { ImageStore } from '../image/image-store.ts'
import { hostPlatform } from '../image/manifest.ts'
import { openBuildContext } from './build-context.ts'
import { type BuildParts, layerDirectories } from './build-parts.ts'
import type { BuildOptions, BuiltImage } from './build-types.ts'
import { Words } from './config-instructions.ts'
import { type Dockerfile, parseDockerfile } from './dockerfile/parse-dockerfile.ts'
import { rawWords } from './dockerfile/words.ts'
import { packSource } from './file-source.ts'
import { nothingIgnored } from './ignore-file.ts'
import { namedContext } from './named-context.ts'
import { writeMissingBlobs } from './new-layer.ts'
import { Sources } from './sources.ts'
import { type BuiltStage, StageBuilder } from './stage-builder.ts'
import { StageCircles } from './stage-circles.ts'
import { planBuild } from './stage-plan.ts'
import { StepCache } from './step-cache.ts'
import { removeLostContainers } from './step-containers.ts'
import { StepLog } from './step-log.ts'
import { isPredefined, platformArguments } from './variables.ts'

export interface BuildServices {
  readonly context: EngineContext
  readonly containers: ContainerService
  readonly images: ImageService
}

/**
 * Builds an image.
 * @throws TsrunError invalid (Dockerfile, with file and line), not-found, system step-failed; the signal's reason
 */
export async function buildImage(services: BuildServices, options: BuildOptions): Promise<BuiltImage> {
  const names = (options.tags ?? []).map(tag => parseReference(tag))
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal])
  signal.throwIfAborted()
  const store = new ImageStore(new ImageFiles(services.context.paths.root))
  store.files.create()
  await assurePoolThread()
  const staging = Staging.open(store.files.staging)
  const secrets = join(services.context.paths.state, 'build')
  mkdirSync(secrets, { recursive: true, mode: 0o700 })
  const secretStaging = Staging.open(secrets, false)
  try {
    // What killed builds have left: it may be much, and hold secrets.
    sweepStaging(secrets, secretStaging)
    sweepStaging(store.files.staging, staging)
    await removeLostContainers(services)
    const steps = new StepLog(options.onEvent, signal)
    const files = await openBuildContext(options, staging)
    try {
      const parts: BuildParts = {
        ...services,
        store,
        staging,
        secretStaging,
        options,
        files,
        steps,
        signal,
        blobs: new BlobStore(store.files),
        layers: new LayerStore(store.files),
        cache: new StepCache(join(services.context.paths.build, 'steps')),
        platform: options.platform ?? hostPlatform(),
        epoch: epochOf(options),
        limit: limiter(Math.max(2, availableParallelism())),
      }
      const image = await buildStages(parts, stop)
      if (options.onFiles !== undefined) await steps.during('exporting files', () => exportFiles(parts, image))
      const built = await steps.during('exporting to image', () => exportImage(parts, image, names))
      const tell = tellImages(store, services.context.events)
      for (const name of built.names) tell('tag', built.id, name)
      return built
    } finally {
      files.close()
    }
  } finally {
    try {
      await secretStaging.close()
    } finally {
      await staging.close()
    }
  }
}

/** Starts every stage that is needed; each waits for those it builds on when it comes to that. */
async function buildStages(parts: BuildParts, stop: AbortController): Promise<BuiltStage> {
  const { files, steps } = parts
  const dockerfile = await steps.during(`[internal] load build definition from ${files.dockerfile.name}`, async () =>
    parseDockerfile(files.dockerfile.text, files.dockerfile.name),
  )
  if (dockerfile.syntax !== undefined)
    steps.note(`# syntax=${dockerfile.syntax} is not used: tsrun reads the Dockerfile itself`)
  const globals = globalArguments(parts, dockerfile)
  const plan = planBuild(dockerfile, globals, parts.options)
  warnOfUnusedArguments(parts, dockerfile)
  const stages = new Map<number, Promise<BuiltStage>>()
  const circles = new StageCircles(plan)
  const sources = new Sources(parts, plan, index => buildStage(index))
  const buildStage = (index: number): Promise<BuiltStage> => {
    const known = stages.get(index)
    if (known !== undefined) return known
    const sourceOf = async (from: string | undefined) => {
      const isStage = from !== undefined && namedContext(parts.options, from) === undefined
      const source = isStage ? plan.stageOf(from) : undefined
      if (source !== undefined) circles.refuse(index, source)
      return sources.find(from)
    }
    const scope = { plan: plan.stageAt(index), globals, stage: buildStage, sourceOf }
    const building = new StageBuilder(parts, scope).build()
    stages.set(index, building)
    // One that fails ends the others.
    building.catch(error => stop.abort(error))
    return building
  }
  try {
    const all = [...plan.stages.keys()].map(index => buildStage(index))
    const ended = await Promise.allSettled(all)
    parts.options.signal?.throwIfAborted()
    if (ended.some(each => each.status === 'rejected')) throw stop.signal.reason
    return await buildStage(plan.target)
  } finally {
    await sources.close()
  }
}

/** The file system of the image to whoever wants it. */
async function exportFiles(parts: BuildParts, { layers }: BuiltStage): Promise<void> {
  const view = new OverlayView(await layerDirectories(parts, layers))
  const tree = FileTree.within(view.path)
  try {
    const source = { tree, ignore: nothingIgnored, label: 'the image', keepsOwner: true }
    const archive = packSource({ source, path: '', isDirectory: true }, { as: '', describe: entry => entry })
    await parts.options.onFiles?.(archive)
  } finally {
    tree.close()
    view.close()
  }
}

async function exportImage(
  parts: BuildParts,
  stage: BuiltStage,
  names: readonly ReturnType<typeof parseReference>[],
): Promise<BuiltImage> {
  const { store, staging, blobs, options, epoch, signal } = parts
  const { annotations = {} } = options
  signal.throwIfAborted()
  await writeMissingBlobs(parts, stage.layers)
  const created = epoch === undefined ? stage.created : new Date(epoch * 1000).toISOString()
  const labels = { ...stage.config.Labels, ...options.labels }
  const config: ImageConfig = {
    ...stage.platform,
    ...(created === undefined ? {} : { created }),
    ...(stage.author === undefined ? {} : { author: stage.author }),
    config: { ...stage.config, ...(Object.keys(labels).length === 0 ? {} : { Labels: labels }) },
    rootfs: { type: 'layers', diff_ids: stage.layers.map(layer => layer.diffId) },
    history: stage.history,
  }
  const add = async (mediaType: string, value: unknown): Promise<Descriptor> => {
    const bytes = Buffer.from(JSON.stringify(value))
    return { mediaType, digest: await blobs.add(staging, bytes), size: bytes.length }
  }
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: await add(mediaTypes.ociConfig, config),
    layers: stage.layers.map(layer => layer.descriptor),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  }
  const record = await addImage(store, staging, {
    manifest: await add(mediaTypes.ociManifest, manifest),
    names,
    signal,
  })
  return { id: record.id, digest: record.manifest.digest, names: names.map(familiarReference) }
}

/** The ARGs before the first FROM, and those that every build has. */
function globalArguments(parts: BuildParts, { globalArgs, escapeCharacter }: Dockerfile): Map<string, string> {
  const given = parts.options.buildArgs ?? {}
  const globals = platformArguments(parts.platform, hostPlatform())
  globals.set('TARGETSTAGE', parts.options.target ?? 'default')
  for (const instruction of globalArgs) {
    const words = new Words(instruction, { lookup: name => globals.get(name), escapeCharacter })
    for (const word of rawWords(instruction.text, escapeCharacter)) {
      const equals = word.indexOf('=')
      const name = words.expand(equals < 0 ? word : word.slice(0, equals))
      const fallback = equals < 0 ? undefined : words.expand(word.slice(equals + 1))
      const value = (Object.hasOwn(given, name) ? given[name] : undefined) ?? fallback
      if (value !== undefined) globals.set(name, value)
    }
  }
  return globals
}

function warnOfUnusedArguments(parts: BuildParts, { globalArgs, stages }: Dockerfile): void {
  const declared = new Set(
    [...globalArgs, ...stages.flatMap(stage => stage.instructions)]
      .filter(({ keyword }) => keyword === 'ARG')
      .flatMap(({ text }) => text.split(/\s+/).map(word => word.replace(/=.*$/s, ''))),
  )
  const unused = Object.keys(parts.options.buildArgs ?? {}).filter(name => !declared.has(name) && !isPredefined(name))
  if (unused.length > 0) parts.steps.note(`no ARG takes these build arguments: ${unused.join(', ')}`)
}

function epochOf({ sourceDateEpoch, buildArgs }: BuildOptions): number | undefined {
  if (sourceDateEpoch !== undefined) return sourceDateEpoch
  const text = buildArgs?.SOURCE_DATE_EPOCH
  if (text === undefined || text === '') return undefined
  if (/^\d{1,11}$/.test(text)) return Number(text)
  throw new TsrunError('invalid', 'epoch', `invalid value "${text}" for SOURCE_DATE_EPOCH: expected seconds since 1970`)
}
