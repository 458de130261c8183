// The Dockerfile language: lines, instructions, variables, stages.

// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested

import { describe, expect, test } from 'vitest'
import { applyConfig } from '../../src/engine/build/config-instructions.ts'
import { parseInstruction } from '../../src/engine/build/dockerfile/instruction.ts'
import { readLines } from '../../src/engine/build/dockerfile/lines.ts'
import { parseDockerfile } from '../../src/engine/build/dockerfile/parse-dockerfile.ts'
import { expandText, expandWord, expandWords } from '../../src/engine/build/dockerfile/substitute.ts'
import { rawWords } from '../../src/engine/build/dockerfile/words.ts'
import { planBuild } from '../../src/engine/build/stage-plan.ts'
import type { ContainerDefaults } from '../../src/model/image.ts'
import fc from '../helpers/property.ts'

const texts = (dockerfile: string) => readLines(dockerfile, 'Dockerfile').instructions.map(({ text }) => text)

describe('readLines()', () => {
  test.each([
    ['joins continued lines', 'RUN a \\\n  b \\\nc', ['RUN a   b c']],
    ['takes blanks behind the escape', 'RUN a \\  \n b', ['RUN a  b']],
    ['leaves out comments and empty lines in between', 'RUN a \\\n# no\n\n   # no\n b', ['RUN a  b']],
    ['keeps a # inside of a line', 'RUN a # b', ['RUN a # b']],
    ['does not continue behind two escapes', 'RUN a \\\\\nRUN b', ['RUN a \\\\', 'RUN b']],
    ['ends a continuation with the file', 'RUN a \\', ['RUN a']],
    ['takes a byte order mark and CRLF', '\uFEFFFROM a\r\nRUN b\\\r\nc\r\n', ['FROM a', 'RUN bc']],
    ['chooses the escape by a directive', '# escape=`\nRUN a `\nb \\\nRUN c', ['RUN a b \\', 'RUN c']],
    ['takes no directive behind a comment', '# x\n# escape=`\nRUN a \\\nb', ['RUN a b']],
    ['takes no directive behind an instruction', 'FROM a\n# escape=`\nRUN a \\\nb', ['FROM a', 'RUN a b']],
  ])('%s', (_, dockerfile, expected) => {
    expect(texts(dockerfile)).toEqual(expected)
  })

  test('tells the line that an instruction begins and ends on', () => {
    const { instructions } = readLines('\n# x\nRUN a \\\n b\n\nCOPY <<E /x\n1\nE\n', 'D')

    expect(instructions.map(({ line, endLine }) => [line, endLine])).toEqual([
      [3, 4],
      [6, 8],
    ])
  })

  test('takes heredocs with and without expansion and tabs, several of them', () => {
    const { instructions } = readLines(`COPY <<A <<-"B" /x\n\ta $V\nA\n\t\tb \\\n\tB\nRUN x\n`, 'D')

    expect(instructions.map(({ heredocs }) => heredocs)).toEqual([
      [
        { name: 'A', content: '\ta $V\n', isExpanded: true },
        { name: 'B', content: 'b \\\n', isExpanded: false },
      ],
      [],
    ])
    expect(instructions[0]?.heredocText).toBe('\ta $V\nA\n\t\tb \\\n\tB\n')
  })

  test.each(['RUN echo $((1 << 2))', 'RUN cat <<< x', 'RUN echo "<<E"', "RUN echo 'a <<E b'", 'ENV A=<<E'])(
    'sees no heredoc in %s',
    line => {
      expect(readLines(`${line}\nRUN x`, 'D').instructions).toHaveLength(2)
    },
  )

  test.each([
    ['FROM a\nRUN <<E\nx', 'D:2: the heredoc "E" has no end'],
    ['FROM a\n\0', 'D:2: there is a NUL byte'],
    ['# escape=x\nFROM a', 'D:1: invalid escape character "x": expected \\ or `'],
    ['# syntax=a\n# syntax=b\nFROM a', 'D:2: the directive "syntax" is there twice'],
  ])('refuses %j', (text, message) => {
    expect(() => readLines(text, 'D')).toThrow(message)
  })

  test('neither hangs nor throws anything but what it says, whatever it reads', () => {
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom('FROM a', 'RUN <<E', 'E', 'RUN a \\', '# x', '', 'COPY a b', '# escape=`', 'ENV A=${B'),
    )
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), lines => {
        try {
          parseDockerfile(lines.join('\n'), 'D')
        } catch (error) {
          expect(String(error)).toMatch(/^TsrunError: D:\d+: /)
        }
      }),
    )
  })
})

