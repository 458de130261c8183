// The files behind `--env-file` and `--label-file`.

import { readFileSync } from 'node:fs'
import { TsrunError } from '../model/errors.ts'
import { reasonOf } from '../model/output-error.ts'

/** The lines that say something: no empty ones, no comments. @throws TsrunError invalid, naming the flag and the file */
export function readLines(flag: string, file: string): string[] {
  return readText(flag, file)
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map(line => line.trimStart())
    .filter(line => line !== '' && !line.startsWith('#'))
}

function readText(flag: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error
    const syscall = 'syscall' in error ? `${String(error.syscall)}: ` : ''
    throw new TsrunError(
      'invalid',
      'flag-file',
      `cannot read "${file}" for ${flag}: ${reasonOf(error)} (${syscall}${String(error.code)})`,
      { hint: 'a file with one KEY=value a line', cause: error },
    )
  }
}
