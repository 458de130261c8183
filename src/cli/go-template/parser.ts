// Tokens -> tree. Functions and variables are checked here, so that a wrong name is reported before anything is printed.

import { TemplateFault } from './fault.ts'
import { functionNames } from './functions.ts'
import { type Token, tokenize } from './lexer.ts'

export type Operand =
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null }
  | { readonly kind: 'dot' }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'pipe'; readonly pipe: Pipe }
  | { readonly kind: 'fields'; readonly of: Operand; readonly names: readonly string[] }

/** The first operand is a function or the value itself; the others are arguments. */
export type Command = readonly [Operand, ...Operand[]]

export interface Pipe {
  /** Variables that take the value: one, or with range also key and value. */
  readonly variables: readonly string[]
  /** `=` instead of `:=`. */
  readonly assigns: boolean
  readonly commands: readonly Command[]
}

export interface Clause {
  readonly pipe: Pipe
  readonly body: readonly Node[]
}

export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly pipe: Pipe }
  | { readonly kind: 'if' | 'with'; readonly clauses: readonly Clause[]; readonly otherwise: readonly Node[] }
  | { readonly kind: 'range'; readonly pipe: Pipe; readonly body: readonly Node[]; readonly otherwise: readonly Node[] }
  | { readonly kind: 'break' | 'continue' }

/** Blocks and parentheses within each other: far more than anybody writes, far less than the stack bears. */
const maximumDepth = 100

const maximumLength = 100_000

/** @throws TemplateFault */
export function parse(text: string): readonly Node[] {
  if (text.length > maximumLength) throw new TemplateFault(`it is longer than ${maximumLength} characters`)
  return new Parser(tokenize(text)).parse()
}

