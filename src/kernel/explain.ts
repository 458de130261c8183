// Design decision D11: every kernel change can be shown as the command a person would type. Changes are recorded as
// functions, so that nothing is put together while nobody listens.

let explainer: ((command: string) => void) | undefined

/** Sends the commands of all changes from now on to `listener`; undefined turns it off. */
export function setExplainer(listener: ((command: string) => void) | undefined): void {
  explainer = listener
}

/** Tells the listener, if there is one, what is about to be done. */
export function record(command: () => string): void {
  if (explainer !== undefined) explainer(command())
}

/** `word` as one word of a shell command. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
