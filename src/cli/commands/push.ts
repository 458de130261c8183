import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { familiarName, parseReference } from '../../engine/image/image-reference.ts'
import { TsrunError } from '../../model/errors.ts'
import { interruptible } from '../interrupt.ts'
import { TransferLines } from '../transfer-lines.ts'

interface PushFlags {
  readonly allTags?: boolean
  readonly quiet?: boolean
}

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('push')
    .description('Give an image to the registry that its name says.')
    .argument('<image>')
    .option('-a, --all-tags', 'every tag of the repository that is here')
    .option('-q, --quiet', 'print only the name')
    .addHelpText(
      'after',
      '\nExample:\n  tsrun tag app registry.example.com/team/app:1.2 && tsrun push registry.example.com/team/app:1.2',
    )
    .action(async (image: string, flags: PushFlags) => {
      await using engine = await Engine.open()
      for (const reference of flags.allTags === true ? await allNames(engine, image) : [image]) {
        const code = await pushOne(engine, reference, flags)
        if (code === undefined) continue
        exit(code)
        return
      }
    })
}

/** @returns the exit code when it was interrupted */
async function pushOne(engine: Engine, image: string, { quiet }: PushFlags): Promise<number | undefined> {
  const { stdout } = process
  const lines = quiet === true ? undefined : new TransferLines(stdout, 'push')
  try {
    const pushed = await interruptible(signal =>
      engine.images.push(image, {
        signal,
        onProgress: event => {
          if (event.kind === 'layer') lines?.layer(event)
          else if (quiet !== true) stdout.write(`The push refers to repository [${event.repository}]\n`)
        },
      }),
    )
    lines?.end()
    if ('exitCode' in pushed) return pushed.exitCode
    const { name, tag, digest, size } = pushed
    stdout.write(quiet === true ? `${name}\n` : `${tag}: digest: ${digest} size: ${size}\n`)
    return undefined
  } finally {
    lines?.end()
  }
}

async function allNames(engine: Engine, image: string): Promise<string[]> {
  const repository = familiarName(parseReference(image))
  if (/[:@]/.test(image.slice(image.lastIndexOf('/') + 1)))
    throw new TsrunError('invalid', 'all-tags', `cannot push all tags of "${image}": it names one`, {
      hint: 'leave out the tag, or -a',
    })
  const images = (await engine.images.list()).filter(each => each.repository === repository && each.tag !== '<none>')
  if (images.length > 0) return images.map(({ tag }) => `${repository}:${tag}`)
  throw new TsrunError(
    'not-found',
    'no-such-image',
    `cannot push "${image}": no image here has a tag of that repository`,
  )
}
