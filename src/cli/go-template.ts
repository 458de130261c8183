// Go's text/template, as far as docker's users need it for `--format`. No code is generated, nothing of JavaScript can
// be reached, and what a template may cost is limited: a hostile one ends with an error, and soon.
// Left out: define, template, block and call. JSON knows no int64 and no structs: a whole number is an int, and an object a map
// unless the caller says that it is a struct.

import { TsrunError } from '../model/errors.ts'
import { evaluate, type Structs } from './go-template/evaluate.ts'
import { TemplateFault } from './go-template/fault.ts'
import { parse } from './go-template/parser.ts'

/**
 * Parses once; the result is called for each value.
 * @param text e.g. `{{.Name}}: {{range .Ports}}{{.HostPort}} {{end}}`
 * @returns value -> text, see evaluate() for structs; throws TsrunError invalid where the value does not fit or the limits are passed
 * @throws TsrunError invalid on a syntax error
 */
export function parseTemplate(text: string): (value: unknown, structs?: Structs) => string {
  const template = explained(text, () => parse(text))
  return (value, structs) => explained(text, () => evaluate(template, value, structs))
}

function explained<T>(text: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    // V8's answer to a string or a nesting that is too large, e.g. from JSON.stringify.
    if (error instanceof RangeError) throw templateError(text, 'the result is too large', undefined)
    if (error instanceof TemplateFault) throw templateError(text, error.message, error.hint)
    throw error
  }
}

function templateError(text: string, reason: string, hint: string | undefined): TsrunError {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text
  return new TsrunError('invalid', 'template', `cannot use the template "${shown}": ${reason}`, {
    hint: hint ?? "e.g. '{{.Name}}' or '{{range .Mounts}}{{.Source}} {{end}}'; `--format json` shows all fields",
  })
}
