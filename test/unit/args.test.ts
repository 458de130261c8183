import { Command } from 'commander'
import { expect, test } from 'vitest'
import { rewriteGoStyle } from '../../src/cli/args.ts'
import { addContainerFlags } from '../../src/cli/container-flags.ts'
import { TsrunError } from '../../src/model/errors.ts'
import fc from '../helpers/property.ts'

/** `run` as the command line declares it. */
function runCommand(): Command {
  const command = new Command('run')
    .argument('<image>')
    .argument('[command...]')
    .passThroughOptions()
    .option('-d, --detach', 'd')
    .option('--sig-proxy', 's')
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} })
  return addContainerFlags(command).action(() => {})
}

/** What commander makes of a line after the rewrite, without defaults. */
function parse(...words: string[]): { options: Record<string, unknown>; args: readonly string[] } {
  const command = runCommand()
  command.parse(rewriteGoStyle(command, words), { from: 'user' })
  const given = Object.entries(command.opts()).filter(([name]) => command.getOptionValueSource(name) !== 'default')
  return { options: Object.fromEntries(given), args: command.args }
}

test.each([
  [
    ['-net', 'br', 'busybox'],
    ['--net', 'br', 'busybox'],
  ],
  [
    ['-net=br', 'busybox'],
    ['--net=br', 'busybox'],
  ],
  [
    ['-name', 'web', '-rm', 'busybox'],
    ['--name', 'web', '--rm', 'busybox'],
  ],
  [
    ['--name', 'web', 'busybox'],
    ['--name', 'web', 'busybox'],
  ],
  [
    ['-p', '80:80', 'busybox'],
    ['-p', '80:80', 'busybox'],
  ],
  [
    ['-p=80:80', 'busybox'],
    ['--publish=80:80', 'busybox'],
  ],
  [
    ['-p80:80', 'busybox'],
    ['-p80:80', 'busybox'],
  ],
  [
    ['-it', 'busybox'],
    ['-it', 'busybox'],
  ],
  [
    ['--rm=true', 'busybox'],
    ['--rm', 'busybox'],
  ],
  [
    ['--rm=false', 'busybox'],
    ['--no-rm', 'busybox'],
  ],
  [
    ['-rm=1', 'busybox'],
    ['--rm', 'busybox'],
  ],
  [
    ['-t=0', '-i=T', 'busybox'],
    ['--no-tty', '--interactive', 'busybox'],
  ],
  [
    ['-e', 'A=1=2', 'busybox'],
    ['-e', 'A=1=2', 'busybox'],
  ],
  [
    ['-e=A=1', 'busybox'],
    ['--env=A=1', 'busybox'],
  ],
  [
    ['-env=A=', 'busybox'],
    ['--env=A=', 'busybox'],
  ],
  [
    ['--unknown', 'busybox'],
    ['--unknown', 'busybox'],
  ],
  [['--help'], ['--help']],
  [[], []],
])('rewriteGoStyle(%j) is %j', (words, rewritten) => {
  expect(rewriteGoStyle(runCommand(), words)).toEqual(rewritten)
})

test('rewriteGoStyle() leaves everything behind the image alone', () => {
  const words = ['-net', 'br', 'busybox', 'sh', '-c', '-net', '-rm=false', '--', '-name']

  expect(rewriteGoStyle(runCommand(), words)).toEqual(['--net', ...words.slice(1)])
})

test.each(['--', '-', ''])('rewriteGoStyle() stops at %j', stop => {
  expect(rewriteGoStyle(runCommand(), ['-rm', stop, '-net', 'br'])).toEqual(['--rm', stop, '-net', 'br'])
})

test('rewriteGoStyle() takes the word behind an option as its value, whatever it looks like', () => {
  expect(parse('-name', '-net', '-memory-swap', '-1', 'busybox', '-x')).toMatchObject({
    options: { name: '-net', memorySwap: '-1' },
    args: ['busybox', '-x'],
  })
})

test.each([
  [['-itp', '80:80', 'busybox'], { interactive: true, tty: true, publish: ['80:80'] }],
  [['-dp', '80:80', 'busybox'], { detach: true, publish: ['80:80'] }],
  [['-itv', '-a:/b', 'busybox'], { interactive: true, tty: true, volume: ['-a:/b'] }],
  [['-itp80:80', 'busybox'], { interactive: true, tty: true, publish: ['80:80'] }],
  [['-eHOME', 'busybox'], { env: ['HOME'] }],
  [['-eh', 'busybox'], { env: ['h'] }],
  [['-uroot', 'busybox'], { user: 'root' }],
  [['-w/tmp', 'busybox'], { workdir: '/tmp' }],
  [['-m512m', 'busybox'], { memory: '512m' }],
])('the cluster in %j is read as docker reads it', (words, options) => {
  expect(parse(...words)).toEqual({ options: expect.objectContaining(options), args: ['busybox'] })
})

