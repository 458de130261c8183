// Resource limits of a process by docker's names: the one list of them. Pure.

import { TsrunError } from './errors.ts'

/** RLIMIT_* of asm-generic/resource.h: a name's place is its number. */
const names =
  'cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime'.split(' ')

export interface Ulimit {
  /** As setrlimit(2) has it, in lower case and without RLIMIT_. */
  readonly name: string
  /** -1 is unlimited. */
  readonly soft: number
  readonly hard: number
}

/** `NAME=SOFT[:HARD]`; -1 and `unlimited` are no limit. @throws TsrunError invalid */
export function parseUlimit(text: string): Ulimit {
  const match = /^([a-z]+)=(-1|\d{1,16}|unlimited)(?::(-1|\d{1,16}|unlimited))?$/.exec(text)
  const [, name = '', soft = '', hard = soft] = match ?? []
  if (match === null) throw invalid(text, '', 'NAME=SOFT[:HARD], e.g. nofile=1024:2048; -1 is unlimited')
  const number = (value: string) => (value === 'unlimited' ? -1 : Number(value))
  const limit = { name, soft: number(soft), hard: number(hard) }
  checkUlimit(limit, text)
  return limit
}

/** @throws TsrunError invalid */
export function checkUlimit({ name, soft, hard }: Ulimit, text = `${name}=${soft}:${hard}`): void {
  if (!names.includes(name))
    throw invalid(text, `: there is no ulimit "${name}"`, `one of ${[...names].sort().join(' ')}`)
  if (![soft, hard].every(value => Number.isSafeInteger(value) && value >= -1))
    throw invalid(text, '', 'NAME=SOFT[:HARD], e.g. nofile=1024:2048; -1 is unlimited')
  if (hard !== -1 && (soft === -1 || soft > hard))
    throw invalid(text, ': the soft limit is above the hard one', `e.g. ${name}=${hard}:${hard}`)
}

/** The number of a limit that checkUlimit() has let pass, for setrlimit(2). @param type `RLIMIT_NOFILE` or `nofile` */
export function ulimitNumber(type: string): number {
  const number = names.indexOf(type.replace(/^RLIMIT_/, '').toLowerCase())
  if (number < 0) throw invalid(type, ': there is no such ulimit', `one of ${[...names].sort().join(' ')}`)
  return number
}

function invalid(text: string, reason: string, hint: string): TsrunError {
  return new TsrunError('invalid', 'ulimit', `invalid value "${text}" for --ulimit${reason}`, { hint })
}
