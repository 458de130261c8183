// What is wrong with a template. `parseTemplate` makes a TsrunError of it, which quotes the template.

/** A reason without the template's text; only `parseTemplate` lets it out, as a TsrunError. */
export class TemplateFault extends Error {
  readonly hint: string | undefined

  constructor(reason: string, hint?: string) {
    super(reason)
    this.name = 'TemplateFault'
    this.hint = hint
  }
}

/** Takes `units` from the evaluation's budget; throws a TemplateFault when it is used up. */
export type Charge = (units: number) => void

/** Copying this many characters costs about as much as evaluating one node. */
const charactersPerUnit = 8

/** What handling a text of that length costs. */
export function costOfText(length: number): number {
  return 1 + length / charactersPerUnit
}