test('the line of the task is read as it is meant', () => {
  expect(parse('-net', 'br', '-p', '80:80', 'busybox', 'sh')).toEqual({
    options: { net: ['br'], publish: ['80:80'] },
    args: ['busybox', 'sh'],
  })
})

test('options that repeat are collected in order, in all spellings', () => {
  expect(parse('-p', '1:1', '-publish', '2:2', '--publish=3:3', '-p=4:4', 'busybox').options).toEqual({
    publish: ['1:1', '2:2', '3:3', '4:4'],
  })
})

test('flags of the program in the container stay with it', () => {
  expect(parse('--rm', 'busybox', 'ls', '-la', '--rm', '-net', 'x')).toEqual({
    options: { rm: true },
    args: ['busybox', 'ls', '-la', '--rm', '-net', 'x'],
  })
})

test.each([
  [['--rm', '--rm=false'], { rm: false }],
  [['--rm=false', '--rm'], { rm: true }],
  [['--rm=false', '--rm=T', '--rm=0'], { rm: false }],
  [['-it', '-t=false'], { interactive: true, tty: false }],
  [['-t=false', '-it'], { interactive: true, tty: true }],
  [['--sig-proxy=false'], { sigProxy: false }],
  [['-sig-proxy=false', '-sig-proxy'], { sigProxy: true }],
  [['--no-healthcheck', '--no-healthcheck=false'], { healthcheck: true }],
])('in %j the last one wins', (words, options) => {
  expect(parse(...words, 'busybox').options).toEqual(options)
})

test.each(['maybe', '', 'yes', 'tRUE', '2', ' true', 'true\n', '٠'])('--rm=%j is refused', value => {
  expect(() => parse(`--rm=${value}`, 'busybox')).toThrow(TsrunError)
  expect(() => parse(`-rm=${value}`, 'busybox')).toThrow(`invalid value "${value}" for --rm: `)
})

test('a flag that is turned off does not show in the help', () => {
  const command = runCommand()
  rewriteGoStyle(command, ['--rm=false', 'busybox'])

  expect(command.helpInformation()).not.toContain('--no-rm')
})

test.each([
  [
    ['web', '-t=5'],
    ['web', '--time=5'],
  ],
  [
    ['web', '-force'],
    ['web', '--force'],
  ],
  [
    ['web', '-time', '-1', 'db', '-force=false'],
    ['web', '--time', '-1', 'db', '--no-force'],
  ],
  [
    ['-', '-force'],
    ['-', '--force'],
  ],
  [
    ['web', '--', '-force'],
    ['web', '--', '-force'],
  ],
])('rewriteGoStyle(%j) of a command that takes flags anywhere is %j', (words, rewritten) => {
  const command = new Command('stop')
    .argument('<name...>')
    .option('-t, --time <seconds>', 't')
    .option('-f, --force', 'f')

  expect(rewriteGoStyle(command, words)).toEqual(rewritten)
})

test('-h is the host name, and --help stays help', () => {
  expect(parse('-h', 'web1', 'busybox').options).toEqual({ hostname: 'web1' })
  expect(() => parse('--help')).toThrow(expect.objectContaining({ code: 'commander.helpDisplayed' }))
})

test('an option without its value is commander’s to refuse', () => {
  expect(() => parse('-net')).toThrow(expect.objectContaining({ code: 'commander.optionMissingArgument' }))
})

test.each(['-nett', '--nett', '-zz'])('%s is commander’s to refuse', word => {
  expect(() => parse(word, 'busybox')).toThrow(expect.objectContaining({ code: 'commander.unknownOption' }))
})

test('rewriteGoStyle() does not touch what has no dash, and is its own fixed point', () => {
  const word = fc.oneof(
    fc.constantFrom(
      '-net',
      '-net=a',
      '--net',
      '-p',
      '-it',
      '-itp',
      '--rm=false',
      '--rm',
      '-e',
      '--',
      '-',
      'busybox',
      '-x',
    ),
    fc.string(),
  )

  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), words => {
      const command = runCommand()
      const once = rewriteGoStyle(command, words)

      expect(rewriteGoStyle(command, once)).toEqual(once)
      expect(rewriteGoStyle(command, ['busybox', ...words])).toEqual(['busybox', ...words])
    }),
  )
})
