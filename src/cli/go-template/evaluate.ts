// The tree and a value -> text. Every node, loop turn and character is charged to one budget: templates have loops in
// loops, and a hostile one must not hold the machine.

import { nearNames } from '../../lib/near-names.ts'
import { type Charge, costOfText, TemplateFault } from './fault.ts'
import { isWhole } from './floats.ts'
import { callFunction, functionNames } from './functions.ts'
import type { Command, Node, Operand, Pipe } from './parser.ts'
import { type Fields, formatResult, isMap, isTrue, ownField, sortedKeys, typeName } from './values.ts'

/** Well under a second of work. */
const budget = 1_000_000

/** Which objects have fixed fields, as those of a Go struct. */
export interface Structs {
  has(value: object): boolean
  /** Whether a struct has this field even where it is not set, and then it is nil. */
  mayLack(name: string): boolean
}

/**
 * @param structs there a field that does not exist is an error, and so is a field of what is nil. Without it all objects are
 *   maps, where it prints `<no value>`
 * @throws TemplateFault
 */
export function evaluate(nodes: readonly Node[], root: unknown, structs?: Structs): string {
  return new Evaluation(root, structs).run(nodes)
}

/** What a row can be asked beyond its fields: `{{.Label "key"}}`. */
export type Method = (argument: string) => string

type Jump = 'break' | 'continue' | undefined

class Evaluation {
  #left = budget
  readonly #output: string[] = []
  /** Innermost last; a name may stand here more than once. */
  readonly #variables: { readonly name: string; value: unknown }[]
  readonly #root: unknown
  readonly #structs: Structs | undefined

  constructor(root: unknown, structs: Structs | undefined) {
    this.#root = root
    this.#structs = structs
    this.#variables = [{ name: '$', value: root }]
  }

  run(nodes: readonly Node[]): string {
    this.#block(nodes, this.#root)
    return this.#output.join('')
  }

  readonly #charge: Charge = units => {
    this.#left -= units
    if (this.#left < 0)
      throw new TemplateFault(
        'it does too much',
        'a template may take a second at most: leave out a loop, or use `--format json` and jq',
      )
  }

