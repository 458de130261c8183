// An error -> what the user reads and the exit code. The only place where errors become text.

import { printable } from '../engine/ids.ts'
import { StateFileError } from '../lib/state-file.ts'
import { TsrunError } from '../model/errors.ts'

/** `tsrun: <message>` and, where there is one, a hint. With TSRUN_DEBUG set, the causes and cleanup errors follow. */
export function renderError(error: unknown): string {
  const lines = [`tsrun: ${shown(messageOf(error))}`]
  const hint = error instanceof TsrunError ? error.hint : systemHint(error)
  if (hint !== undefined) lines.push(`  hint: ${shown(hint)}`)
  const cleanup = error instanceof Error && 'cleanupError' in error ? error.cleanupError : undefined
  if (cleanup !== undefined) lines.push(`  and on the way back: ${shown(messageOf(cleanup))}`)
  if (process.env.TSRUN_DEBUG) lines.push(...causes(error))
  return `${lines.join('\n')}\n`
}

/** What went wrong and kept the command from nothing but a part. */
export function renderWarning(error: unknown): string {
  return renderError(error).replace(/^tsrun: /, 'tsrun: warning: ')
}

/** The most characters of a message that are shown: who writes a megabyte into a flag need not read it again. */
const maxShown = 2000

/** Messages quote what users, images and registries wrote: on one line, and without what a terminal would obey. */
export function shown(text: string): string {
  const line = printable(text)
  return line.length <= maxShown ? line : `${line.slice(0, maxShown / 2)} … ${line.slice(-maxShown / 2)}`
}

/**
 * What a verb exits with.
 * @param forContainers whether the verb's own codes are the container's (run, create)
 * @param isExec there, whatever keeps the process from starting in a container that runs is 126, as with docker
 */
export function exitCodeOf(error: unknown, forContainers: boolean, isExec = false): number {
  if (error instanceof TsrunError) {
    if (isExec && (error.code === 'setup-failed' || error.code === 'no-such-user')) return 126
    if (error.kind === 'command-not-found') return 127
    if (error.kind === 'not-executable') return 126
  }
  return forContainers ? 125 : 1
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // Node's own errors have the plain name; ours put the words in order themselves.
  return error.name === 'Error' && 'syscall' in error && 'code' in error ? nodeMessage(error) : error.message
}

/** Node says `ENOSPC: no space left on device, write`: the same facts in our order. */
function nodeMessage(error: Error & { syscall?: unknown; code?: unknown; path?: unknown }): string {
  const reason = /^[A-Z0-9]+: ([^,]+),/.exec(error.message)?.[1] ?? error.message
  const place = typeof error.path === 'string' ? ` "${error.path}"` : ''
  return `cannot ${verbs[String(error.syscall)] ?? String(error.syscall)}${place}: ${reason} (${String(error.syscall)}: ${String(error.code)})`
}

const verbs: Readonly<Record<string, string>> = {
  open: 'open',
  mkdir: 'make the folder',
  write: 'write',
  rename: 'rename',
  symlink: 'make the link',
  unlink: 'remove',
  rm: 'remove',
  connect: 'connect to',
  fsync: 'write',
}

function systemHint(error: unknown): string | undefined {
  if (error instanceof StateFileError) return damageHint(error)
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return 'the disk is full: `tsrun system prune` frees space, `df` shows where'
  if (code === 'EROFS') return 'the file system is read-only; choose another place with --root and --state'
  if (code === 'EMFILE' || code === 'ENFILE') return 'too many open files: see `ulimit -n`'
  if (code === 'EPERM') return 'tsrun needs CAP_SYS_ADMIN and CAP_NET_ADMIN; `tsrun doctor` lists what is missing'
  if (code === 'EACCES') return 'choose another place with --root and --state, or run as root'
  return undefined
}

function damageHint({ path }: StateFileError): string {
  const [, id] = /\/containers\/([0-9a-f]{12})[0-9a-f]{52}\/[^/]+$/.exec(path) ?? []
  return id === undefined
    ? 'put it right, or move it away: then tsrun knows nothing of what it describes'
    : `put it right, or give the container up: \`tsrun rm -f ${id}\``
}

function causes(error: unknown): string[] {
  const lines: string[] = []
  if (error instanceof Error && error.stack !== undefined) lines.push(error.stack)
  for (let cause = error instanceof Error ? error.cause : undefined; cause instanceof Error; cause = cause.cause)
    lines.push(`  caused by: ${cause.stack ?? cause.message}`)
  return lines
}
