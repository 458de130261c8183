import type { Command } from 'commander'
import type { ExecSpec } from '../../engine/container/exec-container.ts'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { collect } from '../collect.ts'
import { parseDetachKeys } from '../detach-keys.ts'
import { parseEnv } from '../parse-env.ts'
import { SIGPIPE_EXIT_CODE } from '../print.ts'

interface ExecFlags {
  readonly interactive?: boolean
  readonly tty?: boolean
  readonly detach?: boolean
  readonly env?: string[]
  readonly envFile?: string[]
  readonly workdir?: string
  readonly user?: string
  readonly privileged?: boolean
  readonly detachKeys?: string
}

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('exec')
    .description('Run a further command in a running container. Flags end at its name.')
    .argument('<container>')
    .argument('<command...>')
    .passThroughOptions()
    .option('-i, --interactive', 'keep stdin open')
    .option('-t, --tty', 'give it a terminal')
    .option('-d, --detach', 'leave it running')
    .option('-e, --env <KEY=value>', 'set a variable; KEY alone takes the value from here', collect)
    .option('--env-file <file>', 'read variables from a file', collect)
    .option('-w, --workdir <dir>', 'working directory')
    .option('-u, --user <user>', 'name or uid, and optionally :group')
    .option('--privileged', 'with all capabilities')
    .option('--detach-keys <keys>', 'keys that leave a terminal; default ctrl-p,ctrl-q')
    .addHelpText('after', '\nExample:\n  tsrun exec -it web sh')
    .action(async (name: string, words: string[], flags: ExecFlags) => {
      if (flags.tty === true && flags.interactive === true && flags.detach !== true && !process.stdin.isTTY)
        throw new TsrunError('invalid', 'no-terminal', 'cannot use -it: standard input is not a terminal', {
          hint: 'leave out -t',
        })
      await using engine = await Engine.open()
      exit(await exec(engine, name, words, flags))
    })
}

async function exec(engine: Engine, name: string, words: readonly string[], flags: ExecFlags): Promise<number> {
  // Before anything runs.
  const detachKeys = parseDetachKeys(flags.detachKeys)
  const size = flags.tty === true ? (await import('../terminal.ts')).terminalSize() : undefined
  const spec: ExecSpec = {
    command: words,
    tty: flags.tty === true,
    openStdin: flags.interactive === true && flags.detach !== true,
    privileged: flags.privileged === true,
    env: parseEnv(flags),
    ...(flags.workdir === undefined ? {} : { workingDir: flags.workdir }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
    ...(size === undefined ? {} : { consoleSize: size }),
  }
  if (flags.tty !== true && flags.interactive !== true && flags.detach !== true)
    return (await engine.containers.execRelayed(name, spec, { stdout: 1, stderr: 2 })) ?? 125
  const attachment = await engine.containers.exec(name, spec)
  if (flags.detach === true) {
    attachment.close()
    return 0
  }
  const { joinTerminal } = await import('../terminal.ts')
  const result = await joinTerminal(attachment, {
    tty: flags.tty === true,
    stdin: flags.interactive === true,
    detachKeys,
  })
  if (result.kind === 'detached') attachment.detach()
  else attachment.close()
  if (result.kind === 'reader-gone') return SIGPIPE_EXIT_CODE
  return result.kind === 'detached' ? 0 : (result.code ?? 125)
}
