import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { forEach } from '../each.ts'
import { refuseRmFlags } from '../refused-flags.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return refuseRmFlags(program.command('rm'))
    .description('Remove containers.')
    .argument('<container...>')
    .option('-f, --force', 'end running ones first; a missing one is no error')
    .option('-v, --volumes', 'remove their anonymous volumes as well')
    .addHelpText('after', '\nExample:\n  tsrun rm -f web')
    .action(async (names: string[], flags: { force?: boolean; volumes?: boolean }) => {
      await using engine = await Engine.open()
      exit(
        await forEach(
          names,
          async name => {
            try {
              await engine.containers.remove(name, flags)
              return name
            } catch (error) {
              if (flags.force === true && error instanceof TsrunError && error.code === 'no-such-container')
                return undefined
              throw error
            }
          },
          { atOnce: 8 },
        ),
      )
    })
}
