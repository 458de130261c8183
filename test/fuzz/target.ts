// What targets have in common: which errors a reader may answer with.

import { FormatError } from '../../src/lib/bytes.ts'
import { TsrunError } from '../../src/model/errors.ts'

/** An error that a user can read. Where a message quotes what was given, the face makes it readable. */
export function isForUsers(error: unknown): boolean {
  return error instanceof TsrunError && error.message.length > 0
}

/** Bytes that are not what they should be. */
export function isFormatError(error: unknown): boolean {
  return error instanceof FormatError
}

/** Complains about an answer. */
export function assert(holds: boolean, complaint: string): asserts holds {
  if (!holds) throw new Error(`wrong answer: ${complaint}`)
}
