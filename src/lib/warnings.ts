// What went otherwise than asked for, but well enough to go on: told when the call is done, by whoever has a place to tell it.

const warnings: Error[] = []

/** Notes down what the user should be told when the call has succeeded. */
export function warn(warning: Error): void {
  warnings.push(warning)
}

/** What was noted since the last call. */
export function takeWarnings(): Error[] {
  return warnings.splice(0)
}
