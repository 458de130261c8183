// A Dockerfile as data: the ARGs before the first FROM, and the stages. Pure.

import { type Instruction, parseInstruction } from './instruction.ts'
import { readLines } from './lines.ts'
import { syntaxError } from './syntax-error.ts'
import { type EscapeCharacter, rawWords } from './words.ts'

export interface Stage {
  /** From 0. */
  readonly index: number
  /** Behind AS, in lower case. */
  readonly name?: string
  readonly from: Instruction
  /** What is behind FROM, variables still in it. */
  readonly base: string
  readonly instructions: readonly Instruction[]
}

export interface Dockerfile {
  readonly escapeCharacter: EscapeCharacter
  /** `# syntax=`: not used. */
  readonly syntax?: string
  readonly globalArgs: readonly Instruction[]
  readonly stages: readonly Stage[]
}

/** @param file its name, for messages @throws TsrunError invalid: `FILE:LINE: what was expected` */
export function parseDockerfile(text: string, file: string): Dockerfile {
  const { escapeCharacter, syntax, instructions } = readLines(text, file)
  const globalArgs: Instruction[] = []
  const stages: { from: Instruction; name: string | undefined; base: string; instructions: Instruction[] }[] = []
  for (const source of instructions) {
    const instruction = parseInstruction(source, escapeCharacter)
    const stage = stages.at(-1)
    if (instruction.keyword === 'FROM') {
      const [base = '', , name] = rawWords(instruction.text, escapeCharacter)
      stages.push({ from: instruction, base, name: name?.toLowerCase(), instructions: [] })
    } else if (stage !== undefined) stage.instructions.push(instruction)
    else if (instruction.keyword === 'ARG') globalArgs.push(instruction)
    else throw syntaxError(source, `${instruction.keyword} before the first FROM: expected FROM or ARG`)
  }
  if (stages.length === 0) throw syntaxError({ file, line: 1 }, 'there is no FROM: expected FROM IMAGE')
  const seen = new Set<string>()
  for (const { name, from } of stages) {
    if (name !== undefined && seen.has(name)) throw syntaxError(from, `a second stage is called "${name}"`)
    if (name !== undefined) seen.add(name)
  }
  return {
    escapeCharacter,
    ...(syntax === undefined ? {} : { syntax }),
    globalArgs,
    stages: stages.map(({ name, ...stage }, index) => ({ index, ...stage, ...(name === undefined ? {} : { name }) })),
  }
}
