// Design decision D11: every kernel change can be shown as the command a person would type. Changes are recorded as
// functions, so that nothing is put together while nobody listens.
//
// In a rehearsal (`--dry-run`) the process has a network namespace of its own that mirrors the host's: links, addresses,
// routes and rules are really made there. What it cannot have a copy of - control groups, processes, mounts - is
// recorded and left alone: that is what `perform` is for.

let explainer: ((command: string) => void) | undefined
const rehearsing = process.env.TSRUN_REHEARSAL !== undefined

/** Thrown where a rehearsal has nothing more to show, e.g. the container would run now. Not a failure. */
export class Rehearsed extends Error {
  readonly exitCode: number

  constructor(exitCode = 0) {
    super('only rehearsed')
    this.exitCode = exitCode
  }
}

/** Sends the commands of all changes from now on to `listener`; undefined turns it off. */
export function setExplainer(listener: ((command: string) => void) | undefined): void {
  explainer = listener
}

/** Tells the listener, if there is one, what is about to be done. */
export function record(command: () => string): void {
  if (explainer !== undefined) explainer(command())
}

/** Whether somebody listens: for commands that take work to put together. */
export function isExplaining(): boolean {
  return explainer !== undefined
}

/** Whether this process only shows what it would do. */
export function isRehearsal(): boolean {
  return rehearsing
}

/** Records a change and makes it, or in a rehearsal only records it. */
export function perform(command: () => string, change: () => void): void {
  record(command)
  if (!rehearsing) change()
}

/** Runs `task` without telling the listener: for what the kernel does by itself outside of a rehearsal. */
export function withoutTelling<T>(task: () => T): T {
  const listener = explainer
  explainer = undefined
  try {
    return task()
  } finally {
    explainer = listener
  }
}

/** Ends a rehearsal here. What is undone on the way out is nobody's business: it is not shown. @throws Rehearsed */
export function endRehearsal(): never {
  explainer = undefined
  throw new Rehearsed()
}

/** `word` as one word of a shell command. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
