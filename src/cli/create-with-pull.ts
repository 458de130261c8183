// `run` and `create`: what `--pull` says, and what is told on stderr when an image has to be pulled first.

import type { Engine } from '../engine/engine.ts'
import type { PullPolicy } from '../engine/image/transfer-events.ts'
import { withImage } from '../engine/image/with-image.ts'
import type { Container, ContainerSpec } from '../model/container.ts'
import { TsrunError } from '../model/errors.ts'
import { printError } from './print.ts'

/** Makes a container, and pulls its image before (`always`) or when it is not there (`missing`). */
export async function createWithPull(
  engine: Engine,
  spec: ContainerSpec,
  flags: Readonly<Record<string, unknown>>,
  { durable = true }: { readonly durable?: boolean } = {},
): Promise<Container> {
  const policy = parsePolicy(flags.pull)
  return withImage(spec.image, policy, {
    use: image => engine.containers.create({ ...spec, image }, { pull: 'never', durable }),
    pull: async image => {
      if (policy === 'missing' && flags.quiet !== true) printError(`Unable to find image '${image}' locally\n`)
      const { pullForContainer } = await import('./pull-image.ts')
      return pullForContainer(engine, image, flags)
    },
  })
}

/** @throws TsrunError invalid */
function parsePolicy(value: unknown): PullPolicy {
  if (value === undefined || value === '') return 'missing'
  if (value === 'always' || value === 'missing' || value === 'never') return value
  throw new TsrunError('invalid', 'pull-policy', `invalid value "${value}" for --pull`, {
    hint: 'always, missing or never',
  })
}
