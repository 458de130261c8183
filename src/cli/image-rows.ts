// What `images` and `search` have in common: the rows, the columns and the filters.

import { matchesGlob, PatternError, parseGlob } from '../engine/build/glob.ts'
import type { Engine } from '../engine/engine.ts'
import type { ImageSummary } from '../engine/image/list-images.ts'
import { TsrunError } from '../model/errors.ts'
import { matchesLabel, parseFilters, parseTruth, passesFilters } from './filters.ts'
import { parseTime } from './parse-time.ts'
import { formatAgo, formatBytes, formatDate } from './table.ts'

export const imageColumns = [
  ['REPOSITORY', 'Repository'],
  ['TAG', 'Tag'],
  ['IMAGE ID', 'ID'],
  ['CREATED', 'CreatedSince'],
  ['SIZE', 'Size'],
] as const

/** docker's fields. @param isCut ids with 12 digits */
export function imageRow(image: ImageSummary, isCut: boolean): Readonly<Record<string, string>> {
  return {
    Repository: image.repository,
    Tag: image.tag,
    Digest: image.digest,
    ID: isCut ? image.shortId : image.id,
    CreatedSince: image.created === undefined ? 'N/A' : formatAgo(image.created),
    CreatedAt: image.created === undefined ? 'N/A' : formatDate(image.created),
    Size: formatBytes(image.size),
    VirtualSize: formatBytes(image.size),
    // docker tells these in `system df -v` alone.
    SharedSize: 'N/A',
    UniqueSize: 'N/A',
    Containers: 'N/A',
  }
}

/**
 * What `--filter` of `images` lets through. `before` and `since` name an image, and go by when it was made.
 * @throws TsrunError invalid, not-found (the image of before or since)
 */
export async function imageFilter(
  engine: Engine,
  texts: readonly string[] = [],
): Promise<(image: ImageSummary) => boolean> {
  const filters = parseFilters(texts, ['reference', 'label', 'dangling', 'before', 'since', 'until'])
  const instants = new Map<string, number>()
  for (const name of [...(filters.get('before') ?? []), ...(filters.get('since') ?? [])])
    instants.set(name, Date.parse((await engine.images.inspect(name)).Created ?? ''))
  for (const time of filters.get('until') ?? []) instants.set(time, Date.parse(parseTime('--filter until', time)))
  const patterns = new Map((filters.get('reference') ?? []).map(text => [text, referencePattern(text)]))
  return image => {
    const created = Date.parse(image.created ?? '')
    const instantOf = (value: string): number => instants.get(value) ?? Number.NaN
    return passesFilters(filters, {
      reference: value => patterns.get(value)?.(image) === true,
      label: value => matchesLabel(image.labels, value),
      dangling: value => (image.repository === '<none>') === parseTruth('dangling', value),
      before: value => created < instantOf(value),
      since: value => created > instantOf(value),
      until: value => created < instantOf(value),
    })
  }
}

/** A name, or a pattern as the shell has them; without a tag every tag fits. */
function referencePattern(text: string): (image: { repository: string; tag: string }) => boolean {
  const hasTag = text.lastIndexOf(':') > text.lastIndexOf('/')
  try {
    const glob = parseGlob(text, 'path')
    return ({ repository, tag }) => matchesGlob(glob, hasTag ? `${repository}:${tag}` : repository)
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    throw new TsrunError('invalid', 'filter', `invalid filter "reference=${text}": ${error.message}`)
  }
}
