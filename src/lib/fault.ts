// Named fault points. TSRUN_FAULT="<step>:fail" makes that step throw right after it was done,
// "<step>:kill" ends this process there with SIGKILL. "*" prints each step's name.

import { mark } from './trace.ts'

const [faultStep, faultKind] = splitFault(process.env.TSRUN_FAULT)

/** Called behind every step that changes the machine; does nothing unless TSRUN_FAULT names `step`. */
export function faultPoint(step: string): void {
  mark(step)
  if (faultStep === undefined) return
  if (faultStep === '*') process.stderr.write(`fault point: ${step}\n`)
  if (faultStep !== step) return
  if (faultKind === 'kill') process.kill(process.pid, 'SIGKILL')
  if (faultKind === 'fail') throw new InjectedFault(step)
}

/** The error an injected fault throws: never seen without TSRUN_FAULT. */
export class InjectedFault extends Error {
  constructor(step: string) {
    super(`injected fault at "${step}"`)
    this.name = 'InjectedFault'
  }
}

function splitFault(value: string | undefined): [string | undefined, string] {
  if (value === undefined || value === '') return [undefined, '']
  const colon = value.lastIndexOf(':')
  return colon < 0 ? [value, 'fail'] : [value.slice(0, colon), value.slice(colon + 1)]
}
