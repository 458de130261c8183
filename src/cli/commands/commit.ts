import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { print } from '../print.ts'

interface CommitFlags {
  readonly author?: string
  readonly message?: string
  readonly change?: string[]
  readonly pause: boolean
}

export function register(program: Command): Command {
  return program
    .command('commit')
    .description('Make an image of what a container has changed; prints its id.')
    .argument('<container>')
    .argument('[reference]')
    .option('-a, --author <author>', 'who made it')
    .option('-m, --message <text>', 'what it is')
    .option(
      '-c, --change <instruction>',
      'Dockerfile instruction for its defaults, e.g. CMD ["sh"]',
      (v: string, all?: string[]) => [...(all ?? []), v],
    )
    .option('-p, --pause', 'freeze the container meanwhile', true)
    .option('--no-pause', 'do not')
    .addHelpText('after', '\nExample:\n  tsrun commit -c \'CMD ["httpd", "-f"]\' web mysite:1')
    .action(async (name: string, reference: string | undefined, flags: CommitFlags) => {
      await using engine = await Engine.open()
      const { id } = await engine.commit(name, {
        pause: flags.pause,
        ...(reference === undefined ? {} : { reference }),
        ...(flags.author === undefined ? {} : { author: flags.author }),
        ...(flags.message === undefined ? {} : { message: flags.message }),
        ...(flags.change === undefined ? {} : { changes: flags.change }),
      })
      print(`${id}\n`)
    })
}
