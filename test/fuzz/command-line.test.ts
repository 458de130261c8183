// Every flag of every verb with values that nobody should give, at random for a while: an exit code that is documented, a message
// that can be read, and an end. Nothing is started: containers are created of an image that is there, and run of one that is not.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Command, type Option } from 'commander'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { commandGroups } from '../../src/cli/registry.ts'
import { Random } from '../helpers/random.ts'
import { seed } from '../helpers/seed.ts'
import { World } from '../helpers/world.ts'
import { fuzzSeconds } from './fuzzer.ts'

/** Only files of the world's own are named here: some flags say where something is to be written. */
const scratch = () => join(world.dir, 'work', 'scratch')

/** These wait for events or for a registry that is not there. */
const endless = ['events', 'stats', 'attach', 'system events', 'container stats', 'container attach']
/** Words behind the flags: what each verb gets far with and does no harm with; for all others a thing that is not there. */
const operands: Readonly<Record<string, readonly string[]>> = {
  create: ['busybox', 'true'],
  run: ['--pull=never', 'missing:image', 'true'],
  build: ['/nonexistent'],
  pull: ['Upper/::'],
  push: ['Upper/::'],
  login: ['--username=', 'Upper/::'],
  search: ['Upper/::'],
}

const values: readonly string[] = [
  '',
  ' ',
  '0',
  '-1',
  '1',
  '65536',
  '99999999999999999999',
  '1e308',
  'NaN',
  '0x10',
  '1.5.5',
  '\n',
  'a\nb',
  '\t',
  '\u001b[2J\u0007',
  '\u009b2J',
  '\u202egnp',
  'é',
  '\u{1f4a9}',
  '%s%n',
  '$(reboot)',
  '`id`',
  '../nosuch/file',
  '/',
  '//',
  '__proto__',
  '__proto__=1',
  'constructor=1',
  'constructor.prototype.x=1',
  'a=b=c',
  '=',
  '=x',
  ':',
  '::',
  ':::',
  ',',
  ',,,',
  'a,b,,',
  '[',
  ']',
  '{{',
  '{{.X.Y}}',
  '{{range .}}',
  '{"a":',
  'x'.repeat(300),
  'x'.repeat(100_000),
  '10.0.0.0/33',
  '10.0.0.0/8',
  'fd00::/129',
  '::ffff:1.2.3.4',
  '0.0.0.0',
  'sha256:',
  '-',
  '--',
  '-x',
  '@',
  '*',
  'host',
  'none',
  'container:',
  'container:x',
  'ns:',
  'type=bind',
  'type=x,src=,dst=',
  'all',
  'unconfined',
  '9223372036854775808b',
  '1h1h',
  '0-',
  '3-1',
]

interface Leaf {
  readonly path: readonly string[]
  readonly options: readonly Option[]
}

/** Every verb with its flags, as the program declares them. */
async function leaves(): Promise<Leaf[]> {
  const found: Leaf[] = []
  const walk = (command: Command, path: readonly string[]) => {
    const isLeaf = command.commands.length === 0
    if (isLeaf && !endless.includes(path.join(' '))) found.push({ path, options: command.options })
    for (const each of command.commands) walk(each, [...path, each.name()])
  }
  for (const { name, load } of commandGroups.flatMap(group => group.commands))
    walk(
      (await load()).register(new Command('tsrun').enablePositionalOptions(), () => {}),
      [name],
    )
  return found
}

let world: World
beforeAll(async () => {
  world = await World.create()
  mkdirSync(scratch())
})
afterAll(async () => {
  const created = (await world.ok(['ps', '-aq'])).split('\n').filter(Boolean)
  if (created.length > 0) await world.ok(['rm', '-f', '-v', ...created])
  rmSync(scratch(), { recursive: true })
  const networks = (await world.ok(['network', 'ls', '-q', '--filter', 'type=custom'])).split('\n').filter(Boolean)
  for (const network of networks) await world.tsrun(['network', 'rm', network])
  await world.dispose()
})

function words({ path, options }: Leaf, random: Random): string[] {
  const chosen = Array.from({ length: 1 + random.below(2) }, () => random.pick(options)).filter(
    option => option !== undefined,
  )
  const flags = chosen.map(option => {
    const name = option.long ?? option.short ?? ''
    return random.oneIn(12) ? name : `${name}=${random.pick(values)}`
  })
  const rest = operands[path.at(-1) ?? ''] ?? (random.oneIn(2) ? [] : [random.pick(values), 'nosuch'])
  return [...path, ...flags, ...rest]
}

/** What is wrong with how tsrun took it; undefined: nothing. */
function complaint(code: number | null, stderr: string): string | undefined {
  if (code === null || ![0, 1, 125].includes(code)) return `it exits with ${code}`
  if (/\p{Cc}/u.test(stderr.replace(/\n/g, ''))) return 'it prints control characters'
  if (/^\s+at |(?:Type|Reference|Range|Syntax)Error|undefined is not|Cannot read prop|\[object /m.test(stderr))
    return 'it prints an error of JavaScript'
  if (code !== 0 && !/^(tsrun|error|warning): ./m.test(stderr) && stderr !== '') return 'it does not say what is wrong'
  if (stderr.split('\n').length > 12) return 'it prints more than anybody reads'
  return stderr.split('\n').some(line => line.length > 5000) ? 'it prints a line without end' : undefined
}

test(
  'every flag with a value that nobody should give ends with a message',
  async () => {
    const all = (await leaves()).filter(({ options }) => options.length > 0)
    const random = new Random(seed)
    const end = Date.now() + Math.max(8, fuzzSeconds()) * 1000
    let executions = 0
    const client = async () => {
      while (Date.now() < end) {
        const args = words(random.pick(all), random)
        const { code, stderr } = await world.tsrun(args, { cwd: scratch() })
        const what = complaint(code, stderr)
        if (what !== undefined)
          throw new Error(
            `TSRUN_SEED=${seed}: ${what}: ${JSON.stringify(args).slice(0, 500)}\n${stderr.slice(0, 1000)}`,
          )
        executions++
      }
    }
    await Promise.all([client(), client()])
    if (process.env.TSRUN_FUZZ_SECONDS !== undefined)
      process.stderr.write(`command-line: ${executions} executions, seed ${seed}\n`)
    expect(executions).toBeGreaterThan(0)
  },
  120_000 + fuzzSeconds() * 2000,
)
