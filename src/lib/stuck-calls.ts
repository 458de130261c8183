// Calls that were given to the runtime and never end: they would keep the process for ever.

let isStuck = false

/** There is one. */
export function noteStuckCall(): void {
  isStuck = true
}

/** Whether the process ends only by exit(). */
export function hasStuckCalls(): boolean {
  return isStuck
}
