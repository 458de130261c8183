// What is wrong with a Dockerfile, and where.

import { TsrunError } from '../../../model/errors.ts'

/** A place in a Dockerfile. */
export interface SourcePlace {
  /** As the user named it. */
  readonly file: string
  /** First line of the instruction, from 1. */
  readonly line: number
}

/** `Dockerfile:3: REASON`. @param hint what to write instead */
export function syntaxError({ file, line }: SourcePlace, reason: string, hint?: string): TsrunError {
  return new TsrunError('invalid', 'dockerfile', `${file}:${line}: ${reason}`, hint === undefined ? {} : { hint })
}
