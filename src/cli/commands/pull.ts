import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { familiarName, parseReference } from '../../engine/image/image-reference.ts'
import { TsrunError } from '../../model/errors.ts'
import { pullResult, showPull } from '../pull-image.ts'

interface PullFlags {
  readonly allTags?: boolean
  readonly quiet?: boolean
  readonly platform?: string
}

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('pull')
    .description('Get an image from a registry, or what is missing of it.')
    .argument('<image>')
    .option('-a, --all-tags', 'every tag of the repository')
    .option('-q, --quiet', 'print only the name')
    .option('--platform <os/arch>', "platform of the image; default: this machine's")
    .addHelpText(
      'after',
      `
Examples:
  tsrun pull alpine
  tsrun pull --platform linux/arm64 registry.example.com/team/app:1.2`,
    )
    .action(async (image: string, flags: PullFlags) => {
      await using engine = await Engine.open()
      for (const reference of flags.allTags === true ? await allTags(engine, image) : [image]) {
        const code = await pullOne(engine, reference, flags)
        if (code === undefined) continue
        exit(code)
        return
      }
    })
}

/** @returns the exit code when it was interrupted */
async function pullOne(engine: Engine, image: string, { quiet, platform }: PullFlags): Promise<number | undefined> {
  const { stdout } = process
  if (quiet !== true && !/[:@]/.test(image.slice(image.lastIndexOf('/') + 1)))
    stdout.write('Using default tag: latest\n')
  const out = quiet === true ? undefined : stdout
  const pulled = await showPull(engine, image, { out, ...(platform === undefined ? {} : { platform }) })
  if ('exitCode' in pulled) return pulled.exitCode
  stdout.write(`${quiet === true ? '' : pullResult(pulled)}${pulled.fullName}\n`)
  return undefined
}

async function allTags(engine: Engine, image: string): Promise<string[]> {
  const reference = parseReference(image)
  if (/[:@]/.test(image.slice(image.lastIndexOf('/') + 1)))
    throw new TsrunError('invalid', 'all-tags', `cannot pull all tags of "${image}": it names one`, {
      hint: 'leave out the tag, or -a',
    })
  const tags = await engine.images.tags(image)
  return tags.map(tag => `${familiarName(reference)}:${tag}`)
}
