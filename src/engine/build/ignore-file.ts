// .dockerignore: which files of the context a build does not see. The last pattern that matches a path, or a folder it is in,
// decides; "!" takes back. Pure.

import { TsrunError } from '../../model/errors.ts'
import { type Glob, matchesGlob, PatternError, parseGlob } from './glob.ts'

/** Whether a path is left out; paths are relative to the context, without a slash in front. */
export interface IgnoreRules {
  excludes(path: string): boolean
  /** There is a "!": an excluded folder may hold something that is not. */
  readonly hasExceptions: boolean
}

export const nothingIgnored: IgnoreRules = { excludes: () => false, hasExceptions: false }

/** @param file its name, for messages @throws TsrunError invalid for a pattern that is none */
export function parseIgnoreFile(text: string, file: string): IgnoreRules {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  const patterns = lines.flatMap((line, index) => {
    if (line.startsWith('#') || line.trim() === '') return []
    return compile(line.trim(), `${file}:${index + 1}`)
  })
  return rulesOf(patterns)
}

/** The same for the values of `--exclude`. */
export function excludePatterns(patterns: readonly string[], place: string): IgnoreRules {
  return rulesOf(patterns.flatMap(pattern => compile(pattern, place)))
}

interface Pattern {
  readonly isException: boolean
  readonly glob: Glob
}

function compile(line: string, place: string): Pattern[] {
  const isException = line.startsWith('!')
  const text = clean(isException ? line.slice(1).trim() : line)
  // The context itself cannot be left out.
  if (text === '') {
    if (!isException) return []
    throw invalid(place, line, 'expected a pattern behind "!"')
  }
  try {
    return [{ isException, glob: parseGlob(text, 'deep') }]
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    throw invalid(place, line, error.message)
  }
}

function rulesOf(patterns: readonly Pattern[]): IgnoreRules {
  const excludes = (path: string): boolean => {
    const parents = [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index))
    let excluded = false
    for (const { isException, glob } of patterns) {
      if (isException !== excluded) continue
      if (matchesGlob(glob, path) || parents.some(parent => matchesGlob(glob, parent))) excluded = !isException
    }
    return excluded
  }
  return { excludes, hasExceptions: patterns.some(pattern => pattern.isException) }
}

/** As Go's filepath.Clean, without the slashes around it. */
function clean(pattern: string): string {
  const parts: string[] = []
  for (const part of pattern.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop()
    else if (part !== '..' || !pattern.startsWith('/')) parts.push(part)
  }
  return parts.join('/')
}

function invalid(place: string, line: string, reason: string): TsrunError {
  return new TsrunError('invalid', 'ignore-pattern', `${place}: invalid pattern "${line}": ${reason}`)
}
