// One instruction: its flags, its exec form, and whether it is one at all. What its words mean is found out when it is its turn,
// since variables are replaced then; what can be wrong without that is found here, before anything runs. Pure.

import type { Heredoc, InstructionText } from './lines.ts'
import { type SourcePlace, syntaxError } from './syntax-error.ts'
import { type EscapeCharacter, rawWords, skipBlanks, wordEnd } from './words.ts'

export interface Instruction extends SourcePlace {
  readonly endLine: number
  readonly keyword: string
  /** `--name=value` before the words, quotes still in the values; '' where there is no value. In their order. */
  readonly flags: readonly { readonly name: string; readonly value: string }[]
  /** What follows the flags. */
  readonly text: string
  /** `text` as the exec form, `["a", "b"]`. */
  readonly list?: readonly string[]
  readonly heredocs: readonly Heredoc[]
  readonly heredocText: string
}

interface Rule {
  /** Flags that it takes; those that tsrun knows and cannot do have a reason. */
  readonly flags?: readonly string[]
  readonly unsupported?: Readonly<Record<string, string>>
  /** What should be there, for the message when nothing is. */
  readonly expected: string
  /** Finds what is wrong. @returns what was expected */
  readonly check?: (instruction: Instruction, words: readonly string[]) => string | undefined
}

const pair = 'KEY=VALUE'
const rules: Readonly<Record<string, Rule>> = {
  ADD: {
    flags: ['chown', 'chmod', 'link', 'checksum', 'exclude', 'keep-git-dir'],
    expected: 'SOURCE... DESTINATION',
    check: checkCopy,
  },
  ARG: {
    expected: 'NAME or NAME=DEFAULT',
    check: (_, words) => (words.some(isBadName) ? 'NAME or NAME=DEFAULT' : undefined),
  },
  CMD: { expected: 'a command' },
  COPY: {
    flags: ['from', 'chown', 'chmod', 'link', 'exclude', 'parents'],
    expected: 'SOURCE... DESTINATION',
    check: checkCopy,
  },
  ENTRYPOINT: { expected: 'a command' },
  ENV: { expected: pair, check: checkPairs },
  EXPOSE: { expected: 'ports, e.g. 80 or 53/udp' },
  FROM: { flags: ['platform'], expected: 'IMAGE [AS NAME]', check: checkFrom },
  HEALTHCHECK: {
    flags: ['interval', 'timeout', 'start-period', 'start-interval', 'retries'],
    expected: 'NONE or CMD command',
    check: ({ text }) => (/^(NONE\s*$|CMD\s+\S)/i.test(text) ? undefined : 'NONE or CMD command'),
  },
  LABEL: { expected: pair, check: checkPairs },
  MAINTAINER: { expected: 'a name' },
  ONBUILD: { expected: 'an instruction' },
  RUN: {
    flags: ['mount', 'network'],
    unsupported: { security: 'tsrun has no privileged steps', device: 'tsrun gives steps no devices' },
    expected: 'a command',
  },
  SHELL: {
    expected: 'a JSON list, e.g. ["/bin/sh", "-c"]',
    check: ({ list }) => (list === undefined || list.length === 0 ? 'a JSON list, e.g. ["/bin/sh", "-c"]' : undefined),
  },
  STOPSIGNAL: { expected: 'one signal', check: (_, words) => (words.length > 1 ? 'one signal' : undefined) },
  USER: { expected: 'one user, e.g. 1000:1000', check: (_, words) => (words.length > 1 ? 'one user' : undefined) },
  VOLUME: { expected: 'paths' },
  WORKDIR: { expected: 'one path' },
}

const keywords: readonly string[] = Object.keys(rules)
const withExecForm = new Set(['ADD', 'CMD', 'COPY', 'ENTRYPOINT', 'RUN', 'SHELL', 'VOLUME'])

/** @throws TsrunError invalid, saying what was expected */
export function parseInstruction(source: InstructionText, escapeCharacter: EscapeCharacter): Instruction {
  const [, word = '', rest = ''] = /^(\S+)\s*([\s\S]*)$/.exec(source.text) ?? []
  const keyword = word.toUpperCase()
  const rule = Object.hasOwn(rules, keyword) ? rules[keyword] : undefined
  if (rule === undefined) throw unknownInstruction(source, word)
  const { flags, text } = rule.flags === undefined ? { flags: [], text: rest } : splitFlags(rest, escapeCharacter)
  for (const { name } of flags) assertFlag(source, keyword, name)
  assertPlainFrom(source, keyword, flags)
  const list = withExecForm.has(keyword) ? jsonList(text) : undefined
  const { file, line, endLine, heredocs, heredocText } = source
  const base = { file, line, endLine, keyword, flags, text, heredocs, heredocText }
  const instruction: Instruction = list === undefined ? base : { ...base, list }
  if (text === '') throw syntaxError(source, `${keyword} has nothing behind it: expected ${rule.expected}`)
  const expected = rule.check?.(instruction, rawWords(text, escapeCharacter))
  if (expected !== undefined) throw syntaxError(source, `${keyword} ${shortened(text)}: expected ${expected}`)
  if (keyword === 'ONBUILD') parseTrigger(instruction, escapeCharacter)
  return instruction
}

