import type { Command } from 'commander'
import { knownUser, login, registryOf } from '../../engine/image/login.ts'
import { TsrunError } from '../../model/errors.ts'
import { print, printError } from '../print.ts'
import { ask, askSecret } from '../prompt.ts'

interface LoginFlags {
  readonly username?: string
  readonly password?: string
  readonly passwordStdin?: boolean
}

export function register(program: Command): Command {
  return program
    .command('login')
    .description(
      'Log in to a registry; docker.io when none is named. The credentials are kept where docker keeps them.',
    )
    .argument('[registry]', 'HOST or HOST:PORT')
    .option('-u, --username <name>', 'user name')
    .option('-p, --password <password>', 'password; better use --password-stdin')
    .option('--password-stdin', 'read the password from standard input')
    .addHelpText('after', '\nExample:\n  cat password.txt | tsrun login -u me --password-stdin registry.example.com')
    .action(async (registry: string | undefined, flags: LoginFlags) => {
      const name = registryOf(registry)
      if (flags.passwordStdin === true && (flags.password !== undefined || flags.username === undefined))
        throw new TsrunError(
          'invalid',
          'password-stdin',
          `cannot log in to ${name}: --password-stdin goes with -u alone`,
        )
      const username = flags.username ?? (await askUser(name))
      const password = await passwordFrom(flags, name)
      const { file } = await login({ registry: name, username, password })
      if (file !== undefined)
        printError(`tsrun: warning: the password is kept unencrypted in "${file}"; a credential helper avoids that\n`)
      print('Login Succeeded\n')
    })
}

async function askUser(registry: string): Promise<string> {
  if (!process.stdin.isTTY) throw noTerminal(registry, '-u')
  const known = knownUser(registry)
  const answer = await ask(known === undefined ? 'Username: ' : `Username (${known}): `)
  return answer === '' ? (known ?? '') : answer
}

async function passwordFrom(flags: LoginFlags, registry: string): Promise<string> {
  if (flags.passwordStdin === true) return fromStdin(registry)
  if (flags.password !== undefined) {
    printError('tsrun: warning: others can read a password on the command line; use --password-stdin\n')
    return flags.password
  }
  if (!process.stdin.isTTY) throw noTerminal(registry, '--password-stdin')
  return askSecret('Password: ')
}

async function fromStdin(registry: string): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk))
  const password = Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '')
  if (password !== '') return password
  throw new TsrunError(
    'invalid',
    'no-password',
    `cannot log in to ${registry}: the password on standard input is empty`,
  )
}

function noTerminal(registry: string, flag: string): TsrunError {
  return new TsrunError(
    'invalid',
    'no-terminal',
    `cannot log in to ${registry}: standard input is no terminal to ask on`,
    {
      hint: `use ${flag}: cat password.txt | tsrun login -u NAME --password-stdin ${registry}`,
    },
  )
}
