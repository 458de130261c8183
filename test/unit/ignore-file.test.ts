// .dockerignore and the patterns of COPY, against what docker documents.

import { describe, expect, test } from 'vitest'
import { globEnds, matchesGlob, parseGlob, replaceGlob } from '../../src/engine/build/glob.ts'
import { excludePatterns, parseIgnoreFile } from '../../src/engine/build/ignore-file.ts'
import fc from '../helpers/property.ts'

const excludes = (patterns: string, path: string) => parseIgnoreFile(patterns, '.dockerignore').excludes(path)

describe('parseIgnoreFile()', () => {
  test.each([
    // The table of docker's documentation.
    ['*/temp*', 'somedir/temporary.txt', true],
    ['*/temp*', 'somedir/temp', true],
    ['*/temp*', 'somedir/sub/temporary.txt', false],
    ['*/*/temp*', 'somedir/subdir/temporary.txt', true],
    ['temp?', 'tempa', true],
    ['temp?', 'temp', false],
    ['**/*.go', 'a.go', true],
    ['**/*.go', 'x/y/a.go', true],
    ['*.md\n!README.md', 'README.md', false],
    ['*.md\n!README.md', 'other.md', true],
    ['*.md\n!README*.md\nREADME-secret.md', 'README-secret.md', true],
    ['*.md\nREADME-secret.md\n!README*.md', 'README-secret.md', false],
    // A folder, and what is in it.
    ['node_modules', 'node_modules', true],
    ['node_modules', 'node_modules/a/b', true],
    ['node_modules', 'sub/node_modules', false],
    ['**/node_modules', 'sub/deep/node_modules/x', true],
    ['a/**', 'a/b/c', true],
    ['a/**', 'a', false],
    ['a/**/b', 'a/b', true],
    ['a/**/b', 'a/x/y/b', true],
    ['a/**/b', 'a/xb', false],
    ['*\n!src', 'src/x', false],
    ['*\n!src', 'other/x', true],
    ['*\n!src\nsrc/x', 'src/x', true],
    // Words around them.
    ['# a', '# a', false],
    [' a ', 'a', true],
    ['/a', 'a', true],
    ['./a/', 'a', true],
    ['x/../a', 'a', true],
    ['! a\n', 'a', false],
    ['a\n! a', 'a', false],
    ['.', 'a', false],
    ['[a-c]x', 'bx', true],
    ['[^a-c]x', 'bx', false],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['a.b', 'axb', false],
    ['a\n', 'a\nb', false],
    ['*', 'a\nb', true],
    ['\uFEFFa\r\nb\r\n', 'a', true],
    ['ä?', 'äö', true],
  ])('%j leaves out %s: %s', (patterns, path, expected) => {
    expect(excludes(patterns, path)).toBe(expected)
  })

  test.each([
    ['a\n[', '.dockerignore:2: invalid pattern "["'],
    ['!', 'expected a pattern behind "!"'],
    ['a\\', 'ends in a backslash'],
    ['[z-a]', 'is no range'],
  ])('refuses %j', (text, message) => {
    expect(() => parseIgnoreFile(text, '.dockerignore')).toThrow(message)
  })

  test('leaves out what is below, wherever a folder is left out and nothing takes it back', () => {
    const name = fc.stringMatching(/^[a-c]{1,2}$/)
    const pattern = fc.array(fc.oneof(name, fc.constantFrom('*', '**', '?')), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(
        fc.array(pattern, { maxLength: 4 }),
        fc.array(name, { minLength: 1, maxLength: 4 }),
        (patterns, path) => {
          const rules = excludePatterns(
            patterns.map(parts => parts.join('/')),
            'x',
          )
          const parents = path.map((_, index) => path.slice(0, index + 1).join('/'))
          const first = parents.findIndex(parent => rules.excludes(parent))

          expect(parents.map(parent => rules.excludes(parent))).toEqual(
            parents.map((_, index) => first >= 0 && index >= first),
          )
        },
      ),
    )
  })
})

describe('parseGlob()', () => {
  test('matches any text that was escaped, and no other', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (text, other) => {
        const glob = parseGlob(text.replace(/[*?[\\]/g, '\\$&'), 'path')

        expect(matchesGlob(glob, text)).toBe(true)
        expect(matchesGlob(glob, other)).toBe(other === text)
      }),
    )
  })

  // A regular expression says the same in few words; short ones cannot backtrack for long.
  const piece = fc.constantFrom('a', 'b', '/', '*', '?', '[ab]', '[^a]', '**/')
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', 'c'), maxLength: 12 })
  const expression = (pieces: readonly string[], one: string) =>
    pieces.map(each => ({ '*': `${one}*`, '**/': '(?:[^]*/)?', '?': one })[each] ?? each).join('')

  test('is what a regular expression is, with folders', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), text, (pieces, path) => {
        // Two stars in a row are a piece of their own.
        fc.pre(!pieces.some((each, at) => each === '*' && pieces[at + 1]?.startsWith('*') === true))

        expect(matchesGlob(parseGlob(pieces.join(''), 'deep'), path)).toBe(
          new RegExp(`^${expression(pieces, '[^/]')}$`).test(path),
        )
      }),
    )
  })

  test('finds and replaces what a greedy regular expression does, where that is the longest', () => {
    const plain = fc.array(
      piece.filter(each => each !== '**/'),
      { maxLength: 5 },
    )
    fc.assert(
      fc.property(plain, text, (pieces, value) => {
        const glob = parseGlob(pieces.join(''), 'any')
        const whole = new RegExp(`^${expression(pieces, '[^]')}$`)
        const ends = Array.from({ length: value.length + 1 }, (_, end) => end)

        expect(globEnds(glob, value)).toEqual(ends.filter(end => whole.test(value.slice(0, end))))
        expect(replaceGlob(glob, value, '<>', false)).toBe(
          value.replace(new RegExp(expression(pieces, '[^]')), () => '<>'),
        )
      }),
    )
  })

  test.each([
    ['a', 'banana', 'b<>n<>n<>'],
    ['a*', 'banana', 'b<>'],
    ['x', 'banana', 'banana'],
    ['?', 'ab', '<><>'],
  ])('replaces all of %s in %s', (pattern, value, expected) => {
    expect(replaceGlob(parseGlob(pattern, 'any'), value, '<>', true)).toBe(expected)
  })

  test.each([
    ['**/', 'deep', 'a/'.repeat(2000)],
    ['*a', 'path', 'a'.repeat(2000)],
    ['*[^b]', 'any', 'a'.repeat(2000)],
  ] as const)('is soon done with a hundred %s', (pattern, kind, value) => {
    const started = process.cpuUsage()

    expect(matchesGlob(parseGlob(`${pattern.repeat(100)}!`, kind), value)).toBe(false)
    expect(process.cpuUsage(started).user).toBeLessThan(2_000_000)
  })
})