/** The instruction behind ONBUILD. @throws TsrunError invalid for one that cannot be there */
function parseTrigger(onbuild: Instruction, escapeCharacter: EscapeCharacter): Instruction {
  const trigger = parseInstruction(onbuild, escapeCharacter)
  if (['ONBUILD', 'FROM', 'MAINTAINER'].includes(trigger.keyword))
    throw syntaxError(onbuild, `${trigger.keyword} cannot stand behind ONBUILD`)
  return trigger
}

/** The last value of a flag, as it is written. */
export function flagValue(instruction: Instruction, name: string): string | undefined {
  return instruction.flags.findLast(flag => flag.name === name)?.value
}

function splitFlags(
  rest: string,
  escapeCharacter: EscapeCharacter,
): { flags: { name: string; value: string }[]; text: string } {
  const flags: { name: string; value: string }[] = []
  let at = 0
  while (rest.startsWith('--', at)) {
    const end = wordEnd(rest, at, escapeCharacter)
    const [name = '', ...value] = rest.slice(at + 2, end).split('=')
    at = skipBlanks(rest, end)
    // What follows "--" alone is no flag.
    if (name === '') break
    flags.push({ name, value: value.join('=') })
  }
  return { flags, text: rest.slice(at) }
}

function assertFlag(place: SourcePlace, keyword: string, name: string): void {
  const { flags = [], unsupported = {} } = rules[keyword] ?? {}
  if (Object.hasOwn(unsupported, name))
    throw syntaxError(place, `${keyword} --${name} is not supported: ${unsupported[name]}`)
  if (!flags.includes(name))
    throw syntaxError(place, `${keyword} has no flag --${name}: expected ${flags.map(flag => `--${flag}`).join(', ')}`)
}

/** Which stages are needed is known before any ARG has its value, so that the name of one cannot hang on it; as in docker. */
function assertPlainFrom(place: SourcePlace, keyword: string, flags: Instruction['flags']): void {
  for (const { name, value } of flags) {
    const from = name === 'from' ? value : name === 'mount' ? /(?:^|,)from=([^,]*)/.exec(value)?.[1] : undefined
    if (from?.includes('$') !== true) continue
    throw syntaxError(
      place,
      `${keyword} --${name}=${value}: there can be no variable in what it takes files from`,
      `give it a name of its own: FROM ${from} AS NAME, and from=NAME`,
    )
  }
}

/** A list of texts in JSON; undefined for what is none: that is for the shell, as in docker. */
export function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every(item => typeof item === 'string') ? value : undefined
  } catch {
    return undefined
  }
}

function checkCopy({ list }: Instruction, words: readonly string[]): string | undefined {
  return (list ?? words).length < 2 ? 'SOURCE... DESTINATION' : undefined
}

/** `A=1 B=2`, or the old form `A 1`. */
function checkPairs({ keyword }: Instruction, words: readonly string[]): string | undefined {
  const [first = ''] = words
  if (!first.includes('=')) return words.length < 2 ? pair : undefined
  const bad = words.find(word => word.indexOf('=') < 1)
  return bad === undefined ? undefined : `${pair}, and "${bad}" is not that${keyword === 'ENV' ? '' : '; quote blanks'}`
}

function checkFrom(_: Instruction, words: readonly string[]): string | undefined {
  const [, as, name] = words
  if (words.length === 1) return undefined
  if (words.length !== 3 || as?.toUpperCase() !== 'AS') return 'IMAGE [AS NAME]'
  return /^[a-z][a-z0-9-_.]*$/i.test(name ?? '') ? undefined : 'a stage name of letters, digits, "-", "_" and "."'
}

function isBadName(word: string): boolean {
  return !/^["']?[A-Za-z_][A-Za-z0-9_]*["']?(=|$)/.test(word)
}

function unknownInstruction(place: SourcePlace, word: string): Error {
  const near = keywords.find(keyword => isNear(word.toUpperCase(), keyword))
  return syntaxError(
    place,
    `unknown instruction "${shortened(word)}": expected ${near ?? keywords.join(', ')}`,
    near === undefined ? undefined : `did you mean ${near}?`,
  )
}

/** One letter wrong, missing, too many, or two swapped. */
function isNear(word: string, keyword: string): boolean {
  const start = [...word].findIndex((letter, index) => letter !== keyword[index])
  if (start < 0) return Math.abs(word.length - keyword.length) === 1
  const [a, b] = [word.slice(start), keyword.slice(start)]
  const isSwap = a.slice(0, 2) === [...b.slice(0, 2)].reverse().join('') && a.slice(2) === b.slice(2)
  return isSwap || a.slice(1) === b.slice(1) || a.slice(1) === b || a === b.slice(1)
}

function shortened(text: string): string {
  const line = text.split('\n', 1)[0] ?? ''
  return line.length > 60 ? `${line.slice(0, 60)}...` : line
}
