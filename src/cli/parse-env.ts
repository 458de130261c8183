// `-e KEY=value`, `-e KEY` and `--env-file` of run, create and exec.

import { TsrunError } from '../model/errors.ts'
import { readLines } from './read-lines.ts'

/** The variables of files, then those of flags, as `KEY=value`; a KEY alone takes its value from here. @throws TsrunError invalid */
export function parseEnv(flags: { readonly env?: readonly string[]; readonly envFile?: readonly string[] }): string[] {
  return [
    ...(flags.envFile ?? []).flatMap(readEnvFile),
    ...(flags.env ?? []).flatMap(entry => fromOwnEnvironment('--env', entry)),
  ]
}

function readEnvFile(file: string): string[] {
  return readLines('--env-file', file).flatMap(line => fromOwnEnvironment(`--env-file "${file}"`, line))
}

function fromOwnEnvironment(flag: string, entry: string): string[] {
  const reason =
    entry.startsWith('=') || entry === '' ? 'the name is empty' : entry.includes('\0') ? 'it holds a NUL' : undefined
  if (reason !== undefined)
    throw new TsrunError('invalid', 'env', `invalid value "${entry}" for ${flag}: ${reason}`, {
      hint: 'KEY=value, or KEY to take it from here',
    })
  if (entry.includes('=')) return [entry]
  const value = process.env[entry]
  return value === undefined ? [] : [`${entry}=${value}`]
}
