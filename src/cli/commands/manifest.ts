import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { print } from '../print.ts'

export function register(program: Command): Command {
  const manifest = program.command('manifest').description('Show what a registry has under a name.')
  manifest
    .command('inspect')
    .description('Print the manifest or index of an image in its registry, without pulling it.')
    .argument('<image>')
    .option('-v, --verbose', 'with its digest and media type')
    .addHelpText('after', '\nExample:\n  tsrun manifest inspect alpine:3.20')
    .action(async (image: string, flags: { verbose?: boolean }) => {
      await using engine = await Engine.open()
      const { name, ...found } = await engine.images.manifest(image)
      const shown = flags.verbose === true ? { Ref: name, ...found } : found.document
      print(`${JSON.stringify(shown, null, 2)}\n`)
    })
  return manifest
}
