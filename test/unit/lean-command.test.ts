import { Command } from 'commander'
import { expect, test } from 'vitest'
import { rewriteGoStyle } from '../../src/cli/args.ts'
import { addContainerFlags } from '../../src/cli/container-flags.ts'
import { LeanCommand } from '../../src/cli/lean-command.ts'
import fc from '../helpers/property.ts'

/** What is made of the words, or the error's code. */
function parse(command: Command, words: readonly string[]) {
  command
    .argument('<image>')
    .argument('[command...]')
    .passThroughOptions()
    .option('-d, --detach', 'd')
    .option('--sig-proxy', 's')
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} })
  addContainerFlags(command).action(() => {})
  try {
    command.parse(rewriteGoStyle(command, words), { from: 'user' })
    return { options: command.opts(), args: command.args }
  } catch (error) {
    return String(error)
  }
}

/** Words that are flags, parts of flags, values, and rubbish. */
const word = fc.oneof(
  fc.constantFrom(
    '-p',
    '80:80',
    '-net',
    '--network',
    '--net=br',
    '-it',
    '-dit',
    '-p80:80',
    '-name',
    'web',
    '--name=web',
  ),
  fc.constantFrom(
    '--rm=false',
    '--no-rm',
    '--no-healthcheck',
    '--link',
    'a',
    '-e',
    'A=1',
    '--env',
    '--envx',
    '-',
    '--',
    '-h',
  ),
  fc.constantFrom(
    '--sig-proxy=false',
    '-sig-proxy=false',
    '--healthcheck',
    '-l',
    '-ti',
    '-m',
    '1g',
    'busybox',
    '--nonsense',
  ),
  fc.string({ maxLength: 4 }).map(text => `-${text}`),
)

test('LeanCommand understands what a command with all flags understands, in the same way', () => {
  const words = fc.array(word, { maxLength: 6 }).map(list => [...list, 'busybox', 'true'])
  fc.assert(
    fc.property(words, list => {
      const full = parse(new Command('run'), list)
      const lean = parse(new LeanCommand(list, 'run'), list)
      // A wrong word may be taken otherwise; main.ts then asks the one with all flags.
      if (typeof lean !== 'string') expect(lean).toEqual(full)
      if (typeof full !== 'string') expect(typeof lean).toBe('object')
    }),
    { numRuns: 500 },
  )
})

test('LeanCommand declares few flags', () => {
  const command = addContainerFlags(new LeanCommand(['run', '--rm', '-p', '80:80', 'busybox', 'true'], 'run'))

  const names = command.options.map(option => option.long)
  expect(names).toEqual(expect.arrayContaining(['--rm', '--publish', '--no-healthcheck']))
  expect(names.length).toBeLessThan(10)
})
