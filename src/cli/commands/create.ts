import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { addContainerFlags, toContainerSpec } from '../container-flags.ts'
import { createWithPull } from '../create-with-pull.ts'
import { print } from '../print.ts'

export function register(program: Command): Command {
  const command = program
    .command('create')
    .description('Create a container without starting it; prints its id.')
    .argument('<image>')
    .argument('[command...]')
    .passThroughOptions()
    .addHelpText('after', '\nExample:\n  tsrun create --name web -p 8080:80 busybox httpd -f && tsrun start web')
  return addContainerFlags(command).action(async (image: string, rest: string[], flags: Record<string, unknown>) => {
    const spec = toContainerSpec(flags, [image, ...rest])
    await using engine = await Engine.open()
    const container = await createWithPull(engine, spec, flags)
    if (typeof flags.cidfile === 'string') writeFileSync(flags.cidfile, container.id, { flag: 'wx' })
    print(`${container.id}\n`)
  })
}
