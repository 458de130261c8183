// `--ulimit NAME=SOFT[:HARD]`. Pure.

import type { ContainerSpec } from '../model/container.ts'
import { TsrunError } from '../model/errors.ts'

// RLIMIT_* of asm-generic/resource.h, as docker and setrlimit(2) call them.
const names =
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ')

/** -1 and `unlimited` are no limit. @throws TsrunError invalid */
export function parseUlimit(text: string): NonNullable<ContainerSpec['ulimits']>[number] {
  const match = /^([a-z]+)=(-1|\d{1,16}|unlimited)(?::(-1|\d{1,16}|unlimited))?$/.exec(text)
  const [, name = '', softText = '', hardText = softText] = match ?? []
  const number = (value: string) => (value === 'unlimited' ? -1 : Number(value))
  const soft = number(softText)
  const hard = number(hardText)
  if (match === null || !Number.isSafeInteger(soft) || !Number.isSafeInteger(hard))
    throw invalid(text, '', 'NAME=SOFT[:HARD], e.g. nofile=1024:2048; -1 is unlimited')
  if (!names.includes(name)) throw invalid(text, `: there is no ulimit "${name}"`, `one of ${names.join(' ')}`)
  if (hard !== -1 && (soft === -1 || soft > hard))
    throw invalid(text, ': the soft limit is above the hard one', `e.g. ${name}=${hard}:${hard}`)
  return { name, soft, hard }
}

function invalid(text: string, reason: string, hint: string): TsrunError {
  return new TsrunError('invalid', 'ulimit', `invalid value "${text}" for --ulimit${reason}`, { hint })
}
