import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import type { ImageSummary } from '../../engine/image/image-service.ts'
import { collect } from '../collect.ts'
import { matchesLabel, parseFilters } from '../filters.ts'
import { renderListing } from '../format.ts'
import { formatAgo, formatBytes } from '../table.ts'

interface ImagesFlags {
  readonly quiet?: boolean
  readonly trunc: boolean
  readonly digests?: boolean
  readonly format?: string
  readonly filter?: string[]
}

export function register(program: Command): Command {
  return program
    .command('images')
    .description('List images.')
    .argument('[repository]', 'only this repository, or repository:tag')
    .option('-q, --quiet', 'only ids')
    .option('-a, --all', 'also those without a name (they are always shown)')
    .option('--no-trunc', 'do not cut ids short')
    .option('--digests', 'show the manifest digest')
    .option('--format <format>', 'json, or a Go template')
    .option('-f, --filter <key=value>', 'only those that match', collect)
    .addHelpText('after', "\nExample:\n  tsrun images --format '{{.Repository}}:{{.Tag}} {{.Size}}'")
    .action(async (repository: string | undefined, flags: ImagesFlags) => {
      await using engine = await Engine.open()
      const filters = parseFilters(flags.filter ?? [], ['reference', 'label', 'dangling'])
      const images = (await engine.images.list())
        .filter(image => repository === undefined || isNamed(image, repository))
        .filter(image => matches(image, filters))
      const idOf = (image: ImageSummary) => (flags.trunc ? image.shortId : image.id)
      if (flags.quiet === true) {
        process.stdout.write([...new Set(images.map(idOf))].map(id => `${id}\n`).join(''))
        return
      }
      const rows = images.map(image => ({
        Repository: image.repository,
        Tag: image.tag,
        Digest: image.digest,
        ID: idOf(image),
        CreatedSince: image.created === undefined ? 'N/A' : formatAgo(image.created),
        CreatedAt: image.created ?? 'N/A',
        Size: formatBytes(image.size),
      }))
      const shown = flags.digests === true ? [...columns.slice(0, 2), digestColumn, ...columns.slice(2)] : columns
      process.stdout.write(renderListing({ columns: shown, rows }, flags.format))
    })
}

const columns = [
  ['REPOSITORY', 'Repository'],
  ['TAG', 'Tag'],
  ['IMAGE ID', 'ID'],
  ['CREATED', 'CreatedSince'],
  ['SIZE', 'Size'],
] as const
const digestColumn = ['DIGEST', 'Digest'] as const

function isNamed(image: ImageSummary, wanted: string): boolean {
  return image.repository === wanted || `${image.repository}:${image.tag}` === wanted
}

function matches(image: ImageSummary, filters: ReadonlyMap<string, readonly string[]>): boolean {
  const tests: Readonly<Record<string, (value: string) => boolean>> = {
    reference: value => isNamed(image, value),
    label: value => matchesLabel(image.labels, value),
    dangling: value => (image.repository === '<none>') === (value === 'true' || value === '1'),
  }
  return [...filters].every(([key, values]) => values.some(value => tests[key]?.(value) === true))
}
