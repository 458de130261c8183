// The instructions that change nothing but the config: what containers of the image start with. Pure.

import type { ContainerDefaults, Healthcheck } from '../../model/image.ts'
import { flagValue, type Instruction, jsonList } from './dockerfile/instruction.ts'
import { expandWord, expandWords, type Lookup, SubstitutionError } from './dockerfile/substitute.ts'
import { syntaxError } from './dockerfile/syntax-error.ts'
import { type EscapeCharacter, rawWords } from './dockerfile/words.ts'

export interface ConfigScope {
  readonly lookup: Lookup
  readonly escapeCharacter: EscapeCharacter
  /** CMD was given for this image, and not by its base: ENTRYPOINT leaves it. */
  readonly hasOwnCommand: boolean
}

type Change = (config: ContainerDefaults, instruction: Instruction, words: Words) => ContainerDefaults

const changes: Readonly<Record<string, Change>> = {
  CMD: (config, instruction) => ({ ...config, Cmd: commandOf(instruction, config) }),
  ENTRYPOINT: (config, instruction, { scope }) => ({
    ...config,
    Entrypoint: commandOf(instruction, config),
    ...(scope.hasOwnCommand ? {} : { Cmd: null }),
  }),
  ENV: (config, _, words) => ({ ...config, Env: mergeEnv(config.Env ?? [], words.pairs()) }),
  EXPOSE: (config, instruction, words) => ({
    ...config,
    ExposedPorts: { ...config.ExposedPorts, ...asSet(words.all().flatMap(word => ports(instruction, word))) },
  }),
  HEALTHCHECK: (config, instruction, words) => ({ ...config, Healthcheck: healthcheck(instruction, words) }),
  LABEL: (config, _, words) => ({ ...config, Labels: { ...config.Labels, ...Object.fromEntries(words.pairs()) } }),
  ONBUILD: (config, { text, heredocText }) => ({
    ...config,
    OnBuild: [...(config.OnBuild ?? []), heredocText === '' ? text : `${text}\n${heredocText}`],
  }),
  SHELL: (config, { list }) => ({ ...config, Shell: list ?? [] }),
  STOPSIGNAL: (config, _, words) => ({ ...config, StopSignal: words.one() }),
  USER: (config, _, words) => ({ ...config, User: words.one() }),
  VOLUME: (config, { list }, words) => ({
    ...config,
    Volumes: { ...config.Volumes, ...asSet(list === undefined ? words.all() : list.map(item => words.expand(item))) },
  }),
  WORKDIR: (config, { text }, words) => ({
    ...config,
    WorkingDir: resolvePath(config.WorkingDir, words.expand(text)),
  }),
}

/** The instructions that applyConfig() knows. */
export const configInstructions: readonly string[] = Object.keys(changes)

/** @returns undefined for an instruction that is not one of these @throws TsrunError invalid */
export function applyConfig(
  config: ContainerDefaults,
  instruction: Instruction,
  scope: ConfigScope,
): ContainerDefaults | undefined {
  return changes[instruction.keyword]?.(config, instruction, new Words(instruction, scope))
}

/** The words of an instruction with variables replaced. @throws TsrunError invalid, with file and line */
export class Words {
  readonly #instruction: Instruction
  readonly scope: Pick<ConfigScope, 'lookup' | 'escapeCharacter'> & { readonly hasOwnCommand: boolean }

  constructor(instruction: Instruction, scope: Omit<ConfigScope, 'hasOwnCommand'> & { hasOwnCommand?: boolean }) {
    this.#instruction = instruction
    this.scope = { hasOwnCommand: false, ...scope }
  }

  /** One text as one word. */
  expand(text: string): string {
    return this.#guarded(() => expandWord(text, this.scope))
  }

