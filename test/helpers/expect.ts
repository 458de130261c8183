// What several end-to-end tests expect of tsrun.

import { expect } from 'vitest'
import type { Result } from './command.ts'

/** An error as the user sees it: nothing on stdout, `tsrun: ...` and perhaps a hint on stderr, and this exit code. */
export function expectError(result: Result, code: number, message: RegExp): void {
  expect(result).toMatchObject({ stdout: '', code, signal: null })
  expect(result.stderr).toMatch(message)
  // One line for the message, one for the hint: no stack trace, no second report of the same thing.
  expect(result.stderr).toMatch(/^tsrun: [^\n]+\n( {2}hint: [^\n]+\n)?$/)
}
