// From what a name points to, to the one manifest for a platform: through indexes, nested ones too.

import { TsrunError } from '../../model/errors.ts'
import { type Descriptor, isIndexType, isManifestType, type Platform } from '../../model/image.ts'
import { formatPlatform, hostPlatform, parseIndex, selectManifests } from './manifest.ts'

const maxDepth = 4

/**
 * The manifest for a platform. A manifest that stands alone is taken for what it is.
 * @param read gives the bytes of an index
 * @throws TsrunError not-found, listing the platforms that are there; invalid
 */
export async function chooseManifest(
  root: Descriptor,
  platform: Platform | undefined,
  read: (descriptor: Descriptor) => Promise<Buffer>,
): Promise<Descriptor> {
  const wanted = platform ?? hostPlatform()
  const offered = new Set<string>()
  const chosen = await descend(root, 0)
  if (chosen !== undefined) return chosen
  throw noSuchPlatform(wanted, [...offered])

  async function descend(at: Descriptor, depth: number): Promise<Descriptor | undefined> {
    if (depth > maxDepth) throw new TsrunError('invalid', 'invalid-image', 'its indexes are nested too deep')
    if (!isIndexType(at.mediaType)) return at
    const index = parseIndex(await read(at))
    for (const { platform: own, mediaType } of index.manifests)
      if (own !== undefined && own.os !== 'unknown' && isManifestType(mediaType)) offered.add(formatPlatform(own))
    for (const candidate of selectManifests(index, wanted)) {
      const found = await descend(candidate, depth + 1)
      if (found !== undefined) return found
    }
    return undefined
  }
}

/** @param offered the platforms that are there, formatted */
export function noSuchPlatform(wanted: Platform, offered: readonly string[]): TsrunError {
  return new TsrunError('not-found', 'no-such-platform', `it is not there for ${formatPlatform(wanted)}`, {
    hint:
      offered.length === 0
        ? 'it is there for no platform at all: perhaps it is no image'
        : `it is there for ${[...offered].sort().join(', ')}: choose one with --platform`,
  })
}

/** What a document is: by its own word, else the registry's, else its content. @throws TsrunError invalid */
export function documentType(bytes: Buffer, announced: string): string {
  const value = parse(bytes)
  // One that is both would be read in two ways (CVE-2021-41190).
  if ('manifests' in value && ('layers' in value || 'config' in value))
    throw new TsrunError('invalid', 'ambiguous-manifest', 'its manifest is an index as well')
  const { mediaType } = value
  for (const type of [mediaType, announced])
    if (typeof type === 'string' && (isIndexType(type) || isManifestType(type))) return matching(type, value)
  return 'manifests' in value ? 'application/vnd.oci.image.index.v1+json' : 'application/vnd.oci.image.manifest.v1+json'
}

function matching(type: string, value: Record<string, unknown>): string {
  if (isIndexType(type) === 'manifests' in value || value.schemaVersion === 1) return type
  throw new TsrunError('invalid', 'ambiguous-manifest', `its manifest is not of the type that it has (${type})`)
}

function parse(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new TsrunError('invalid', 'invalid-image', 'its manifest is not a JSON object')
}
