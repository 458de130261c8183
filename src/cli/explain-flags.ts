// `--explain` and `--dry-run`: the same two flags on every command that changes the machine.

import type { Command } from 'commander'

/** Commands inside a verb that only look. */
const readers = new Set(['ls', 'list', 'inspect', 'df', 'events', 'info', 'graph', 'doctor', 'capture'])

/** Declares the flags on `verb`, or on those of its subcommands that change something. */
export function addExplainFlags(verb: Command): void {
  for (const command of verb.commands.length === 0 ? [verb] : verb.commands) {
    if (readers.has(command.name())) continue
    command
      .option('--explain', 'print each kernel change as the command a person would type')
      .option('--dry-run', 'only print them')
  }
}
