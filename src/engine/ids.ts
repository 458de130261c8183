// Ids and names: 64 hex digits, shown as 12; names as docker's users know them.

import { TsrunError } from '../model/errors.ts'

/** 64 random hex digits. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32))
  return Buffer.from(bytes.buffer).toString('hex')
}

/** The first 12 digits: what people see. */
export function shortId(id: string): string {
  return id.slice(0, 12)
}

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/

/** @throws TsrunError invalid */
export function assertName(kind: string, name: string): void {
  // A program may have no types.
  if (typeof name === 'string' && namePattern.test(name) && name.length <= 128) return
  throw new TsrunError(
    'invalid',
    'invalid-name',
    `cannot name a ${kind} "${printable(String(name))}": the name is not valid`,
    {
      hint: 'a name starts with a letter or digit and goes on with letters, digits, "_", "." and "-", at most 128 in all',
    },
  )
}

/**
 * `text` with control characters shown as escapes: what a container or a stranger wrote never reaches a terminal raw. So are the
 * characters that turn the direction of what follows, and separators of lines: they make a name look like another.
 */
export function printable(text: string): string {
  // Nearly everything: told apart in a fraction of the time.
  if (/^[\x20-\x7e]*$/.test(text)) return text
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, c => {
    const code = c.charCodeAt(0)
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`
  })
}

/** A name such as `brisk_lovelace`, for a container that was given none. */
export function inventName(): string {
  const random = crypto.getRandomValues(new Uint16Array(2))
  const pick = (words: readonly string[], value: number) => words[value % words.length] ?? 'a'
  return `${pick(adjectives, random[0] ?? 0)}_${pick(people, random[1] ?? 0)}`
}

const adjectives =
  'agile amber bold brave bright brisk calm candid clever cosy daring deft eager early fair fleet fond gentle glad golden hardy honest humble keen kind lively lucid lucky mellow merry mighty nimble noble patient plucky polite proud quick quiet rapid ready robust serene sharp silent sleek smart snug solid sturdy subtle sunny swift tidy trusty vivid warm wise witty zesty'.split(
    ' ',
  )
const people =
  'allen babbage backus bartik borg cerf church clarke codd conway cray curie dahl dijkstra engelbart euler faraday feynman floyd galois gauss goldberg hamilton hamming hopper hypatia johnson kahan kay kernighan kilby knuth lamarr lamport leibniz liskov lovelace mccarthy mcilroy meitner moore naur neumann noether nygaard perlman postel ritchie shannon sutherland tanenbaum tarjan thompson torvalds turing vaughan wilkes wirth wozniak zuse'.split(
    ' ',
  )
