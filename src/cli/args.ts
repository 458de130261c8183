// argv as people type it -> argv as commander takes it. Go-style single-dash names (`-net`, `-name`) become `--net`,
// `--flag=false` becomes `--no-flag`, and nothing is touched behind the image's or container's name where flags end there.

import { type Command, Option } from 'commander'
import { parseBoolean } from './parse-boolean.ts'

/**
 * Rewrites the options of one command. Where a flag is given a value that says the opposite of its name, the opposite
 * is declared on `command`: commander then lets the last one win, as docker does.
 * @param args the arguments behind the command's name
 * @throws TsrunError invalid, for `--flag=value` where the value is no truth
 */
export function rewriteGoStyle(command: Command, args: readonly string[]): string[] {
  const rewritten: string[] = []
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index] ?? ''
    if (arg === '--') return [...rewritten, ...args.slice(index)]
    if (arg === '-' || !arg.startsWith('-')) {
      if (endsAtOperand(command)) return [...rewritten, ...args.slice(index)]
      rewritten.push(arg)
      continue
    }
    const { word, takesNext } = rewriteOption(command, arg)
    rewritten.push(word)
    const next = args[index + 1]
    if (!takesNext || next === undefined) continue
    rewritten.push(next)
    index += 1
  }
  return rewritten
}

/** Whether what follows the first operand is for somebody else. commander keeps that to itself. */
function endsAtOperand(command: Command): boolean {
  return (command as Command & { readonly _passThroughOptions?: boolean })._passThroughOptions === true
}

/** @returns also whether the next word is the option's value */
function rewriteOption(command: Command, arg: string): { word: string; takesNext: boolean } {
  const [name, value] = splitAtEquals(arg)
  const option = findOption(command, name)
  // A cluster such as `-it` or `-itv`: the last letter may want the next word.
  if (option === undefined) return { word: arg, takesNext: isCluster(command, arg) }
  const spelled = name.startsWith('--') || name.length === 2 ? name : `-${name}`
  if (value === undefined) return { word: spelled, takesNext: option.required }
  const long = option.long ?? spelled
  if (option.required || option.optional) return { word: `${long}=${value}`, takesNext: false }
  return { word: parseBoolean(long, value) ? long : declareOpposite(command, long), takesNext: false }
}

/** The option that `name` spells: `-p`, `--publish`, or Go-style `-publish`. */
function findOption(command: Command, name: string): Option | undefined {
  const exact = command.options.find(option => option.long === name || option.short === name)
  if (exact !== undefined || name.startsWith('--')) return exact
  return command.options.find(option => option.long === `-${name}`)
}

/** `--rm` -> `--no-rm`, `--no-trunc` -> `--trunc`. */
function declareOpposite(command: Command, long: string): string {
  const opposite = long.startsWith('--no-') ? `--${long.slice('--no-'.length)}` : `--no-${long.slice('--'.length)}`
  if (findOption(command, opposite) === undefined) command.addOption(new Option(opposite).hideHelp())
  return opposite
}

function isCluster(command: Command, arg: string): boolean {
  if (!/^-[a-zA-Z]{2,}$/.test(arg)) return false
  const find = (letter: string | undefined) => command.options.find(option => option.short === `-${letter}`)
  return find(arg.at(-1))?.required === true && [...arg.slice(1, -1)].every(letter => find(letter)?.required === false)
}

function splitAtEquals(arg: string): [string, string | undefined] {
  const at = arg.indexOf('=')
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)]
}
