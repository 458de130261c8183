// Signal names as docker takes them: `TERM`, `SIGTERM`, `15`.

import { constants } from 'node:os'
import { TsrunError } from '../../model/errors.ts'

const signals: Readonly<Record<string, number>> = constants.signals

/** @throws TsrunError invalid */
export function signalNumber(signal: string): number {
  const upper = signal.toUpperCase()
  const known = signals[upper] ?? signals[`SIG${upper}`] ?? realTime(upper)
  if (known !== undefined) return known
  const number = Number(signal)
  if (/^\d+$/.test(signal) && number >= 1 && number <= 64) return number
  throw new TsrunError('invalid', 'signal', `there is no signal "${signal}"`, {
    hint: 'a name such as TERM, SIGHUP or RTMIN+1, or a number from 1 to 64; `kill -l` lists them',
  })
}

function realTime(name: string): number | undefined {
  const match = /^(?:SIG)?RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name)
  if (match === null) return undefined
  const base = match[1] === 'MIN' ? 34 : 64
  const number = base + (match[2] === '-' ? -1 : 1) * Number(match[3] ?? 0)
  return number >= 34 && number <= 64 ? number : undefined
}
