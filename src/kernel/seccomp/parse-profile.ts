// Reads a seccomp profile that somebody else wrote: every field is checked, and the error says which one is wrong.

import { TsrunError } from '../../model/errors.ts'
import type {
  SeccompAction,
  SeccompArgument,
  SeccompCondition,
  SeccompOperator,
  SeccompProfile,
  SeccompProfileRule,
} from './profile.ts'

const actions: readonly string[] = 'KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG'
  .split(' ')
  .map(name => `SCMP_ACT_${name}`)
const operators: readonly string[] = 'NE LT LE EQ GE GT MASKED_EQ'.split(' ').map(name => `SCMP_CMP_${name}`)

/** Parses the JSON text of a docker profile; `origin` (a path) goes into errors. @throws TsrunError invalid */
export function parseSeccompProfile(text: string, origin: string): SeccompProfile {
  const fail = (where: string, wanted: string): never => {
    throw new TsrunError(
      'invalid',
      'bad-seccomp-profile',
      `cannot use the seccomp profile "${origin}": ${where} must be ${wanted}`,
    )
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new TsrunError(
      'invalid',
      'bad-seccomp-profile',
      `cannot use the seccomp profile "${origin}": it is not JSON`,
      { cause: error },
    )
  }
  return new Reader(fail).profile(json)
}

/** linux/seccomp.h, as far as a profile may ask for them; TSYNC is about further threads, and there are none. */
const filterFlags: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 0,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
}

/** What a profile's `flags` mean to seccomp(2). */
export function seccompFlagBits({ flags = [] }: SeccompProfile): number {
  return flags.reduce((bits, name) => bits | (filterFlags[name] ?? 0), 0)
}

type Fail = (where: string, wanted: string) => never

class Reader {
  readonly #fail: Fail

  constructor(fail: Fail) {
    this.#fail = fail
  }

  profile(json: unknown): SeccompProfile {
    const root = this.#object(json, 'the profile')
    const archMap = this.#list(root.archMap, 'archMap').map((entry, i) => {
      const map = this.#object(entry, `archMap[${i}]`)
      return {
        architecture: this.#text(map.architecture, `archMap[${i}].architecture`),
        subArchitectures: this.#texts(map.subArchitectures, `archMap[${i}].subArchitectures`),
      }
    })
    const errno = this.#errno(root.defaultErrnoRet, 'defaultErrnoRet')
    // Another process would have to answer for the kernel, and there is nobody to start it.
    for (const field of ['listenerPath', 'listenerMetadata'])
      if (root[field] != null) this.#fail(field, 'left out: tsrun hands no calls to a listener (SCMP_ACT_NOTIFY)')
    return {
      defaultAction: this.#action(root.defaultAction, 'defaultAction'),
      ...(errno === undefined ? {} : { defaultErrnoRet: errno }),
      ...(archMap.length === 0 ? {} : { archMap }),
      architectures: this.#texts(root.architectures, 'architectures'),
      flags: this.#texts(root.flags, 'flags').map((flag, i) => this.#flag(flag, `flags[${i}]`)),
      syscalls: this.#list(root.syscalls, 'syscalls').map((rule, i) => this.#rule(rule, `syscalls[${i}]`)),
    }
  }

  #rule(json: unknown, where: string): SeccompProfileRule {
    const rule = this.#object(json, where)
    // `name` is the form of profiles before docker 1.13.
    const names =
      rule.names === undefined ? [this.#text(rule.name, `${where}.name`)] : this.#texts(rule.names, `${where}.names`)
    const errno = this.#errno(rule.errnoRet, `${where}.errnoRet`)
    const args = this.#list(rule.args, `${where}.args`).map((arg, i) => this.#argument(arg, `${where}.args[${i}]`))
    return {
      names,
      action: this.#action(rule.action, `${where}.action`),
      ...(errno === undefined ? {} : { errnoRet: errno }),
      ...(args.length === 0 ? {} : { args }),
      ...(rule.includes == null ? {} : { includes: this.#condition(rule.includes, `${where}.includes`) }),
      ...(rule.excludes == null ? {} : { excludes: this.#condition(rule.excludes, `${where}.excludes`) }),
    }
  }

  #condition(json: unknown, where: string): SeccompCondition {
    const condition = this.#object(json, where)
    const { minKernel } = condition
    if (minKernel !== undefined && !(typeof minKernel === 'string' && /^\d+\.\d+$/.test(minKernel))) {
      this.#fail(`${where}.minKernel`, 'a version such as "4.8"')
    }
    return {
      caps: this.#texts(condition.caps, `${where}.caps`),
      arches: this.#texts(condition.arches, `${where}.arches`),
      ...(typeof minKernel === 'string' ? { minKernel } : {}),
    }
  }

  #argument(json: unknown, where: string): SeccompArgument {
    const arg = this.#object(json, where)
    const op = arg.op
    if (typeof op !== 'string' || !operators.includes(op))
      return this.#fail(`${where}.op`, `one of ${operators.join(', ')}`)
    return {
      index: this.#number(arg.index, `${where}.index`, 5),
      value: this.#number(arg.value, `${where}.value`, Number.MAX_SAFE_INTEGER),
      valueTwo: this.#number(arg.valueTwo ?? 0, `${where}.valueTwo`, Number.MAX_SAFE_INTEGER),
      op: op as SeccompOperator,
    }
  }

  #flag(flag: string, where: string): string {
    if (flag in filterFlags) return flag
    return this.#fail(where, `one of ${Object.keys(filterFlags).join(', ')}`)
  }

  #action(json: unknown, where: string): SeccompAction {
    if (typeof json === 'string' && actions.includes(json)) return json as SeccompAction
    return this.#fail(where, `one of ${actions.join(', ')}`)
  }

  #errno(json: unknown, where: string): number | undefined {
    return json == null ? undefined : this.#number(json, where, 4095)
  }

  #number(json: unknown, where: string, max: number): number {
    if (typeof json === 'number' && Number.isInteger(json) && json >= 0 && json <= max) return json
    return this.#fail(where, `a whole number from 0 to ${max}`)
  }

  #text(json: unknown, where: string): string {
    return typeof json === 'string' ? json : this.#fail(where, 'a string')
  }

  #texts(json: unknown, where: string): string[] {
    return this.#list(json, where).map((item, i) => this.#text(item, `${where}[${i}]`))
  }

  #list(json: unknown, where: string): unknown[] {
    if (json == null) return []
    return Array.isArray(json) ? json : this.#fail(where, 'a list')
  }

  #object(json: unknown, where: string): Record<string, unknown> {
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Record<string, unknown>
    return this.#fail(where, 'an object')
  }
}
