import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { forEach } from '../each.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('rmi')
    .description('Remove images: a name, and with its last name the image.')
    .argument('<image...>')
    .option('-f, --force', 'also when stopped containers use it; what is not there is no failure')
    .option('--no-prune', 'docker compatibility: there are no untagged parents')
    .addHelpText('after', '\nExample:\n  tsrun rmi busybox')
    .action(async (names: string[], flags: { force?: boolean }) => {
      await using engine = await Engine.open()
      exit(
        await forEach(
          names,
          async name => {
            const { untagged, deleted } = await engine.images.remove(name, { force: flags.force === true })
            const lines = [...untagged.map(each => `Untagged: ${each}`), ...deleted.map(each => `Deleted: ${each}`)]
            return lines.length === 0 ? undefined : lines.join('\n')
          },
          { isFine: error => flags.force === true && error instanceof TsrunError && error.code === 'no-such-image' },
        ),
      )
    })
}
