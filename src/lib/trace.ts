// Where the milliseconds go: with TSRUN_TRACE_TIME set, every step is stamped and the list is printed at the end.
// Steps that change the machine stamp themselves (fault.ts); the others call mark().

const enabled = process.env.TSRUN_TRACE_TIME !== undefined && process.env.TSRUN_TRACE_TIME !== ''
const stamps: (readonly [name: string, ms: number])[] = []

if (enabled) process.on('exit', () => process.stderr.write(formatTrace(stamps)))

/** Stamps the end of the step `name`. Costs nothing while nobody listens. */
export function mark(name: string): void {
  if (enabled) stamps.push([name, performance.now()])
}

/** One line a step: milliseconds since the process began, and since the step before. */
export function formatTrace(steps: readonly (readonly [name: string, ms: number])[]): string {
  let last = 0
  const lines = steps.map(([name, ms]) => {
    const line = `${ms.toFixed(2).padStart(8)} ${`+${(ms - last).toFixed(2)}`.padStart(8)}  ${name}`
    last = ms
    return line
  })
  return `      ms    since  step\n${lines.join('\n')}\n`
}
