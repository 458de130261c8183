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
  const flag = `--env-file "${file}"`
  return readLines('--env-file', file).flatMap(line => {
    // Not so in flags: whoever quotes a space for the shell means it.
    if (/\s/.test(line.split('=', 1)[0] ?? '')) throw invalid(flag, line, 'the name has a space in it')
    return fromOwnEnvironment(flag, line)
  })
}

function fromOwnEnvironment(flag: string, entry: string): string[] {
  const reason =
    entry.startsWith('=') || entry === '' ? 'the name is empty' : entry.includes('\0') ? 'it holds a NUL' : undefined
  if (reason !== undefined) throw invalid(flag, entry, reason)
  if (entry.includes('=')) return [entry]
  const value = process.env[entry]
  return value === undefined ? [] : [`${entry}=${value}`]
}

function invalid(flag: string, entry: string, reason: string): TsrunError {
  return new TsrunError('invalid', 'env', `invalid value "${entry}" for ${flag}: ${reason}`, {
    hint: 'KEY=value, or KEY to take it from here',
  })
}