describe('expandWord()', () => {
  const values: Readonly<Record<string, string>> = { a: 'A', empty: '', path: '/x/y/z.tar.gz', two: 'b  c' }
  const options = { lookup: (name: string) => values[name], escapeCharacter: '\\' as const }

  test.each([
    ['$a', 'A'],
    ['${a}b', 'Ab'],
    ['$ab', ''],
    ['$missing', ''],
    ['\\$a', '$a'],
    ["'$a'", '$a'],
    ['"$a"', 'A'],
    ['"\\$a \\" \\x"', '$a " \\x'],
    ['a\\ b', 'a b'],
    ['${missing:-d}', 'd'],
    ['${empty:-d}', 'd'],
    ['${empty-d}', ''],
    ['${missing-d}', 'd'],
    ['${a:+set}', 'set'],
    ['${empty:+set}', ''],
    ['${empty+set}', 'set'],
    ['${missing:-${a}x}', 'Ax'],
    ['${missing:-"q $a"}', 'q A'],
    ['${path##*/}', 'z.tar.gz'],
    ['${path#*/}', 'x/y/z.tar.gz'],
    ['${path%.*}', '/x/y/z.tar'],
    ['${path%%.*}', '/x/y/z'],
    ['${path/x/w}', '/w/y/z.tar.gz'],
    ['${path//[xyz]/-}', '/-/-/-.tar.g-'],
    ['$', '$'],
    ['a$', 'a$'],
    ['$$a', '$A'],
    ['\\', '\\'],
  ])('%s is %j', (text, expected) => {
    expect(expandWord(text, options)).toBe(expected)
  })

  test.each([
    ['${a', 'expected "}"'],
    ['${}', 'is no variable'],
    ['${a!b}', 'is no variable'],
    ['"x', 'double quote'],
    ["'x", 'single quote'],
    ['${missing:?say it}', 'missing: say it'],
    ['${missing?}', 'missing: is not set'],
  ])('%s is refused: %s', (text, message) => {
    expect(() => expandWord(text, options)).toThrow(message)
  })

  test('expandWords() parts words at blanks of values, but not in quotes', () => {
    expect(expandWords(' x $two "$two" $missing \'\' y', options)).toEqual(['x', 'b', 'c', 'b  c', '', 'y'])
  })

  test('expandText() leaves quotes alone', () => {
    expect(expandText('"$a" \'$a\' \\$a \\x', options)).toBe('"A" \'A\' $a \\x')
  })

  test('gives any text back that was escaped', () => {
    fc.assert(
      fc.property(fc.string(), text => {
        const escaped = [...text].map(character => `\\${character}`).join('')
        expect(expandWord(escaped, options)).toBe(text)
      }),
    )
  })

  test('ends in time and space, whatever is nested', () => {
    expect(() => expandWord('${x:-'.repeat(5_000) + '}'.repeat(5_000), options)).toThrow('nested too deeply')
  })
})

describe('rawWords()', () => {
  test.each([
    ['a "b c" \'d e\' f\\ g', ['a', '"b c"', "'d e'", 'f\\ g']],
    ['', []],
    ['  a="x y"z  ', ['a="x y"z']],
    ['"never closed x', ['"never closed x']],
  ])('%j', (text, expected) => {
    expect(rawWords(text, '\\')).toEqual(expected)
  })
})

describe('parseDockerfile()', () => {
  test.each([
    ['FRMO a', 'unknown instruction "FRMO": expected FROM'],
    ['FROM a\nEXPSE 1', 'expected EXPOSE'],
    ['FROM a\nXYZZY 1', 'unknown instruction "XYZZY": expected ADD, ARG'],
    ['FROM', 'FROM has nothing behind it: expected IMAGE [AS NAME]'],
    ['FROM a b', 'FROM a b: expected IMAGE [AS NAME]'],
    ['FROM a AS 1b', 'expected a stage name'],
    ['FROM a AS x\nFROM b AS X', 'a second stage is called "x"'],
    ['RUN a', 'RUN before the first FROM: expected FROM or ARG'],
    ['', 'there is no FROM'],
    ['FROM a\nLABEL a=b c', 'expected KEY=VALUE, and "c" is not that; quote blanks'],
    ['FROM a\nENV a', 'expected KEY=VALUE'],
    ['FROM a\nCOPY a', 'expected SOURCE... DESTINATION'],
    ['FROM a\nSHELL sh', 'expected a JSON list'],
    ['FROM a\nONBUILD FROM b', 'FROM cannot stand behind ONBUILD'],
    ['FROM a\nONBUILD RNU b', 'unknown instruction "RNU"'],
    ['FROM a\nHEALTHCHECK x', 'expected NONE or CMD command'],
    ['FROM a\nRUN --security=insecure x', 'RUN --security is not supported'],
    ['FROM a\nSTOPSIGNAL a b', 'expected one signal'],
  ])('refuses %j', (text, message) => {
    expect(() => parseDockerfile(text, 'D')).toThrow(message)
  })

  test('tells flags from words, and the exec form from a line for the shell', () => {
    const run = (text: string) => {
      const [source] = readLines(text, 'D').instructions
      if (source === undefined) throw new Error('no instruction')
      return parseInstruction(source, '\\')
    }

    expect(run('RUN --mount=type=cache,target="/a b" --network=none cmd --flag')).toMatchObject({
      flags: [
        { name: 'mount', value: 'type=cache,target="/a b"' },
        { name: 'network', value: 'none' },
      ],
      text: 'cmd --flag',
    })
    expect(run('CMD ["a", "b c"]').list).toEqual(['a', 'b c'])
    expect(run("CMD ['a']").list).toBeUndefined()
    expect(run('CMD [ -f x ]').list).toBeUndefined()
  })
})

