// Where the milliseconds go: with `--trace-time` or TSRUN_TRACE_TIME set, every step is stamped and the list is printed at
// the end. Steps that change the machine stamp themselves (fault.ts); the others call mark().

/** A step that has ended. */
export interface TraceStep {
  readonly name: string
  /** Since the process began. */
  readonly ms: number
  /** What all threads of the process had used of the processors by then, in user and kernel mode. */
  readonly cpuMs: number
}

const isPrinted = (process.env.TSRUN_TRACE_TIME ?? '') !== ''
// The word may turn out to be one of the container's command; the steps up to there are over when that is known.
const isTracing = isPrinted || process.argv.includes('--trace-time')
const steps: TraceStep[] = []

if (isPrinted) printTrace()

/** Has the list printed when the process exits: the word `--trace-time` was meant for us. */
export function printTrace(): void {
  process.on('exit', () => process.stderr.write(formatTrace(steps)))
}

/** Stamps the end of the step `name`. Costs nothing while nobody listens. */
export function mark(name: string): void {
  if (!isTracing) return
  const { user, system } = process.cpuUsage()
  steps.push({ name, ms: performance.now(), cpuMs: (user + system) / 1000 })
}

/** One line a step: milliseconds since the process began, since the step before, and of processor time. */
export function formatTrace(steps: readonly TraceStep[]): string {
  let last = { ms: 0, cpuMs: 0 }
  const lines = steps.map(step => {
    const columns = [
      step.ms.toFixed(2),
      `+${(step.ms - last.ms).toFixed(2)}`,
      `+${(step.cpuMs - last.cpuMs).toFixed(2)}`,
    ]
    last = step
    return `${columns.map(column => column.padStart(8)).join(' ')}  ${step.name}`
  })
  return `      ms    since      cpu  step\n${lines.join('\n')}\n`
}
