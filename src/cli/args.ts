// argv as people type it -> argv as commander takes it. Go-style single-dash names (`-net`, `-name`) become `--net`,
// `--flag=false` disappears, and nothing is touched behind the image's or container's name.

import type { Command } from 'commander'

/**
 * Rewrites the options of one command.
 * @param args the arguments behind the command's name
 */
export function rewriteGoStyle(command: Command, args: readonly string[]): string[] {
  const rewritten: string[] = []
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index] ?? ''
    if (arg === '--' || arg === '-' || !arg.startsWith('-')) return [...rewritten, ...args.slice(index)]
    const [name, value] = splitAtEquals(arg)
    const option = findOption(command, name)
    if (option === undefined) {
      rewritten.push(arg)
      // A cluster such as `-it` or `-itv`: the last letter may want the next word.
      if (/^-[a-zA-Z]{2,}$/.test(arg) && wantsValue(command, `-${arg.at(-1)}`) && clusterIsFlags(command, arg)) {
        const next = args[index + 1]
        if (next !== undefined) rewritten.push(next)
        index += 1
      }
      continue
    }
    const takesValue = option.required || option.optional
    if (!takesValue && value !== undefined) {
      if (isTrue(value)) rewritten.push(option.long ?? name)
      continue
    }
    const spelled = name.startsWith('--') || name.length === 2 ? name : `-${name}`
    rewritten.push(value === undefined ? spelled : `${option.long ?? spelled}=${value}`)
    if (option.required && value === undefined) {
      const next = args[index + 1]
      if (next !== undefined) rewritten.push(next)
      index += 1
    }
  }
  return rewritten
}

type Option = Command['options'][number]

/** The option that `name` spells: `-p`, `--publish`, or Go-style `-publish`. */
function findOption(command: Command, name: string): Option | undefined {
  const exact = command.options.find(option => option.long === name || option.short === name)
  if (exact !== undefined || name.startsWith('--')) return exact
  return command.options.find(option => option.long === `-${name}`)
}

function wantsValue(command: Command, short: string): boolean {
  return command.options.some(option => option.short === short && option.required)
}

function clusterIsFlags(command: Command, cluster: string): boolean {
  return [...cluster.slice(1, -1)].every(letter =>
    command.options.some(option => option.short === `-${letter}` && !option.required),
  )
}

function splitAtEquals(arg: string): [string, string | undefined] {
  const at = arg.indexOf('=')
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)]
}

function isTrue(value: string): boolean {
  return ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value)
}
