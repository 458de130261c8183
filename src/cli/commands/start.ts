import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { parseDetachKeys } from '../detach-keys.ts'
import { forEach } from '../each.ts'
import { SIGPIPE_EXIT_CODE } from '../print.ts'
import { refuseStartFlags } from '../refused-flags.ts'
import { joinTerminal, terminalSize } from '../terminal.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return refuseStartFlags(program.command('start'))
    .description('Start created or stopped containers.')
    .argument('<container...>')
    .option('-a, --attach', 'join its output and take its exit code')
    .option('-i, --interactive', 'join its input as well')
    .option('--detach-keys <keys>', 'keys that leave a terminal; default ctrl-p,ctrl-q')
    .addHelpText('after', '\nExample:\n  tsrun start web db')
    .action(async (names: string[], flags: { attach?: boolean; interactive?: boolean; detachKeys?: string }) => {
      const isJoined = flags.attach === true || flags.interactive === true
      if (isJoined && names.length > 1)
        throw new TsrunError('invalid', 'several-containers', 'cannot start and attach several containers at once', {
          hint: 'leave out -a and -i, or start them one by one',
        })
      await using engine = await Engine.open()
      const [name = ''] = names
      if (isJoined) exit(await startAttached(engine, name, flags))
      else
        exit(
          await forEach(names, async each => {
            await engine.containers.start(each)
            return each
          }),
        )
    })
}

async function startAttached(
  engine: Engine,
  name: string,
  flags: { interactive?: boolean; detachKeys?: string },
): Promise<number> {
  const detachKeys = parseDetachKeys(flags.detachKeys)
  const size = terminalSize()
  const started = await engine.containers.startAttached(name, { owner: true, ...(size ? { consoleSize: size } : {}) })
  const { container, attachment } = started
  const result = await joinTerminal(attachment, {
    tty: container.spec.tty === true,
    stdin: flags.interactive === true && container.spec.openStdin === true,
    detachKeys,
    onSignal: signal => void engine.containers.kill(container.id, signal).catch(() => {}),
  })
  if (result.kind === 'reader-gone') {
    attachment.close()
    return SIGPIPE_EXIT_CODE
  }
  if (result.kind === 'detached') {
    attachment.detach()
    return 0
  }
  await engine.containers.finish(started)
  return result.code ?? 0
}