type BlockEnd = 'end' | 'else' | 'eof'

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0
  #loops = 0
  /** Names that can be seen, innermost last. */
  #scope: string[] = ['$']

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  parse(): readonly Node[] {
    const { nodes, end } = this.#nodes()
    if (end !== 'eof') throw new TemplateFault(`unexpected {{${end}}}`, 'there is nothing open that it could belong to')
    return nodes
  }

  /** Reads up to `{{end}}`, `{{else` or the end of the template. */
  #nodes(): { nodes: Node[]; end: BlockEnd } {
    const nodes: Node[] = []
    for (;;) {
      const token = this.#next()
      if (token.kind === 'eof') return { nodes, end: 'eof' }
      if (token.kind === 'text') {
        nodes.push({ kind: 'text', text: token.text })
        continue
      }
      const keyword = this.#peek().kind === 'word' ? this.#peek().text : ''
      if (keyword === 'end' || keyword === 'else') {
        this.#next()
        if (keyword === 'end') this.#close('end')
        return { nodes, end: keyword }
      }
      nodes.push(this.#action(keyword))
    }
  }

  #action(keyword: string): Node {
    if (keyword === 'if' || keyword === 'with' || keyword === 'range') {
      this.#next()
      return this.#nested(() => (keyword === 'range' ? this.#range() : this.#branches(keyword)))
    }
    if (keyword === 'break' || keyword === 'continue') {
      this.#next()
      this.#close(keyword)
      if (this.#loops === 0) throw new TemplateFault(`{{${keyword}}} outside {{range}}`)
      return { kind: keyword }
    }
    if (keyword === 'define' || keyword === 'template' || keyword === 'block')
      throw new TemplateFault(`{{${keyword}}} is not implemented`, 'write the text out where it is needed')
    const pipe = this.#pipe('command')
    this.#close('command')
    return { kind: 'action', pipe }
  }

  /** `if` and `with`; `else if` is a further clause, so a long chain of them does not nest. */
  #branches(kind: 'if' | 'with'): Node {
    const outer = this.#scope.length
    const clauses: Clause[] = []
    let otherwise: readonly Node[] = []
    for (;;) {
      const pipe = this.#pipe(kind)
      this.#close(kind)
      const { nodes, end } = this.#body()
      clauses.push({ pipe, body: nodes })
      if (end === 'eof') throw unfinished(kind)
      if (end === 'end') break
      if (this.#peek().kind === 'word' && this.#peek().text === kind) {
        this.#next()
        continue
      }
      otherwise = this.#otherwise(kind)
      break
    }
    this.#scope.length = outer
    return { kind, clauses, otherwise }
  }

  #range(): Node {
    const outer = this.#scope.length
    const pipe = this.#pipe('range')
    this.#close('range')
    this.#loops += 1
    const { nodes, end } = this.#body()
    this.#loops -= 1
    if (end === 'eof') throw unfinished('range')
    const otherwise = end === 'else' ? this.#otherwise('range') : []
    this.#scope.length = outer
    return { kind: 'range', pipe, body: nodes, otherwise }
  }

  #otherwise(keyword: string): readonly Node[] {
    this.#close('else')
    const { nodes, end } = this.#body()
    if (end === 'else') throw new TemplateFault(`a second {{else}} in {{${keyword}}}`)
    if (end === 'eof') throw unfinished(keyword)
    return nodes
  }

  #body(): { nodes: Node[]; end: BlockEnd } {
    const outer = this.#scope.length
    const body = this.#nodes()
    this.#scope.length = outer
    return body
  }

  #pipe(context: string): Pipe {
    const { variables, assigns } = this.#declarations(context)
    const commands: Command[] = []
    do commands.push(this.#command(context, commands.length))
    while (this.#take('|'))
    // Afterwards: in `$x := $x` the right one is the outer one.
    if (!assigns) this.#scope.push(...variables)
    return { variables, assigns, commands }
  }

  #declarations(context: string): { variables: readonly string[]; assigns: boolean } {
    const [first, second, third, fourth] = this.#tokens.slice(this.#at, this.#at + 4)
    const none = { variables: [], assigns: false }
    if (first?.kind !== 'variable' || second?.kind !== 'symbol') return none
    const pair = context === 'range' && second.text === ',' && third?.kind === 'variable'
    const operator = pair ? fourth : second
    if (operator?.kind !== 'symbol' || (operator.text !== ':=' && operator.text !== '=')) return none
    const variables = pair ? [first.text, third.text] : [first.text]
    this.#at += pair ? 4 : 2
    const assigns = operator.text === '='
    if (assigns) for (const name of variables) this.#checkVariable(name)
    return { variables, assigns }
  }

  #command(context: string, stage: number): Command {
    const [first, ...rest] = this.#operands()
    if (first === undefined) {
      const { kind, text } = this.#peek()
      if (kind !== 'close' && text !== '|' && text !== ')')
        throw new TemplateFault(`unexpected ${quoted(this.#peek())}`)
      throw new TemplateFault(
        stage > 0
          ? 'a value or function is missing after "|"'
          : `{{${context === 'command' ? '' : context}}} has no value`,
      )
    }
    if (first.kind === 'literal' && first.value === null)
      throw new TemplateFault('nil cannot stand alone', '{{print nil}} prints it')
    const callable = first.kind === 'function'
    // A field with arguments may be a method: which one is, the value says.
    if (!callable && (rest.length > 0 || stage > 0) && first.kind !== 'fields')
      throw new TemplateFault('only a function takes arguments', `functions: ${functionNames.join(', ')}`)
    if (!callable && stage > 0)
      throw new TemplateFault('only a function can stand after "|"', `functions: ${functionNames.join(', ')}`)
    return [first, ...rest]
  }

  #operands(): Operand[] {
    const operands: Operand[] = []
    for (;;) {
      const token = this.#peek()
      if (token.kind === 'close' || token.kind === 'eof' || (token.kind === 'symbol' && token.text !== '('))
        return operands
      if (operands.length > 0 && !token.spaced)
        throw new TemplateFault(`unexpected ${quoted(token)}`, 'arguments are separated by spaces')
      operands.push(this.#operand())
    }
  }

  #operand(): Operand {
    const term = this.#term()
    const names: string[] = []
    while (this.#peek().kind === 'field' && !this.#peek().spaced) names.push(this.#next().text)
    if (names.length === 0) return term
    if (term.kind === 'fields') return { ...term, names: [...term.names, ...names] }
    if (term.kind === 'literal' || term.kind === 'dot') throw new TemplateFault(`unexpected ".${names[0]}"`)
    return { kind: 'fields', of: term, names }
  }

  #term(): Operand {
    const token = this.#next()
    if (token.kind === 'literal') return { kind: 'literal', value: token.value ?? null }
    if (token.kind === 'dot') return { kind: 'dot' }
    if (token.kind === 'field') return { kind: 'fields', of: { kind: 'dot' }, names: [token.text] }
    if (token.kind === 'variable') {
      this.#checkVariable(token.text)
      return { kind: 'variable', name: token.text }
    }
    if (token.kind === 'word') return named(token.text)
    return this.#nested(() => {
      const pipe = this.#pipe('')
      if (!this.#take(')')) throw new TemplateFault('a parenthesis is not closed', 'every ( needs its )')
      return { kind: 'pipe', pipe }
    })
  }

  #checkVariable(name: string): void {
    if (!this.#scope.includes(name))
      throw new TemplateFault(`there is no variable ${name}`, `{{${name} := .Field}} makes one`)
  }

  #nested<T>(read: () => T): T {
    this.#depth += 1
    if (this.#depth > maximumDepth) throw new TemplateFault(`it is nested more than ${maximumDepth} deep`)
    const result = read()
    this.#depth -= 1
    return result
  }

  #close(context: string): void {
    const token = this.#next()
    if (token.kind !== 'close')
      throw new TemplateFault(`unexpected ${quoted(token)} in {{${context === 'command' ? '' : context}}}`)
  }

  #take(symbol: string): boolean {
    const token = this.#peek()
    if (token.kind !== 'symbol' || token.text !== symbol) return false
    this.#at += 1
    return true
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? endOfTemplate
  }

  #next(): Token {
    const token = this.#peek()
    this.#at += 1
    return token
  }
}

const endOfTemplate: Token = { kind: 'eof', text: 'end of the template', spaced: false }

function named(word: string): Operand {
  if (word === 'true' || word === 'false') return { kind: 'literal', value: word === 'true' }
  if (word === 'nil') return { kind: 'literal', value: null }
  if (functionNames.includes(word)) return { kind: 'function', name: word }
  throw new TemplateFault(
    `there is no function "${word}"`,
    `functions: ${functionNames.join(', ')}; fields start with a dot`,
  )
}

function unfinished(keyword: string): TemplateFault {
  return new TemplateFault(`{{${keyword}}} has no {{end}}`, `close it: {{${keyword} ...}}...{{end}}`)
}

function quoted(token: Token): string {
  return JSON.stringify(token.kind === 'field' ? `.${token.text}` : token.text)
}
