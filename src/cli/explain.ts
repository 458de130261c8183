// Prints kernel changes as shell commands: on standard error, or into the file that TSRUN_EXPLAIN names.

import { appendFileSync } from 'node:fs'
import { isRehearsal, Rehearsed, setExplainer } from '../engine/explain.ts'
import { printError } from './print.ts'
import { renderWarning } from './render-error.ts'

/** From now on. @param file `-` for standard error @throws Error when the file cannot be opened */
export function startExplaining(file: string): void {
  if (file !== '-') appendFileSync(file, '')
  const told = new Set<string>()
  setExplainer(command => {
    // In a rehearsal groups and processes stay as they are, so that a later step finds them once more.
    if (isRehearsal() && /^(echo|rmdir|kill) /.test(command)) {
      if (told.has(command)) return
      told.add(command)
    }
    const line = `${command}\n`
    if (file === '-') return printError(line)
    try {
      appendFileSync(file, line)
    } catch (error) {
      // What is being done is not left half done because nobody can be told.
      setExplainer(undefined)
      printError(renderWarning(error))
    }
  })
}

/** Runs this same command in a copy of the host, where it may do as it likes. @throws Rehearsed when it has ended */
export async function rehearse(argv: readonly string[]): Promise<never> {
  const { rehearseCommand } = await import('../engine/rehearsal/rehearsal.ts')
  throw new Rehearsed(rehearseCommand(argv))
}
