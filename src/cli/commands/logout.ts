import type { Command } from 'commander'
import { logout } from '../../engine/image/login.ts'
import { print } from '../print.ts'

export function register(program: Command): Command {
  return program
    .command('logout')
    .description('Forget the credentials for a registry; docker.io when none is named.')
    .argument('[registry]', 'HOST or HOST:PORT')
    .addHelpText('after', '\nExample:\n  tsrun logout registry.example.com')
    .action(async (registry: string | undefined) => {
      const { registry: name, wasKnown } = await logout(registry)
      print(wasKnown ? `Removing login credentials for ${name}\n` : `Not logged in to ${name}\n`)
    })
}
