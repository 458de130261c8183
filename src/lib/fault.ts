// Named fault points. TSRUN_FAULT="<step>:fail" makes that step throw right after it was done,
// "<step>:kill" ends this process there with SIGKILL, "<step>:stop" stops it there with SIGSTOP, for a test to do something
// meanwhile. "<step>:kill@3" means the third time; several are told apart by ";". "*" prints each step's name.
// "init <point>:..." concerns tsrun-init.

import { mark } from './trace.ts'

const faults = (process.env.TSRUN_FAULT ?? '').split(';').filter(Boolean).map(parseFault)

/** Called behind every step that changes the machine; does nothing unless TSRUN_FAULT names `step`. */
export function faultPoint(step: string): void {
  mark(step)
  for (const fault of faults) meet(fault, step)
}

function meet(fault: Fault, step: string): void {
  if (fault.step === '*') process.stderr.write(`fault point: ${step}\n`)
  if (fault.step !== step) return
  fault.passed += 1
  if (fault.passed !== fault.nth) return
  if (fault.kind === 'kill') process.kill(process.pid, 'SIGKILL')
  if (fault.kind === 'stop') process.kill(process.pid, 'SIGSTOP')
  if (fault.kind === 'fail') throw new InjectedFault(step)
}

/** The fault that tsrun-init is to have, as `<point>:<kind>`; `tsrun-init --fault-points` lists the points. */
export function initFault(): string | undefined {
  const fault = faults.find(({ step }) => step.startsWith('init '))
  return fault === undefined ? undefined : `${fault.step.slice('init '.length)}:${fault.kind}`
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
  passed: number
}

function parseFault(text: string): Fault {
  const [, step = text, kind = 'fail', nth = '1'] = /^(.*):([a-z]+)(?:@(\d+))?$/s.exec(text) ?? []
  return { step, kind, nth: Number(nth), passed: 0 }
}
