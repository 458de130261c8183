// Manifests, indexes and configs as they come from outside: parsed and checked, so that what follows may rely on their types.
// Digests above all: they become file names.

import { TsrunError } from '../../model/errors.ts'
import {
  type Descriptor,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  isDigest,
  isIndexType,
  isManifestType,
  mediaTypes,
  type Platform,
} from '../../model/image.ts'

/** @throws TsrunError invalid; unsupported for foreign layers and docker's schema 1 */
export function parseManifest(bytes: Buffer): ImageManifest {
  const value = parseObject(bytes, 'manifest')
  if (value.schemaVersion === 1) {
    throw new TsrunError('unsupported', 'schema-1', "the image is in docker's old format (schema 1)", {
      hint: 'push it again with a docker from 2016 or later',
    })
  }
  checkDescriptor(value.config, 'config')
  if (!Array.isArray(value.layers)) throw invalid('the manifest has no list of layers')
  for (const layer of value.layers) {
    checkDescriptor(layer, 'layer')
    if (/foreign|nondistributable/.test(layer.mediaType)) {
      throw new TsrunError(
        'unsupported',
        'foreign-layer',
        `layer ${layer.digest} is foreign: its registry does not have it`,
        {
          hint: 'such layers are parts of Windows, which cannot run here',
        },
      )
    }
  }
  return value as unknown as ImageManifest
}

/** @throws TsrunError invalid */
export function parseIndex(bytes: Buffer): ImageIndex {
  const value = parseObject(bytes, 'index')
  if (!Array.isArray(value.manifests)) throw invalid('the index has no list of manifests')
  for (const manifest of value.manifests) checkDescriptor(manifest, 'manifest')
  return value as unknown as ImageIndex
}

/** @throws TsrunError invalid; unsupported when it is not for Linux */
export function parseConfig(bytes: Buffer): ImageConfig {
  const value = parseObject(bytes, 'config')
  const rootfs: unknown = value.rootfs
  const diffIds: unknown = isObject(rootfs) ? rootfs.diff_ids : undefined
  if (!Array.isArray(diffIds) || !diffIds.every(id => typeof id === 'string' && isDigest(id))) {
    throw invalid('the config has no list of layer ids')
  }
  if (typeof value.os === 'string' && value.os !== 'linux') {
    throw new TsrunError('unsupported', 'foreign-os', `the image is for ${value.os}, and this is Linux`)
  }
  const { config } = value
  if (config !== undefined && config !== null && !isObject(config)) throw invalid('the config has no object "config"')
  for (const key of ['Env', 'Cmd', 'Entrypoint', 'Shell', 'OnBuild']) {
    const list: unknown = isObject(config) ? config[key] : undefined
    const isFine =
      list === undefined || list === null || (Array.isArray(list) && list.every(e => typeof e === 'string'))
    if (!isFine) throw invalid(`"${key}" of the config is not a list of texts`)
  }
  return { ...value, ...(config === null ? { config: {} } : {}) } as unknown as ImageConfig
}

/** A layer of docker's format under its OCI name: the manifest that it goes into is OCI's. */
export function asOci(layer: Descriptor): Descriptor {
  const types: Readonly<Record<string, string>> = {
    [mediaTypes.dockerLayer]: mediaTypes.ociLayer,
    [mediaTypes.dockerLayerGzip]: mediaTypes.ociLayerGzip,
  }
  return { ...layer, mediaType: types[layer.mediaType] ?? layer.mediaType }
}

/** The platform of this machine, in the words of images. */
export function hostPlatform(): Platform {
  switch (process.arch) {
    case 'x64':
      return { os: 'linux', architecture: 'amd64' }
    case 'arm64':
      return { os: 'linux', architecture: 'arm64', variant: 'v8' }
    case 'ia32':
      return { os: 'linux', architecture: '386' }
    case 'arm':
      return { os: 'linux', architecture: 'arm', variant: 'v7' }
    default:
      return { os: 'linux', architecture: process.arch }
  }
}

/** `linux/arm64/v8` and the like; a part that is missing is the host's. @throws TsrunError invalid */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...rest] = text.split('/')
  if (!os || rest.length > 0) {
    throw new TsrunError('invalid', 'invalid-platform', `invalid platform "${text}"`, {
      hint: 'write e.g. linux/arm64',
    })
  }
  const aliases: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64', i386: '386', armhf: 'arm' }
  if (architecture === undefined)
    return os === 'linux' ? hostPlatform() : { os: 'linux', architecture: aliases[os] ?? os }
  return { os, architecture: aliases[architecture] ?? architecture, ...(variant === undefined ? {} : { variant }) }
}

/** `linux/amd64` */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/')
}

/**
 * The entries of an index that fit a platform, best first: the same variant, then none, then an older one (arm v7 runs v6).
 * Attestations and other artifacts never fit. An entry without a platform fits when nothing better is there.
 */
export function selectManifests(index: ImageIndex, wanted: Platform): Descriptor[] {
  const scored: { readonly descriptor: Descriptor; readonly score: number }[] = []
  for (const descriptor of index.manifests) {
    if (!isIndexType(descriptor.mediaType) && !isManifestType(descriptor.mediaType)) continue
    const score = rankPlatform(descriptor, wanted)
    if (score > 0) scored.push({ descriptor, score })
  }
  return scored.sort((a, b) => b.score - a.score).map(({ descriptor }) => descriptor)
}

function rankPlatform({ platform, annotations, artifactType }: Descriptor, wanted: Platform): number {
  if (artifactType !== undefined || annotations?.['vnd.docker.reference.type'] !== undefined) return 0
  if (platform === undefined) return 1
  if (platform.os !== wanted.os || platform.architecture !== wanted.architecture) return 0
  const has = variantNumber(platform)
  const asked = variantNumber(wanted)
  if (has === asked) return 100
  return has < asked ? 10 + has : 0
}

/** v8 of arm64 and v1 of amd64 are what "no variant" means. */
function variantNumber({ architecture, variant }: Platform): number {
  if (variant !== undefined) return Number(/^v(\d+)$/.exec(variant)?.[1] ?? 0)
  return architecture === 'arm64' ? 8 : architecture === 'amd64' ? 1 : architecture === 'arm' ? 7 : 0
}

function checkDescriptor(value: unknown, what: string): void {
  const isFine =
    isObject(value) &&
    typeof value.mediaType === 'string' &&
    typeof value.digest === 'string' &&
    isDigest(value.digest) &&
    Number.isSafeInteger(value.size) &&
    Number(value.size) >= 0
  if (!isFine) throw invalid(`a ${what} has no media type, sha256 digest and size`)
}

function parseObject(bytes: Buffer, what: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    if (isObject(value)) return value
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw invalid(`the ${what} is not a JSON object`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(reason: string): TsrunError {
  return new TsrunError('invalid', 'invalid-image', `invalid image: ${reason}`)
}
