import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { forEach } from '../each.ts'
import { renderInspection, renderListing } from '../format.ts'
import { parsePairs } from '../parse-pairs.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const volume = program.command('volume').description('Create, list, inspect and remove volumes.')
  const collect = (value: string, all: string[] | undefined) => [...(all ?? []), value]
  volume
    .command('create')
    .description('Create a volume; prints its name.')
    .argument('[name]')
    .option('--label <key=value>', 'set a label', collect)
    .addHelpText('after', '\nExample:\n  tsrun volume create data')
    .action(async (name: string | undefined, flags: { label?: string[] }) => {
      await using engine = await Engine.open()
      const labels = parsePairs('--label', flags.label ?? [])
      const made = engine.volumes.create({ labels, ...(name === undefined ? {} : { name }) })
      process.stdout.write(`${made.name}\n`)
    })
  volume
    .command('list')
    .alias('ls')
    .description('List volumes.')
    .option('-q, --quiet', 'only names')
    .option('--format <format>', 'json, or a Go template')
    .addHelpText('after', '\nExample:\n  tsrun volume ls')
    .action(async (flags: { quiet?: boolean; format?: string }) => {
      await using engine = await Engine.open()
      const rows = engine.volumes
        .list()
        .map(v => ({ Driver: 'local', Name: v.name, Scope: 'local', Mountpoint: v.mountpoint }))
      if (flags.quiet === true) process.stdout.write(rows.map(row => `${row.Name}\n`).join(''))
      else
        process.stdout.write(
          renderListing(
            {
              columns: [
                ['DRIVER', 'Driver'],
                ['VOLUME NAME', 'Name'],
              ],
              rows,
            },
            flags.format,
          ),
        )
    })
  volume
    .command('inspect')
    .description('Show everything about volumes, as JSON.')
    .argument('<name...>')
    .option('-f, --format <format>', 'json, or a Go template')
    .addHelpText('after', '\nExample:\n  tsrun volume inspect data')
    .action(async (names: string[], flags: { format?: string }) => {
      await using engine = await Engine.open()
      const found = names.map(name => {
        const v = engine.volumes.find(name)
        return {
          Name: v.name,
          Driver: 'local',
          Mountpoint: v.mountpoint,
          CreatedAt: v.createdAt,
          Labels: v.labels,
          Scope: 'local',
        }
      })
      process.stdout.write(renderInspection(found, flags.format))
    })
  volume
    .command('remove')
    .alias('rm')
    .description('Remove volumes that no container mounts.')
    .argument('<name...>')
    .addHelpText('after', '\nExample:\n  tsrun volume rm data')
    .action(async (names: string[]) => {
      await using engine = await Engine.open()
      exit(
        await forEach(names, async name => {
          engine.volumes.remove(name)
          return name
        }),
      )
    })
  volume
    .command('prune')
    .description('Remove anonymous volumes that no container mounts; with --all, named ones as well.')
    .option('-a, --all', 'named volumes too')
    .option('-f, --force', 'do not ask (tsrun never asks)')
    .addHelpText('after', '\nExample:\n  tsrun volume prune')
    .action(async (flags: { all?: boolean }) => {
      await using engine = await Engine.open()
      for (const name of engine.volumes.prune({ all: flags.all === true })) process.stdout.write(`${name}\n`)
    })
  return volume
}
