import { existsSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { BuildOptions, BuiltImage } from '../../engine/build/build-types.ts'
import { Engine } from '../../engine/engine.ts'
import { parsePlatform } from '../../engine/image/manifest.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Platform } from '../../model/image.ts'
import { parseByteSize } from '../../model/parse-resources.ts'
import { parseUlimit } from '../../model/ulimits.ts'
import {
  type BuildOutput,
  epoch,
  pairs,
  parseAnnotations,
  parseNamedContexts,
  parseOutput,
  parseSecret,
} from '../build-flags.ts'
import { outputTarget } from '../build-output.ts'
import { type BuildView, liveView, OutputTail, plainView, renderFailedStep } from '../build-progress.ts'
import { interruptible } from '../interrupt.ts'
import { print, printError } from '../print.ts'
import { refuseBuildFlags } from '../refused-flags.ts'

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
  readonly metadataFile?: string
  /** commander takes "no-" off. */
  readonly cacheFilter: readonly string[]
  readonly buildContext: readonly string[]
  readonly annotation: readonly string[]
  readonly output?: string
  readonly push?: boolean
  readonly shmSize?: string
  readonly ulimit: readonly string[]
  readonly cgroupParent?: string
  readonly cacheFrom: readonly string[]
  readonly cacheTo: readonly string[]
  readonly sourceDateEpoch?: string
  readonly quiet?: boolean
  readonly progress: string
}

export function register(program: Command, exit: (code: number) => void): Command {
  const list = (value: string, before: readonly string[]): string[] => [...before, value]
  const listOfLists = (value: string, before: readonly string[]): string[] => [...before, ...value.split(',')]
  const command = program
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
    .option('--no-cache-filter <stages>', 'run every step of these stages, apart by commas', listOfLists, [])
    .option(
      '--build-context <name=place>',
      'another directory, or docker-image://IMAGE, for FROM and --from=NAME',
      list,
      [],
    )
    .option('--annotation <key=value>', "annotation of the image's manifest", list, [])
    .option('--shm-size <bytes>', 'size of /dev/shm in the RUN steps')
    .option('--ulimit <limit>', 'limit of the RUN steps, e.g. nofile=1024:2048', list, [])
    .option('--cgroup-parent <path>', 'cgroup that those of the RUN steps go below')
    .option('-o, --output <spec>', "the image's files: DIR, - for tar, or type=local|tar|docker|oci,dest=PATH")
    .option('--push', 'push the image to the registries of its names')
    .option('--iidfile <file>', "write the image's id to this file")
    .option('--metadata-file <file>', "write the image's names and digests to this file, as JSON")
    .option('--source-date-epoch <seconds>', 'no time in the image is later: the same context gives the same digest')
    .option('--load', 'docker compatibility: images always go into the store')
    .option('--cache-from <spec>', 'docker compatibility: the cache is that of this machine', list, [])
    .option('--cache-to <spec>', 'docker compatibility: the cache is that of this machine', list, [])
    .option(
      '--provenance <value>',
      'docker compatibility: false; tsrun makes no attestations',
      falseAlone('--provenance'),
    )
    .option('--sbom <value>', 'docker compatibility: false; tsrun makes no attestations', falseAlone('--sbom'))
    .option('-q, --quiet', "print only the image's id")
    .option('--progress <type>', 'auto, plain, tty, quiet or none', process.env.BUILDKIT_PROGRESS || 'auto')
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
  for (const flag of ['--rm', '--no-rm', '--force-rm', '--compress']) command.addOption(new Option(flag).hideHelp())
  return refuseBuildFlags(command)
}

/** A flag that may only say no. */
function falseAlone(flag: string): (value: string) => string {
  return value => {
    if (value === 'false') return value
    throw new TsrunError('unsupported', 'flag', `cannot use ${flag}=${value}: tsrun makes no attestations`, {
      hint: `${flag}=false, or leave it out`,
    })
  }
}

