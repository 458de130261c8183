// The one error class for everything a user can reach. Plain Error is for our own bugs.

/** What kind of failure: faces turn it into exit codes, HTTP status or CNI codes. */
export type ErrorKind =
  | 'invalid'
  | 'not-found'
  | 'conflict'
  | 'denied'
  | 'unavailable'
  | 'unsupported'
  | 'system'
  /** The command exists in the image but cannot be run (exit code 126). */
  | 'not-executable'
  /** The command is not in the image (exit code 127). */
  | 'command-not-found'

/** An error for the user: what we were doing, to what, why it failed, and what to do next. */
export class TsrunError extends Error {
  /** What kind of failure it is. */
  readonly kind: ErrorKind
  /** Short machine-readable name, stable across releases, e.g. `network-in-use`. */
  readonly code: string
  /** What the user can do about it, or undefined where nothing helps. */
  readonly hint: string | undefined

  /** @internal */
  constructor(kind: ErrorKind, code: string, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'TsrunError'
    this.kind = kind
    this.code = code
    this.hint = options.hint
  }
}

/** Whether `error` says that there is no container of that name or id: for whoever wanted it gone, or saw it there a moment ago. */
export function isNoSuchContainer(error: unknown): boolean {
  return error instanceof TsrunError && error.code === 'no-such-container'
}
