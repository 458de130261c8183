// Named fault points. TSRUN_FAULT="<step>:fail" makes that step throw right after it was done,
// "<step>:kill" ends this process there with SIGKILL, "<step>:stop" stops it there with SIGSTOP, for a test to do something
// meanwhile. "<step>:kill@3" means the third time. "*" prints each step's name. "init <point>:..." concerns tsrun-init.

import { mark } from './trace.ts'

const fault = splitFault(process.env.TSRUN_FAULT)
let passed = 0

/** Called behind every step that changes the machine; does nothing unless TSRUN_FAULT names `step`. */
export function faultPoint(step: string): void {
  mark(step)
  if (fault === undefined) return
  if (fault.step === '*') process.stderr.write(`fault point: ${step}\n`)
  if (fault.step !== step) return
  passed += 1
  if (passed !== fault.nth) return
  if (fault.kind === 'kill') process.kill(process.pid, 'SIGKILL')
  if (fault.kind === 'stop') process.kill(process.pid, 'SIGSTOP')
  if (fault.kind === 'fail') throw new InjectedFault(step)
}

/** The fault that tsrun-init is to have, as `<point>:<kind>`; `tsrun-init --fault-points` lists the points. */
export function initFault(): string | undefined {
  return fault?.step.startsWith('init ') ? `${fault.step.slice('init '.length)}:${fault.kind}` : undefined
}

/** The error an injected fault throws: never seen without TSRUN_FAULT. */
export class InjectedFault extends Error {
  constructor(step: string) {
    super(`injected fault at "${step}"`)
    this.name = 'InjectedFault'
  }
}

interface Fault {
  readonly step: string
  readonly kind: string
  /** Which time; the first is 1. */
  readonly nth: number
}

function splitFault(value: string | undefined): Fault | undefined {
  if (value === undefined || value === '') return undefined
  const [, step = value, kind = 'fail', nth = '1'] = /^(.*):([a-z]+)(?:@(\d+))?$/s.exec(value) ?? []
  return { step, kind, nth: Number(nth) }
}