async function build(context: string, flags: BuildFlags): Promise<number> {
  if (!['auto', 'plain', 'tty', 'quiet', 'none'].includes(flags.progress))
    throw new TsrunError('invalid', 'progress', `invalid value "${flags.progress}" for --progress`, {
      hint: 'auto, plain, tty, quiet or none',
    })
  const output: BuildOutput = flags.output === undefined ? { kind: 'store' } : parseOutput(flags.output)
  const isPushed = flags.push === true || output.kind === 'registry'
  if (isPushed && flags.tag.length === 0)
    throw new TsrunError('invalid', 'no-tag', 'cannot push an image without a name', {
      hint: 'name it: -t REGISTRY/NAME:TAG',
    })
  const options = await toOptions(context, flags)
  const target = outputTarget(output, isPushed)
  await using engine = await Engine.open()
  const tail = new OutputTail()
  const view = viewFor(flags, tail)
  const unused = [
    ...(flags.cacheFrom.length > 0 ? ['--cache-from'] : []),
    ...(flags.cacheTo.length > 0 ? ['--cache-to'] : []),
  ]
  if (unused.length > 0 && flags.quiet !== true)
    printError(`note: ${unused.join(' and ')} not used: the cache is that of this machine\n`)
  let built: BuiltImage | { exitCode: number }
  try {
    built = await interruptible(signal =>
      engine.build({ ...options, ...target.options, signal, onEvent: event => view.event(event) }),
    )
  } catch (error) {
    view.end()
    if (tail.failed !== undefined) printError(renderFailedStep(tail.failed))
    throw error
  }
  view.end()
  if ('exitCode' in built) return built.exitCode
  if (flags.iidfile !== undefined) writeFileSync(flags.iidfile, built.id)
  const isQuiet = flags.quiet === true || flags.progress === 'quiet'
  if (isQuiet && !target.usesStdout) print(`${built.id}\n`)
  else if (!isQuiet && flags.progress !== 'none')
    printError([`image ${built.id}`, ...built.names.map(name => `named ${name}`), ''].join('\n'))
  const code = await target.finish(engine, built)
  if (code === 0 && flags.metadataFile !== undefined) writeFileSync(flags.metadataFile, metadata(built))
  return code
}

/** As BuildKit writes it, as far as it is of an image and not of BuildKit. */
function metadata({ id, digest, names }: BuiltImage): string {
  const document = {
    'containerimage.config.digest': id,
    'containerimage.digest': digest,
    ...(names.length === 0 ? {} : { 'image.name': names.join(',') }),
  }
  return `${JSON.stringify(document, undefined, 2)}\n`
}

function viewFor(flags: BuildFlags, tail: OutputTail): BuildView {
  const { stderr } = process
  // Its lines are still kept for the error.
  if (flags.quiet === true || flags.progress === 'quiet' || flags.progress === 'none') return plainView(() => {}, tail)
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
    noCacheStages: flags.cacheFilter,
    annotations: parseAnnotations(flags.annotation),
    namedContexts: parseNamedContexts(flags.buildContext),
    stepLimits: {
      ...(flags.shmSize === undefined ? {} : { shmSizeBytes: parseByteSize('--shm-size', flags.shmSize) }),
      ...(flags.ulimit.length === 0 ? {} : { ulimits: flags.ulimit.map(parseUlimit) }),
      ...(flags.cgroupParent === undefined ? {} : { cgroupParent: flags.cgroupParent }),
    },
    pull: flags.pull === true,
    extraHosts: flags.addHost,
    ...(target === undefined ? {} : { target }),
    ...(network === undefined ? {} : { network }),
    ...(flags.platform === undefined ? {} : { platform: onePlatform(flags.platform) }),
    ...epoch(flags.sourceDateEpoch),
  }
}

/** @throws TsrunError unsupported: several */
function onePlatform(text: string): Platform {
  if (!text.includes(',')) return parsePlatform(text)
  throw new TsrunError('unsupported', 'platforms', `cannot build for several platforms at once (${text})`, {
    hint: 'build and push an image for each, and join them: `skopeo` and `buildah manifest` do',
  })
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