  /** The text as one word. */
  one(): string {
    return this.expand(this.#instruction.text)
  }

  /** Apart by blanks, those that come from values included. */
  all(): string[] {
    return this.#guarded(() => expandWords(this.#instruction.text, this.scope))
  }

  /** Each written word as one word. */
  each(): string[] {
    return rawWords(this.#instruction.text, this.scope.escapeCharacter).map(word => this.expand(word))
  }

  /** `A=1 B=2`, or the old form `A 1 and more`. All of them see the values from before. */
  pairs(): [string, string][] {
    const { text } = this.#instruction
    const words = rawWords(text, this.scope.escapeCharacter)
    const [first = ''] = words
    if (!first.includes('=')) return [[this.expand(first), this.expand(text.slice(first.length).trim())]]
    return words.map(word => {
      const equals = word.indexOf('=')
      return [this.expand(word.slice(0, equals)), this.expand(word.slice(equals + 1))]
    })
  }

  #guarded<T>(task: () => T): T {
    try {
      return task()
    } catch (error) {
      if (!(error instanceof SubstitutionError)) throw error
      throw syntaxError(this.#instruction, `${this.#instruction.keyword}: ${error.message}`)
    }
  }
}

/** Exec form, or a line for the shell. */
export function commandOf({ list, text }: Instruction, { Shell }: ContainerDefaults): string[] {
  return [...(list ?? [...(Shell ?? ['/bin/sh', '-c']), text])]
}

/** Env entries with later ones in the place of earlier ones of the same name. */
export function mergeEnv(env: readonly string[], added: readonly (readonly [string, string])[]): string[] {
  const merged = new Map(env.map(entry => [entry.split('=', 1)[0] ?? '', entry]))
  for (const [key, value] of added) merged.set(key, `${key}=${value}`)
  return [...merged.values()]
}

/** A path in the image, absolute and without `.` and `..`; a relative one starts at `directory`. */
export function resolvePath(directory: string | undefined, path: string): string {
  const parts: string[] = []
  for (const part of (path.startsWith('/') ? path : `${directory ?? ''}/${path}`).split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `/${parts.join('/')}`
}

function ports(instruction: Instruction, word: string): string[] {
  const [, from = '', to = from, protocol = 'tcp'] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(word) ?? []
  const [first, last] = [Number(from), Number(to)]
  if (from === '' || first > last || last > 65_535 || first < 1)
    throw syntaxError(instruction, `EXPOSE ${word}: expected a port or a range with a protocol, e.g. 80, 8000-8010/udp`)
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol.toLowerCase()}`)
}

function healthcheck(instruction: Instruction, words: Words): Healthcheck {
  const [, kind = '', rest = ''] = /^(\S+)\s*([\s\S]*)$/.exec(instruction.text) ?? []
  if (kind.toUpperCase() === 'NONE') return { Test: ['NONE'] }
  const list = jsonList(rest)
  const time = (name: string): number | undefined => {
    const value = flagValue(instruction, name)
    return value === undefined ? undefined : duration(instruction, name, words.expand(value))
  }
  const retries = flagValue(instruction, 'retries')
  if (retries !== undefined && !/^\d{1,9}$/.test(words.expand(retries)))
    throw syntaxError(instruction, `HEALTHCHECK --retries=${retries}: expected a number`)
  const fields = {
    Interval: time('interval'),
    Timeout: time('timeout'),
    StartPeriod: time('start-period'),
    StartInterval: time('start-interval'),
    Retries: retries === undefined ? undefined : Number(words.expand(retries)),
  }
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
  return { Test: list === undefined ? ['CMD-SHELL', rest] : ['CMD', ...list], ...given }
}

const nanoseconds: Readonly<Record<string, number>> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 }

/** `1m30s` -> nanoseconds. */
function duration(instruction: Instruction, name: string, text: string): number {
  if (!/^(\d+(\.\d+)?(ns|us|ms|s|m|h))+$/.test(text))
    throw syntaxError(instruction, `HEALTHCHECK --${name}=${text}: expected a duration, e.g. 30s or 1m30s`)
  let total = 0
  for (const [, number, unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g))
    total += Number(number) * (nanoseconds[unit] ?? 0)
  return total
}

function asSet(keys: readonly string[]): Record<string, object> {
  return Object.fromEntries(keys.map(key => [key, {}]))
}
