// The question before a prune, as docker asks it.

import { isRehearsal } from '../engine/explain.ts'
import { print } from './print.ts'

/** The flag that answers it. */
export const forceFlag = ['-f, --force', 'do not ask'] as const

/** Whether to go on: with --force, in a rehearsal, or when somebody says y. The end of the input is a no. */
export async function isAgreed({ force }: { readonly force?: boolean }, warning: string): Promise<boolean> {
  if (force === true || isRehearsal()) return true
  print(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `)
  return /^y$/i.test((await firstLine()).trim())
}

async function firstLine(): Promise<string> {
  let text = ''
  process.stdin.setEncoding('utf8')
  for await (const chunk of process.stdin) {
    text += String(chunk)
    if (text.includes('\n') || text.length > 1000) break
  }
  return text.split('\n', 1)[0] ?? ''
}
