import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { parseDetachKeys } from '../detach-keys.ts'
import { SIGPIPE_EXIT_CODE } from '../print.ts'
import { joinTerminal } from '../terminal.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('attach')
    .description('Join the streams of a running container; ctrl-p ctrl-q leaves it running.')
    .argument('<container>')
    .option('--no-stdin', 'only watch')
    .option('--detach-keys <keys>', 'keys that leave a terminal; default ctrl-p,ctrl-q')
    .option('--sig-proxy', 'forward signals to it (default); --sig-proxy=false: they end only tsrun')
    .addHelpText('after', '\nExample:\n  tsrun attach web')
    .action(async (name: string, flags: { stdin: boolean; detachKeys?: string; sigProxy?: boolean }) => {
      const detachKeys = parseDetachKeys(flags.detachKeys)
      await using engine = await Engine.open()
      const { spec, id } = engine.containers.find(name)
      const attachment = await engine.containers.attach(name)
      const result = await joinTerminal(attachment, {
        tty: spec.tty === true,
        stdin: flags.stdin && spec.openStdin === true,
        detachKeys,
        ...(flags.sigProxy === false
          ? {}
          : { onSignal: signal => void engine.containers.kill(id, signal).catch(() => {}) }),
      })
      if (result.kind === 'detached') attachment.detach()
      else attachment.close()
      if (result.kind === 'reader-gone') exit(SIGPIPE_EXIT_CODE)
      else if (result.kind === 'exit') exit(result.code ?? (await engine.containers.wait(id)))
    })
}
