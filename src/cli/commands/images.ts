import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { collect } from '../collect.ts'
import { renderListing } from '../format.ts'
import { imageColumns, imageFilter, imageRow } from '../image-rows.ts'
import { print } from '../print.ts'

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
    .argument('[repository]', 'only this repository, or repository:tag; * and ? stand for anything')
    .option('-q, --quiet', 'only ids')
    .option('-a, --all', 'also those without a name (they are always shown)')
    .option('--no-trunc', 'do not cut ids short')
    .option('--digests', 'show the manifest digest')
    .option('--format <format>', 'json, or a Go template')
    .option(
      '-f, --filter <key=value>',
      'only those that match: reference, label, dangling, before, since, until',
      collect,
    )
    .addHelpText('after', "\nExample:\n  tsrun images --format '{{.Repository}}:{{.Tag}} {{.Size}}'")
    .action(async (repository: string | undefined, flags: ImagesFlags) => {
      await using engine = await Engine.open()
      const named = await imageFilter(engine, repository === undefined ? [] : [`reference=${repository}`])
      const wanted = await imageFilter(engine, flags.filter)
      const images = (await engine.images.list()).filter(image => named(image) && wanted(image))
      const rows = images.map(image => imageRow(image, flags.trunc))
      if (flags.quiet === true) {
        print([...new Set(rows.map(({ ID }) => ID))].map(id => `${id}\n`).join(''))
        return
      }
      const columns =
        flags.digests === true ? [...imageColumns.slice(0, 2), digestColumn, ...imageColumns.slice(2)] : imageColumns
      print(renderListing({ columns, rows }, flags.format))
    })
}

const digestColumn = ['DIGEST', 'Digest'] as const
