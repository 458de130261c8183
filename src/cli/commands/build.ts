import { existsSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { BuildOptions, BuildSecret, BuiltImage } from '../../engine/build/build-types.ts'
import { Engine } from '../../engine/engine.ts'
import { parsePlatform } from '../../engine/image/manifest.ts'
import { TsrunError } from '../../model/errors.ts'
import { type BuildView, liveView, OutputTail, plainView, renderFailedStep } from '../build-progress.ts'
import { interruptible } from '../interrupt.ts'
import { tryParseCsv } from '../parse-csv.ts'
import { print, printError } from '../print.ts'

interface BuildFlags {
  readonly tag: readonly string[]
  readonly file?: string
  readonly buildArg: readonly string[]
  readonly target?: string
  readonly cache?: boolean
  readonly pull?: boolean
  readonly platform?: string
  readonly secret: readonly string[]
  readonly label: readonly string[]
  readonly network?: string
  readonly addHost: readonly string[]
  readonly iidfile?: string
  readonly sourceDateEpoch?: string
  readonly quiet?: boolean
  readonly progress: string
}

export function register(program: Command, exit: (code: number) => void): Command {
  const list = (value: string, before: readonly string[]): string[] => [...before, value]
  return program
    .command('build')
    .description('Build an image from a Dockerfile. The context is a directory, or a tar archive on stdin (-).')
    .argument('<context>', 'the directory that COPY takes from; - for a tar archive, or a Dockerfile alone, on stdin')
    .option('-t, --tag <name>', 'name of the image; may be given several times', list, [])
    .option('-f, --file <path>', 'the Dockerfile; default: Dockerfile in the context; - for stdin')
    .option('--build-arg <name=value>', 'a value for ARG; without =value that of the environment', list, [])
    .option('--target <stage>', 'build up to this stage')
    .option('--no-cache', 'run every step, whatever was kept of earlier builds')
    .option('--pull', 'ask the registry for base images even where they are here')
    .option('--platform <os/arch>', "platform of the image; default: this machine's")
    .option('--secret <spec>', 'for RUN --mount=type=secret: id=NAME,src=FILE or id=NAME,env=VARIABLE', list, [])
    .option('--label <key=value>', 'label of the image', list, [])
    .option(
      '--network <network>',
      'network of the RUN steps: none, host, or one of tsrun; default: the default network',
    )
    .option('--add-host <name:ip>', 'line for /etc/hosts of the RUN steps', list, [])
    .option('--iidfile <file>', "write the image's id to this file")
    .option('--source-date-epoch <seconds>', 'no time in the image is later: the same context gives the same digest')
    .option('--load', 'docker compatibility: images always go into the store')
    .option('-q, --quiet', "print only the image's id")
    .option('--progress <type>', 'auto, plain or tty', 'auto')
    .addHelpText(
      'after',
      `
Examples:
  tsrun build -t app .
  tsrun build -t app:test --target test --build-arg VERSION=1.2 -f docker/Dockerfile .
  tar -c . | tsrun build -t app -`,
    )
    .action(async (context: string, flags: BuildFlags) => {
      const code = await build(context, flags)
      if (code !== 0) exit(code)
    })
}

async function build(context: string, flags: BuildFlags): Promise<number> {
  if (!['auto', 'plain', 'tty'].includes(flags.progress))
    throw new TsrunError('invalid', 'progress', `invalid value "${flags.progress}" for --progress`, {
      hint: 'auto, plain or tty',
    })
  const options = await toOptions(context, flags)
  await using engine = await Engine.open()
  const tail = new OutputTail()
  const view = viewFor(flags, tail)
  let built: BuiltImage | { exitCode: number }
  try {
    built = await interruptible(signal => engine.build({ ...options, signal, onEvent: event => view.event(event) }))
  } catch (error) {
    view.end()
    if (tail.failed !== undefined) printError(renderFailedStep(tail.failed))
    throw error
  }
  view.end()
  if ('exitCode' in built) return built.exitCode
  if (flags.iidfile !== undefined) writeFileSync(flags.iidfile, built.id)
  if (flags.quiet === true) print(`${built.id}\n`)
  else printError([`image ${built.id}`, ...built.names.map(name => `named ${name}`), ''].join('\n'))
  return 0
}

function viewFor(flags: BuildFlags, tail: OutputTail): BuildView {
  const { stderr } = process
  // Its lines are still kept for the error.
  if (flags.quiet === true) return plainView(() => {}, tail)
  const isLive = flags.progress === 'tty' || (flags.progress === 'auto' && stderr.isTTY)
  if (!isLive) return plainView(text => void stderr.write(text), tail)
  const terminal = {
    write: (text: string) => void stderr.write(text),
    get columns() {
      return stderr.columns || 80
    },
    get rows() {
      return stderr.rows || 24
    },
  }
  return liveView(terminal, tail)
}

async function toOptions(context: string, flags: BuildFlags): Promise<BuildOptions> {
  const { target, network } = flags
  const isStdinDockerfile = flags.file === '-'
  if (context === '-' && isStdinDockerfile)
    throw new TsrunError('invalid', 'stdin-twice', 'cannot read both the context and the Dockerfile from stdin')
  const source =
    context === '-'
      ? await stdinContext()
      : { context, ...(isStdinDockerfile ? { dockerfile: await stdinText() } : {}) }
  return {
    ...source,
    ...(flags.file === undefined || isStdinDockerfile ? {} : { file: dockerfilePath(context, flags.file) }),
    tags: flags.tag,
    buildArgs: pairs('--build-arg', flags.buildArg, name => process.env[name]),
    labels: pairs('--label', flags.label, () => ''),
    secrets: flags.secret.map(parseSecret),
    noCache: flags.cache === false,
    pull: flags.pull === true,
    extraHosts: flags.addHost,
    ...(target === undefined ? {} : { target }),
    ...(network === undefined ? {} : { network }),
    ...(flags.platform === undefined ? {} : { platform: parsePlatform(flags.platform) }),
    ...epoch(flags.sourceDateEpoch),
  }
}

/** An archive, or a Dockerfile without a context: what is text is the latter. */
async function stdinContext(): Promise<Pick<BuildOptions, 'context' | 'dockerfile'>> {
  const iterator = (process.stdin as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  const first = await iterator.next()
  const head: Buffer = first.done === true ? Buffer.alloc(0) : first.value
  async function* whole(): AsyncGenerator<Buffer> {
    yield head
    for (let item = await iterator.next(); item.done !== true; item = await iterator.next()) yield item.value
  }
  const { looksLikeArchive } = await import('../../engine/build/build-context.ts')
  if (looksLikeArchive(head)) return { context: whole() }
  return { context: noFiles(), dockerfile: (await readAll(whole())).toString('utf8') }
}

/** The archive of nothing. */
async function* noFiles(): AsyncGenerator<Buffer> {
  yield Buffer.alloc(1024)
}

async function readAll(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function stdinText(): Promise<string> {
  return (await readAll(process.stdin as AsyncIterable<Buffer>)).toString('utf8')
}

/** As docker: where the user stands, else in the context. */
function dockerfilePath(context: string, file: string): string {
  return context !== '-' && existsSync(file) ? resolve(file) : file
}

/** `NAME=value`, and NAME alone with its value from elsewhere; without one it is left out. */
function pairs(
  flag: string,
  values: readonly string[],
  fallback: (name: string) => string | undefined,
): Record<string, string> {
  return Object.fromEntries(
    values.flatMap(text => {
      const [name = ''] = text.split('=', 1)
      if (name === '')
        throw new TsrunError('invalid', 'pair', `invalid value "${text}" for ${flag}: expected NAME=VALUE`)
      const value = text.includes('=') ? text.slice(name.length + 1) : fallback(name)
      return value === undefined ? [] : [[name, value] as const]
    }),
  )
}

function parseSecret(text: string): BuildSecret {
  const fields = new Map(
    (tryParseCsv(text) ?? []).map(part => {
      const [key = ''] = part.split('=', 1)
      return [key, part.slice(key.length + 1)] as const
    }),
  )
  const id = fields.get('id')
  const invalid = (reason: string) =>
    new TsrunError('invalid', 'secret', `invalid value for --secret: ${reason}`, {
      hint: 'id=NAME,src=FILE or id=NAME,env=VARIABLE',
    })
  if (!id) throw invalid('it has no id')
  const variable = fields.get('env') ?? (fields.get('type') === 'env' ? id : undefined)
  const file = fields.get('src') ?? fields.get('source')
  if (variable !== undefined) {
    const value = process.env[variable]
    if (value === undefined) throw invalid(`the environment has no ${variable}`)
    return { id, source: { value } }
  }
  if (file !== undefined) return { id, source: { file } }
  const value = process.env[id]
  if (value === undefined) throw invalid(`"${id}" is neither a file nor in the environment`)
  return { id, source: { value } }
}

function epoch(text: string | undefined): Pick<BuildOptions, 'sourceDateEpoch'> {
  if (text === undefined) return {}
  if (/^\d{1,11}$/.test(text)) return { sourceDateEpoch: Number(text) }
  throw new TsrunError('invalid', 'epoch', `invalid value "${text}" for --source-date-epoch`, {
    hint: 'seconds since 1970, e.g. $(git log -1 --pretty=%ct)',
  })
}
