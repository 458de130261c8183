import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import { toInspection } from '../container-inspect.ts'
import { renderInspection } from '../format.ts'
import { inspectNetwork } from '../network-view.ts'
import { print, printError } from '../print.ts'
import { renderError } from '../render-error.ts'
import { inspectVolume } from '../volume-view.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  return program
    .command('inspect')
    .description('Show everything about containers, images, networks or volumes, as JSON.')
    .argument('<name...>')
    .option('-f, --format <format>', 'json, or a Go template')
    .option('-s, --size', 'of containers: how much they have written, and that with their image')
    .option('--type <type>', 'container, image, network or volume')
    .addHelpText('after', "\nExample:\n  tsrun inspect -f '{{.State.Status}}' web")
    .action(async (names: string[], flags: InspectFlags) => {
      await using engine = await Engine.open()
      const found: unknown[] = []
      for (const name of names) {
        try {
          found.push(await inspectAny(engine, name, flags))
        } catch (error) {
          printError(renderError(error))
          exit(1)
        }
      }
      print(renderInspection(found, flags.format))
    })
}

interface InspectFlags {
  readonly format?: string
  readonly size?: boolean
  readonly type?: string
}

/** The first kind of object that has the name: containers before images before networks before volumes, as docker. */
async function inspectAny(engine: Engine, name: string, { type, size }: InspectFlags): Promise<unknown> {
  const kinds: Readonly<Record<string, () => Promise<unknown>>> = {
    container: () => inspectContainer(engine, name, size === true),
    image: () => engine.images.inspect(name),
    network: () => inspectNetwork(engine, name),
    volume: async () => inspectVolume(engine.volumes.find(name)),
  }
  if (type !== undefined) {
    const inspect = kinds[type]
    if (inspect !== undefined) return inspect()
    throw new TsrunError('invalid', 'type', `invalid value "${type}" for --type`, {
      hint: Object.keys(kinds).join(', '),
    })
  }
  for (const inspect of Object.values(kinds)) {
    try {
      return await inspect()
    } catch (error) {
      if (!(error instanceof TsrunError) || (error.kind !== 'not-found' && error.kind !== 'invalid')) throw error
    }
  }
  throw new TsrunError('not-found', 'no-such-object', `no such object: "${name}"`, {
    hint: 'no container, image, network or volume has that name',
  })
}

async function inspectContainer(engine: Engine, name: string, withSize: boolean): Promise<unknown> {
  const view = await engine.containers.inspect(name)
  const inspection = toInspection(view, {
    networks: engine.networks.list(),
    root: engine.root,
    state: engine.state,
    volumeFolder: (container, mount) => engine.volumes.placeOf(container, mount),
  })
  if (!withSize) return inspection
  const own = await engine.files.size(view.container.id)
  const image = await engine.images.sizeOf(view.container.image.layerDirs)
  return { ...inspection, SizeRw: own, SizeRootFs: own + image }
}
