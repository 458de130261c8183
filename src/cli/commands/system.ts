import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'

export function register(program: Command): Command {
  const system = program.command('system').description('Clean up.')
  system
    .command('prune')
    .description('Remove stopped containers, unused networks and dangling images, and what a crash has left behind.')
    .option('-f, --force', 'do not ask (tsrun never asks)')
    .option('--volumes', 'anonymous volumes as well')
    .addHelpText('after', '\nExample:\n  tsrun system prune')
    .action(async (flags: { volumes?: boolean }) => {
      await using engine = await Engine.open()
      await engine.reconcile()
      for (const { container, state } of await engine.containers.list({ all: true })) {
        if (state.status === 'running' || state.status === 'paused') continue
        await engine.containers.remove(container.id)
        process.stdout.write(`Deleted container: ${container.name}\n`)
      }
      for (const name of await engine.networks.prune()) process.stdout.write(`Deleted network: ${name}\n`)
      if (flags.volumes === true)
        for (const name of engine.volumes.prune()) process.stdout.write(`Deleted volume: ${name}\n`)
    })
  return system
}