  #block(nodes: readonly Node[], dot: unknown): Jump {
    const outer = this.#variables.length
    let jump: Jump
    for (const node of nodes) {
      jump = this.#node(node, dot)
      if (jump !== undefined) break
    }
    this.#variables.length = outer
    return jump
  }

  #node(node: Node, dot: unknown): Jump {
    this.#charge(1)
    switch (node.kind) {
      case 'text':
        this.#print(node.text)
        return undefined
      case 'action': {
        const value = this.#pipe(node.pipe, dot)
        if (node.pipe.variables.length === 0) this.#print(formatResult(value))
        return undefined
      }
      case 'break':
      case 'continue':
        return node.kind
      case 'range':
        return this.#scoped(() => this.#range(node, dot))
      case 'if':
      case 'with':
        return this.#scoped(() => this.#branches(node, dot))
    }
  }

  #print(text: string): void {
    this.#charge(costOfText(text.length))
    this.#output.push(text)
  }

  #scoped(work: () => Jump): Jump {
    const outer = this.#variables.length
    const jump = work()
    this.#variables.length = outer
    return jump
  }

  #branches({ kind, clauses, otherwise }: Extract<Node, { kind: 'if' | 'with' }>, dot: unknown): Jump {
    for (const { pipe, body } of clauses) {
      const value = this.#pipe(pipe, dot)
      if (isTrue(value, this.#charge)) return this.#block(body, kind === 'with' ? value : dot)
    }
    return this.#block(otherwise, dot)
  }

  #range({ pipe, body, otherwise }: Extract<Node, { kind: 'range' }>, dot: unknown): Jump {
    const outer = this.#variables.length
    const value = this.#commands(pipe.commands, dot)
    let empty = true
    for (const [key, item] of this.#entries(value)) {
      empty = false
      this.#charge(1)
      this.#bindTurn(pipe, key, item)
      if (this.#block(body, item) === 'break') break
      this.#variables.length = outer
    }
    this.#variables.length = outer
    return empty ? this.#block(otherwise, dot) : undefined
  }

  #bindTurn({ variables, assigns }: Pipe, key: unknown, item: unknown): void {
    const [first, second] = variables
    if (first === undefined) return
    this.#bind(first, second === undefined ? item : key, assigns)
    if (second !== undefined) this.#bind(second, item, assigns)
  }

  /** Key and value of what is ranged over; maps in the order of their keys. */
  *#entries(value: unknown): Generator<[unknown, unknown]> {
    if (value === undefined || value === null) return
    if (Array.isArray(value)) yield* value.entries()
    else if (isMap(value)) {
      const keys = sortedKeys(value)
      this.#charge(4 * keys.length)
      for (const key of keys) yield [key, value[key]]
    } else if (isWhole(value)) {
      for (let index = 0; index < value; index += 1) yield [index, index]
    } else
      throw new TemplateFault(`range cannot go over ${describe(value)}`, 'it goes over lists, maps and whole numbers')
  }

  #pipe(pipe: Pipe, dot: unknown): unknown {
    const value = this.#commands(pipe.commands, dot)
    for (const name of pipe.variables) this.#bind(name, value, pipe.assigns)
    return value
  }

  #bind(name: string, value: unknown, assigns: boolean): void {
    if (!assigns) this.#variables.push({ name, value })
    else this.#variable(name).value = value
  }

  #variable(name: string): { value: unknown } {
    this.#charge(this.#variables.length / 32)
    const variable = this.#variables.findLast(each => each.name === name)
    if (variable === undefined) throw new TemplateFault(`there is no variable ${name}`)
    return variable
  }

  #commands(commands: readonly Command[], dot: unknown): unknown {
    let piped: readonly unknown[] = []
    for (const command of commands) piped = [this.#command(command, dot, piped)]
    return piped[0]
  }

  /** @param piped the value from the left of "|", which becomes the last argument */
  #command([first, ...operands]: Command, dot: unknown, piped: readonly unknown[]): unknown {
    if (first.kind === 'fields' && operands.length > 0) return this.#method(first, operands, dot)
    if (first.kind !== 'function') return this.#operand(first, dot)
    if (first.name === 'and' || first.name === 'or') return this.#decide(first.name, operands, { dot, piped })
    const args = operands.map(operand => this.#operand(operand, dot))
    return callFunction(first.name, [...args, ...piped], this.#charge)
  }

  #method(first: Extract<Operand, { kind: 'fields' }>, operands: readonly Operand[], dot: unknown): string {
    const method = this.#operand(first, dot)
    const name = first.names.at(-1)
    if (typeof method !== 'function')
      throw new TemplateFault(
        `only a function takes arguments: .${name} is none`,
        `functions: ${functionNames.join(', ')}`,
      )
    const [argument, ...more] = operands.map(operand => this.#operand(operand, dot))
    if (typeof argument !== 'string' || more.length > 0)
      throw new TemplateFault(`.${name} wants 1 string`, `{{.${name} "key"}}`)
    return (method as Method)(argument)
  }

  /** `and` and `or` evaluate no further than they must and give the value that decided. */
  #decide(
    name: 'and' | 'or',
    operands: readonly Operand[],
    { dot, piped }: { readonly dot: unknown; readonly piped: readonly unknown[] },
  ): unknown {
    if (operands.length + piped.length === 0) throw new TemplateFault(`${name} wants at least 1 argument`)
    let value: unknown
    for (const operand of operands) {
      value = this.#operand(operand, dot)
      if (isTrue(value, this.#charge) === (name === 'or')) return value
    }
    return piped.length > 0 ? piped[0] : value
  }

  #operand(operand: Operand, dot: unknown): unknown {
    this.#charge(1)
    switch (operand.kind) {
      case 'literal':
        return operand.value
      case 'dot':
        return dot
      case 'variable':
        return this.#variable(operand.name).value
      case 'function':
        return this.#command([operand], dot, [])
      case 'pipe':
        return this.#pipe(operand.pipe, dot)
      case 'fields':
        this.#charge(operand.names.length)
        return operand.names.reduce(
          (value: unknown, name: string) => this.#field(value, name),
          this.#operand(operand.of, dot),
        )
    }
  }

  #field(value: unknown, name: string): unknown {
    if (isMap(value)) {
      if (this.#structs?.has(value) === true && !Object.hasOwn(value, name) && !this.#structs.mayLack(name))
        throw noField(value, name)
      return ownField(value, name)
    }
    // In maps missing stays missing, so that `.A.B` prints `<no value>` whichever of the two is not there; nil is an error as in Go.
    if (value === undefined && this.#structs === undefined) return undefined
    throw fieldOfOther(value, name)
  }
}

function noField(value: Fields, name: string): TemplateFault {
  const near = nearNames(name, Object.keys(value))
  return new TemplateFault(
    `there is no field .${name}`,
    near.length > 0
      ? `did you mean ${near.map(each => `.${each}`).join(' or ')}? \`--format json\` shows all fields`
      : '`--format json` shows all fields',
  )
}

function fieldOfOther(value: unknown, name: string): TemplateFault {
  const reason = value === null || value === undefined ? `it is nil` : `it is ${describe(value)}`
  return new TemplateFault(`there is no field .${name}: ${reason}`, fieldHint(value, name))
}

function fieldHint(value: unknown, name: string): string {
  if (Array.isArray(value))
    return `{{range .}}{{.${name}}}{{end}} goes over a list; (index . 0).${name} takes its first item`
  return 'the value before the dot must be a map: `--format json` shows what there is'
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (isMap(value)) return 'a map'
  return `a ${typeName(value)}`
}
