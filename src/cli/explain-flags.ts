// `--explain`, `--dry-run` and `--trace-time`: the same flags on every command that changes the machine.

import type { Command } from 'commander'

/** As commander has them. */
export interface ExplainFlags {
  readonly explain?: boolean
  readonly dryRun?: boolean
  readonly traceTime?: boolean
}

/** Commands inside a verb that only look. */
const readers = new Set(['ls', 'list', 'inspect', 'df', 'events', 'info', 'graph', 'doctor', 'capture'])

/** Declares the flags on `verb`, or on those of its subcommands that change something. */
export function addExplainFlags(verb: Command): void {
  for (const command of verb.commands.length === 0 ? [verb] : verb.commands) {
    if (readers.has(command.name())) continue
    command
      .option('--explain', 'print each kernel change as the command a person would type')
      .option('--dry-run', 'only print them')
      .option('--trace-time', 'print how long each step took, at the end')
  }
}
