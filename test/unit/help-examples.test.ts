// The examples at the end of each help: the command line of each is taken by the parser of its verb.

import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { rewriteGoStyle } from '../../src/cli/args.ts'
import { expandGroup } from '../../src/cli/groups.ts'
import { commandGroups, findCommand } from '../../src/cli/registry.ts'

const verbs = commandGroups.flatMap(group => group.commands).filter(verb => !/-(ended|check|changed)$/.test(verb.name))

/** The commands of a verb that do something, with what they print as help. */
async function leavesOf(name: string): Promise<{ path: string; help: string }[]> {
  const top = await register(name)
  const leaves = top.commands.length === 0 ? [top] : top.commands
  return leaves.map(leaf => {
    let help = ''
    leaf.configureOutput({
      writeOut: text => {
        help += text
      },
    })
    leaf.outputHelp()
    return { path: leaf === top ? name : `${name} ${leaf.name()}`, help }
  })
}

async function register(name: string): Promise<Command> {
  const module = await findCommand(name)?.load()
  if (module === undefined) throw new Error(`there is no verb ${name}`)
  return module.register(new Command('tsrun').exitOverride().enablePositionalOptions(), () => {})
}

/** The commands in the examples, without what a shell takes for itself. */
function commandsIn(help: string): string[][] {
  const examples = help.slice(help.search(/^Examples?:$/m))
  return examples
    .split('\n')
    .flatMap(line => line.split(/\s*(?:&&|;(?= )|(?<= )\|(?= ))\s*/))
    .map(line => line.trim().replace(/^source <\((.*)\)$/, '$1'))
    .filter(line => line.startsWith('tsrun '))
    .map(splitWords)
}

/** As a shell does, as far as examples need it: quotes, comments, redirections. */
function splitWords(line: string): string[] {
  const words = [...line.matchAll(/(?:[^\s"'#]|"[^"]*"|'[^']*'|(?<=\S)#)+|#.*/g)].map(([word]) => word)
  const end = words.findIndex(word => /^[<>#]|^\d?>/.test(word))
  return words.slice(1, end < 0 ? undefined : end).map(word => word.replace(/"([^"]*)"|'([^']*)'/g, '$1$2'))
}

/** Parses without doing anything. */
async function parse(words: readonly string[]): Promise<void> {
  const [verb = '', ...rest] = expandGroup(words)
  const top = await register(verb)
  const sub = top.commands.find(each => each.name() === rest[0] || each.aliases().includes(rest[0] ?? ''))
  const command = sub ?? top
  for (const each of [top, command]) each.exitOverride().configureOutput({ writeErr: () => {} })
  command.action(() => {})
  const args = rewriteGoStyle(command, sub === undefined ? rest : rest.slice(1))
  await command.parseAsync(args, { from: 'user' })
}

describe.each(verbs.map(verb => verb.name))('the help of %s', name => {
  test('ends with examples that its parser takes', async () => {
    for (const { path, help } of await leavesOf(name)) {
      const commands = commandsIn(help)
      expect(commands.length, path).toBeGreaterThan(0)
      const lines = help.slice(help.search(/^Examples?:$/m)).match(/^ {2}\S/gm) ?? []
      expect(/^Examples:$/m.test(help), `${path}: Example or Examples`).toBe(lines.length > 1)
      for (const words of commands) await expect(parse(words), `tsrun ${words.join(' ')}`).resolves.toBeUndefined()
    }
  })
})

test('a wrong flag in an example would be found', async () => {
  const [words = []] = commandsIn('Example:\n  tsrun stop --no-such 3 web')

  await expect(parse(words)).rejects.toThrow(/unknown option '--no-such'/)
})
