// The command line: global flags, one verb, its exit code. Only the verb that is called is loaded.

import { Command, CommanderError } from 'commander'
import { Rehearsed } from '../engine/explain.ts'
import { takeLeftOut } from '../lib/state-file.ts'
import { hasStuckCalls } from '../lib/stuck-calls.ts'
import { mark, printTrace } from '../lib/trace.ts'
import { takeWarnings } from '../lib/warnings.ts'
import { rewriteGoStyle } from './args.ts'
import { addExplainFlags, type ExplainFlags } from './explain-flags.ts'
import { takeGlobalFlags } from './global-flags.ts'
import { expandGroup, groupHelp } from './groups.ts'
import { LeanCommand } from './lean-command.ts'
import { print, printError } from './print.ts'
import { findCommand, type VerbEntry, type VerbModule } from './registry.ts'
import { exitCodeOf, renderError, renderWarning, shown } from './render-error.ts'
import { version } from './version.ts'

/** Its other exit codes are the container's, so that errors of tsrun's own have one of their own. */
const isRun = (verb: string) => verb === 'run'

async function main(argv: readonly string[]): Promise<number> {
  const rest = expandGroup(takeGlobalFlags(argv))
  const [verb] = rest
  if (verb === '-v' || verb === '--version') {
    print(`tsrun version ${version}\n`)
    return 0
  }
  if (verb === 'help' && rest[1] !== undefined) return main([...rest.slice(1), '--help'])
  if (verb === undefined || verb === 'help' || verb === '--help' || verb === '-h') {
    print((await import('./help.ts')).overview())
    return verb === undefined ? 1 : 0
  }
  const help = groupHelp(rest)
  if (help !== undefined) {
    const member = rest[1]
    if (member !== undefined && member !== '--help' && member !== '-h')
      throw (await import('./help.ts')).noSuchMember(verb, member)
    print(help)
    return 0
  }
  const found = findCommand(verb)
  if (found === undefined) throw (await import('./help.ts')).noSuchCommand(verb)
  const code = await runVerb(found, await found.load(), rest)
  // One that fails has said what is wrong already.
  if (code === 0) for (const error of [...takeWarnings(), ...takeLeftOut()]) printError(renderWarning(error))
  return code
}

/** With only the flags that `words` mention; where that does not do, with all of them. */
async function runVerb(entry: VerbEntry, module: VerbModule, words: readonly string[]): Promise<number> {
  mark('verb loaded')
  const lean = await parseAndRun(entry, module, { words, program: new LeanCommand(words, 'tsrun'), isLast: false })
  return lean ?? (await parseAndRun(entry, module, { words, program: new Command('tsrun'), isLast: true })) ?? 1
}

interface Parse {
  readonly words: readonly string[]
  readonly program: Command
  /** Whether this is the one that says what is wrong with the words, and prints help. */
  readonly isLast: boolean
}

/** @returns undefined when the words asked for help or were wrong, and this was not the last try: nothing was done */
async function parseAndRun(entry: VerbEntry, module: VerbModule, parse: Parse): Promise<number | undefined> {
  const { words, program, isLast } = parse
  program.exitOverride().enablePositionalOptions()
  let code = 0
  const top = module.register(program, value => {
    code = value
  })
  const verb = words[0] ?? ''
  if (entry.changesMachine === true) addExplainFlags(top)
  let hasBegun = false
  program.hook('preAction', async (_program, command) => {
    hasBegun = true
    mark('words parsed')
    if (entry.changesMachine === true) await prepareToExplain(command.opts())
  })
  // `network create`: the options belong to the innermost command.
  let command = top
  let depth = 1
  while (command.commands.length > 0) {
    const sub = command.commands.find(c => c.name() === words[depth] || c.aliases().includes(words[depth] ?? ''))
    if (sub === undefined) {
      const word = words[depth]
      if (word === undefined && !isLast) return undefined
      if (word === undefined) {
        print(command.helpInformation())
        return 0
      }
      if (!word.startsWith('-') && word !== 'help')
        throw (await import('./help.ts')).noSuchMember(words.slice(0, depth).join(' '), word, namesOf(command))
      break
    }
    command = sub
    depth += 1
  }
  for (const each of [top, command]) each.exitOverride().configureOutput(isLast ? loudly : silently)
  try {
    await program.parseAsync([verb, ...words.slice(1, depth), ...rewriteGoStyle(command, words.slice(depth))], {
      from: 'user',
    })
    return code
  } catch (error) {
    if (error instanceof Rehearsed) return error.exitCode
    if (error instanceof CommanderError) return isLast || hasBegun ? exitCodeOfUsage(error, verb) : undefined
    printError(renderError(error))
    return exitCodeOf(error, isRun(verb), verb === 'exec')
  }
}

const loudly = { writeErr: (text: string) => printError(commanderError(text)), writeOut: print }
const silently = { writeErr: () => {}, writeOut: () => {} }

/** @throws Rehearsed with --dry-run: it has been done, in a copy of the host */
async function prepareToExplain(flags: ExplainFlags): Promise<void> {
  if (flags.traceTime === true) printTrace()
  const file = flags.explain === true ? '-' : process.env.TSRUN_EXPLAIN
  if (flags.dryRun !== true && file === undefined) return
  const { rehearse, startExplaining } = await import('./explain.ts')
  if (flags.dryRun === true && process.env.TSRUN_REHEARSAL === undefined) await rehearse(process.argv.slice(2))
  startExplaining(file ?? '-')
}

/** docker's: 125 for flags that are not there or lack their value, 1 for too few or too many words. */
function exitCodeOfUsage(error: CommanderError, verb: string): number {
  if (error.exitCode === 0) return 0
  return isRun(verb) || /option/i.test(error.code) ? 125 : 1
}

function namesOf(command: Command): string[] {
  return command.commands.flatMap(each => [each.name(), ...each.aliases()])
}

/** commander says "error: unknown option '--x'": in our form. */
function commanderError(text: string): string {
  const [, body = text, meant] = /^(?:error: )?([\s\S]*?)(?:\n\(Did you mean (.+)\?\))?\s*$/.exec(text) ?? []
  return `tsrun: ${shown(body)}\n${meant === undefined ? '' : `  hint: did you mean ${meant}?\n`}`
}

mark('program loaded')
main(process.argv.slice(2))
  .then(
    code => {
      process.exitCode = code
    },
    error => {
      printError(renderError(error))
      process.exitCode = exitCodeOf(error, false)
    },
  )
  .then(() => {
    if (hasStuckCalls()) process.exit()
  })
