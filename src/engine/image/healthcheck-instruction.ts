// `HEALTHCHECK NONE` and `HEALTHCHECK [--interval=30s ...] CMD command` as they stand in a Dockerfile. Pure.

import { parseDuration } from '../../lib/duration.ts'
import type { TsrunError } from '../../model/errors.ts'
import type { Healthcheck } from '../../model/image.ts'

type Reject = (reason: string) => TsrunError
type Timing = 'Interval' | 'Timeout' | 'StartPeriod' | 'StartInterval'

const timings: Readonly<Record<string, Timing>> = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
}

/** @param text what stands behind HEALTHCHECK @throws what `reject` makes of the reason */
export function parseHealthcheck(text: string, reject: Reject): Healthcheck {
  const { options, rest } = takeOptions(text, reject)
  const [, kind = '', command = ''] = /^(\S+)\s*([\s\S]*)$/.exec(rest) ?? []
  if (kind.toUpperCase() === 'NONE') {
    if (command !== '' || Object.keys(options).length > 0) throw reject('HEALTHCHECK NONE takes nothing more')
    return { Test: ['NONE'] }
  }
  if (kind.toUpperCase() !== 'CMD') throw reject(`"${kind}" is neither CMD nor NONE`)
  if (command === '') throw reject('CMD needs a command')
  return { Test: toTest(command), ...options }
}

function takeOptions(text: string, reject: Reject): { options: Healthcheck; rest: string } {
  let options: Healthcheck = {}
  let rest = text.trimStart()
  for (let match = /^--([a-z-]+)=(\S+)\s*/.exec(rest); match !== null; match = /^--([a-z-]+)=(\S+)\s*/.exec(rest)) {
    const [whole, name = '', value = ''] = match
    options = { ...options, ...toOption(name, value, reject) }
    rest = rest.slice(whole.length)
  }
  return { options, rest }
}

function toOption(name: string, value: string, reject: Reject): Healthcheck {
  if (name === 'retries') {
    if (!/^\d{1,6}$/.test(value)) throw reject(`--retries takes a number, not "${value}"`)
    return { Retries: Number(value) }
  }
  const field = Object.hasOwn(timings, name) ? timings[name] : undefined
  if (field === undefined) throw reject(`there is no option "--${name}"`)
  const ms = value === '0' ? 0 : parseDuration(value)
  if (ms === undefined || (ms > 0 && ms < 1) || !Number.isSafeInteger(Math.round(ms * 1e6)))
    throw reject(`--${name} takes a duration from 1ms, e.g. 30s, not "${value}"`)
  return { [field]: Math.round(ms * 1e6) }
}

/** Exec form, or a line for the image's shell. */
function toTest(command: string): readonly string[] {
  if (command.startsWith('[')) {
    try {
      const words: unknown = JSON.parse(command)
      if (Array.isArray(words) && words.every(word => typeof word === 'string')) return ['CMD', ...words]
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
    }
  }
  return ['CMD-SHELL', command]
}
