import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { printable } from '../../engine/ids.ts'
import { renderListing } from '../format.ts'
import { print } from '../print.ts'
import { formatAgo, formatBytes, truncate } from '../table.ts'

export function register(program: Command): Command {
  return program
    .command('history')
    .description('Show the steps an image was made by.')
    .argument('<image>')
    .option('-q, --quiet', 'only ids')
    .option('--no-trunc', 'do not cut anything short')
    .option('-H, --human', 'sizes and times for people; --human=false for programs', true)
    .option('--format <format>', 'json, or a Go template')
    .addHelpText('after', '\nExample:\n  tsrun history busybox')
    .action(async (image: string, flags: { quiet?: boolean; trunc: boolean; human: boolean; format?: string }) => {
      await using engine = await Engine.open()
      const steps = await engine.images.history(image)
      const idOf = (id: string) => (flags.trunc ? id.replace('sha256:', '').slice(0, 12) : id)
      if (flags.quiet === true) {
        print(steps.map(step => `${idOf(step.id)}\n`).join(''))
        return
      }
      const rows = steps.map(step => ({
        ID: idOf(step.id),
        CreatedSince: step.created === undefined ? 'N/A' : flags.human ? formatAgo(step.created) : step.created,
        CreatedAt: step.created ?? 'N/A',
        CreatedBy: flags.trunc ? truncate(printable(step.createdBy), 45) : printable(step.createdBy),
        Size: flags.human ? formatBytes(step.size) : String(step.size),
        Comment: printable(step.comment),
      }))
      print(renderListing({ columns, rows }, flags.format))
    })
}

const columns = [
  ['IMAGE', 'ID'],
  ['CREATED', 'CreatedSince'],
  ['CREATED BY', 'CreatedBy'],
  ['SIZE', 'Size'],
  ['COMMENT', 'Comment'],
] as const
