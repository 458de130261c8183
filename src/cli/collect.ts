// A flag that may be given several times, for commander.

/** Adds `value` to what the flag has brought so far. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value]
}