describe('planBuild()', () => {
  const plan = (text: string, target?: string) => {
    const { stages, target: index } = planBuild(
      parseDockerfile(text, 'D'),
      new Map([['B', 'busybox']]),
      target === undefined ? {} : { target },
    )
    return {
      index,
      needed: [...stages.keys()].sort(),
      image: [...stages].filter(([, s]) => s.isForImage).map(([i]) => i),
    }
  }

  test.each([
    [
      'only what the target needs',
      'FROM a AS x\nFROM b AS y\nFROM x\n',
      undefined,
      { index: 2, needed: [0, 2], image: [0, 2] },
    ],
    [
      'what COPY names',
      'FROM a AS x\nFROM b\nCOPY --from=x a b\n',
      undefined,
      { index: 1, needed: [0, 1], image: [1] },
    ],
    [
      'what a mount names, by number',
      'FROM a\nFROM b\nRUN --mount=from=0,target=/x y\n',
      undefined,
      { index: 1, needed: [0, 1], image: [1] },
    ],
    ['a target by name, whatever its case', 'FROM a AS One\nFROM b\n', 'oNE', { index: 0, needed: [0], image: [0] }],
    [
      'an image for what no stage is called',
      'FROM a\nCOPY --from=other a b\n',
      undefined,
      { index: 0, needed: [0], image: [0] },
    ],
    ['an image for a stage that comes later', 'FROM b\nFROM a AS b\n', '0', { index: 0, needed: [0], image: [0] }],
  ])('needs %s', (_, text, target, expected) => {
    expect(plan(text, target)).toEqual(expected)
  })

  test('sees circles, and a stage that takes from itself', () => {
    expect(() => plan('FROM a AS x\nCOPY --from=y a b\nFROM x AS y\n')).toThrow('in a circle: y -> x -> y')
    expect(() => plan('FROM a AS x\nCOPY --from=x a b\n')).toThrow('in a circle: x -> x')
    expect(() => plan('FROM $MISSING\n')).toThrow('the name is empty')
  })
})

describe('applyConfig()', () => {
  const apply = (lines: string, start: ContainerDefaults = {}) => {
    const { instructions } = readLines(lines, 'D')
    return instructions.reduce<ContainerDefaults>((config, source) => {
      const lookup = (name: string) => config.Env?.find(entry => entry.startsWith(`${name}=`))?.slice(name.length + 1)
      const scope = { lookup, escapeCharacter: '\\' as const, hasOwnCommand: false }
      return applyConfig(config, parseInstruction(source, '\\'), scope) ?? config
    }, start)
  }

  test.each<[string, ContainerDefaults, ContainerDefaults?]>([
    ['ENV a=1 b="x y" c=z\\ z', { Env: ['a=1', 'b=x y', 'c=z z'] }],
    ['ENV a some words "quoted"', { Env: ['a=some words quoted'] }],
    ['ENV a=1\nENV a=2 b=$a', { Env: ['a=2', 'b=1'] }],
    ['LABEL "a b"=c\\\n d="${x:-e}"', { Labels: { 'a b': 'c', d: 'e' } }],
    ['WORKDIR a\nWORKDIR b/../c', { WorkingDir: '/a/c' }],
    ['WORKDIR /../..', { WorkingDir: '/' }],
    ['CMD a b', { Cmd: ['/bin/sh', '-c', 'a b'] }],
    ['SHELL ["x"]\nCMD a', { Shell: ['x'], Cmd: ['x', 'a'] }],
    ['ENTRYPOINT ["a"]', { Entrypoint: ['a'], Cmd: null }, { Cmd: ['b'] }],
    ['EXPOSE 1-3/UDP 4', { ExposedPorts: { '1/udp': {}, '2/udp': {}, '3/udp': {}, '4/tcp': {} } }],
    ['VOLUME /a /b', { Volumes: { '/a': {}, '/b': {} } }],
    ['HEALTHCHECK NONE', { Healthcheck: { Test: ['NONE'] } }],
    [
      'HEALTHCHECK --interval=1h2m3.5s --timeout=10ms CMD ["a"]',
      { Healthcheck: { Test: ['CMD', 'a'], Interval: 3723.5e9, Timeout: 1e7 } },
    ],
    ['ONBUILD RUN a $b', { OnBuild: ['RUN a $b'] }],
  ])('%j', (lines, expected, start) => {
    expect(apply(lines, start)).toEqual({ ...start, ...expected })
  })

  test.each([
    ['EXPOSE 0', 'expected a port'],
    ['EXPOSE 9-8', 'expected a port'],
    ['EXPOSE 80/icmp', 'expected a port'],
    ['HEALTHCHECK --interval=soon CMD x', 'expected a duration'],
    ['HEALTHCHECK --retries=x CMD x', 'expected a number'],
  ])('refuses %j', (line, message) => {
    expect(() => apply(line)).toThrow(message)
  })
})
