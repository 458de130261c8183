import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { renderError } from '../render-error.ts'

export function register(program: Command, exit: (code: number) => void): Command {
  const system = program.command('system').description('Clean up, and start again after a reboot.')
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
  system
    .command('up')
    .description('After a reboot: put networks back and start the containers whose restart policy says so.')
    .addHelpText(
      'after',
      '\nExample:\n  tsrun system up\n\nscripts/systemd/tsrun.service calls it when the machine starts.',
    )
    .action(async () => {
      await using engine = await Engine.open()
      for await (const { kind, name, error } of engine.up()) {
        if (error === undefined) process.stdout.write(`Started ${kind}: ${name}\n`)
        else {
          process.stderr.write(renderError(error))
          exit(1)
        }
      }
    })
  return system
}
