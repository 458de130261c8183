// `--change` of import and commit: the Dockerfile instructions that only change the config, applied to one. Pure.

import { TsrunError } from '../../model/errors.ts'
import type { ContainerDefaults } from '../../model/image.ts'
import { parseHealthcheck } from './healthcheck-instruction.ts'

type Change = (defaults: ContainerDefaults, rest: string, reject: (reason: string) => TsrunError) => ContainerDefaults

const changes: Readonly<Record<string, Change>> = {
  CMD: (defaults, rest) => ({ ...defaults, Cmd: command(rest, defaults) }),
  ENTRYPOINT: (defaults, rest) => ({ ...defaults, Entrypoint: command(rest, defaults), Cmd: null }),
  ENV: (defaults, rest, reject) => ({ ...defaults, Env: mergeEnv(defaults.Env ?? [], pairs(rest, reject)) }),
  EXPOSE: (defaults, rest) => ({
    ...defaults,
    ExposedPorts: {
      ...defaults.ExposedPorts,
      ...set(words(rest).map(port => (port.includes('/') ? port : `${port}/tcp`))),
    },
  }),
  HEALTHCHECK: (defaults, rest, reject) => ({ ...defaults, Healthcheck: parseHealthcheck(rest, reject) }),
  LABEL: (defaults, rest, reject) => ({
    ...defaults,
    Labels: { ...defaults.Labels, ...Object.fromEntries(pairs(rest, reject)) },
  }),
  ONBUILD: (defaults, rest) => ({ ...defaults, OnBuild: [...(defaults.OnBuild ?? []), rest] }),
  SHELL: (defaults, rest, reject) => {
    const shell = jsonList(rest)
    if (shell === undefined) throw reject('SHELL takes a JSON list')
    return { ...defaults, Shell: shell }
  },
  STOPSIGNAL: (defaults, rest) => ({ ...defaults, StopSignal: rest }),
  USER: (defaults, rest) => ({ ...defaults, User: rest }),
  VOLUME: (defaults, rest) => ({
    ...defaults,
    Volumes: { ...defaults.Volumes, ...set(jsonList(rest) ?? words(rest)) },
  }),
  WORKDIR: (defaults, rest) => ({ ...defaults, WorkingDir: absolute(defaults.WorkingDir, rest) }),
}

/** Applies instructions in order. @throws TsrunError invalid, naming the instruction */
export function applyChanges(defaults: ContainerDefaults, instructions: readonly string[]): ContainerDefaults {
  return instructions.reduce((config, instruction) => {
    const reject = (reason: string): TsrunError =>
      new TsrunError('invalid', 'invalid-change', `invalid change "${instruction}": ${reason}`, {
        hint: `known instructions: ${Object.keys(changes).join(', ')}`,
      })
    const [, word = '', rest = ''] = /^\s*(\S+)\s*([\s\S]*?)\s*$/.exec(instruction) ?? []
    const change = changes[word.toUpperCase()]
    if (change === undefined) throw reject(`"${word}" is not an instruction that changes the config`)
    if (rest === '') throw reject('it has no value')
    return change(config, rest, reject)
  }, defaults)
}

/** Env entries with later ones in the place of earlier ones of the same name. */
export function mergeEnv(env: readonly string[], added: readonly (readonly [string, string])[]): string[] {
  const merged = new Map(env.map(entry => [entry.split('=', 1)[0] ?? '', entry]))
  for (const [key, value] of added) merged.set(key, `${key}=${value}`)
  return [...merged.values()]
}

/** Exec form, or a line for the shell. */
function command(rest: string, { Shell }: ContainerDefaults): string[] {
  return jsonList(rest) ?? [...(Shell ?? ['/bin/sh', '-c']), rest]
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every(item => typeof item === 'string') ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** `a=b "c d"=e f='g h'`, or the old form `name value with blanks`. */
function pairs(text: string, reject: (reason: string) => TsrunError): [string, string][] {
  const items = words(text)
  if (!items[0]?.includes('=')) {
    const [, key, value] = /^(\S+)\s+([\s\S]+)$/.exec(text) ?? []
    if (key === undefined || value === undefined) throw reject('write KEY=VALUE')
    return [[key, value]]
  }
  return items.map(item => {
    const equals = item.indexOf('=')
    if (equals < 1) throw reject(`"${item}" is not KEY=VALUE`)
    return [item.slice(0, equals), item.slice(equals + 1)]
  })
}

/** Words apart by blanks; quotes keep blanks, a backslash takes the next character as it is. */
function words(text: string): string[] {
  const found: string[] = []
  for (const [word] of text.matchAll(/(?:[^\s"'\\]|\\[\s\S]|"(?:[^"\\]|\\[\s\S])*"|'[^']*')+/g)) {
    found.push(
      word.replace(/\\([\s\S])|"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'/g, (_, escaped, double, single) => {
        return escaped ?? (double === undefined ? single : double.replace(/\\([\s\S])/g, '$1'))
      }),
    )
  }
  return found
}

function set(keys: readonly string[]): Record<string, object> {
  return Object.fromEntries(keys.map(key => [key, {}]))
}

function absolute(current: string | undefined, path: string): string {
  if (path.startsWith('/')) return path
  return `${(current || '/').replace(/\/$/, '')}/${path}`
}
