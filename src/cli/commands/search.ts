import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import type { ImageSummary } from '../../engine/image/list-images.ts'
import { TsrunError } from '../../model/errors.ts'
import { collect } from '../collect.ts'
import { renderListing } from '../format.ts'
import { imageColumns, imageFilter, imageRow } from '../image-rows.ts'
import { print } from '../print.ts'
import { truncate } from '../table.ts'

interface SearchFlags {
  readonly trunc: boolean
  readonly format?: string
  readonly filter?: string[]
  readonly limit?: string
}

export function register(program: Command): Command {
  return program
    .command('search')
    .description('Find images in the local store whose name, or a part of it after a slash, starts with the prefix.')
    .argument('<prefix>')
    .option('-f, --filter <key=value>', 'only those that match, as with `images`', collect)
    .option('--limit <count>', 'show no more than these')
    .option('--no-trunc', 'do not cut anything short')
    .option('--format <format>', 'json, or a Go template')
    .addHelpText('after', '\nExample:\n  tsrun search busy')
    .action(async (prefix: string, flags: SearchFlags) => {
      const limit = parseLimit(flags.limit)
      await using engine = await Engine.open()
      const wanted = await imageFilter(engine, flags.filter)
      const images = (await engine.images.list()).filter(image => begins(image, prefix) && wanted(image))
      const rows = images.slice(0, limit).map(image => {
        const description = image.labels['org.opencontainers.image.description'] ?? ''
        const name = `${image.repository}:${image.tag}`
        return {
          ...imageRow(image, flags.trunc),
          Name: name,
          Description: flags.trunc ? truncate(description, 45) : description,
        }
      })
      print(renderListing({ columns: [...imageColumns, ['DESCRIPTION', 'Description']], rows }, flags.format))
    })
}

/** `bus`, `library/bus`, `docker.io/library/bus` and `busybox:lat` find `busybox:latest`. */
function begins({ repository, tag }: ImageSummary, prefix: string): boolean {
  const hasRegistry = /^([^/]*[.:][^/]*|localhost)\//.test(repository)
  const short = `${repository}:${tag}`
  const full = hasRegistry ? short : `docker.io/${repository.includes('/') ? '' : 'library/'}${short}`
  return full.startsWith(prefix) || full.includes(`/${prefix}`)
}

/** @throws TsrunError invalid */
function parseLimit(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text)
  throw new TsrunError('invalid', 'limit', `invalid value "${text}" for --limit: a number from 1 on`)
}
