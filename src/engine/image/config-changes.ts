// `--change` of import and commit: the Dockerfile instructions that only change the config, applied to one. Pure.

import { TsrunError } from '../../model/errors.ts'
import type { ContainerDefaults } from '../../model/image.ts'
import { applyConfig, configInstructions } from '../build/config-instructions.ts'
import { parseInstruction } from '../build/dockerfile/instruction.ts'
import { readLines } from '../build/dockerfile/lines.ts'

/** Applies instructions in order. @throws TsrunError invalid, naming the instruction */
export function applyChanges(defaults: ContainerDefaults, instructions: readonly string[]): ContainerDefaults {
  let hasOwnCommand = false
  return instructions.reduce((config, text) => {
    try {
      const changed = applyChange(config, text, hasOwnCommand)
      hasOwnCommand ||= changed.Cmd !== config.Cmd
      return changed
    } catch (error) {
      if (!(error instanceof TsrunError)) throw error
      const reason = error.message.replace(/^--change:\d+: /, '')
      throw new TsrunError('invalid', 'invalid-change', `invalid change "${text}": ${reason}`, {
        hint: error.hint ?? `known instructions: ${configInstructions.join(', ')}`,
        cause: error,
      })
    }
  }, defaults)
}

/** @param hasOwnCommand a change before has set CMD: ENTRYPOINT then leaves it */
function applyChange(config: ContainerDefaults, text: string, hasOwnCommand: boolean): ContainerDefaults {
  const [source, ...others] = readLines(text, '--change').instructions
  if (source === undefined || others.length > 0)
    throw new TsrunError('invalid', 'invalid-change', 'expected one instruction')
  const lookup = (name: string) => config.Env?.find(entry => entry.startsWith(`${name}=`))?.slice(name.length + 1)
  const instruction = parseInstruction(source, '\\')
  const scope = { lookup, escapeCharacter: '\\' as const, hasOwnCommand }
  const changed = applyConfig(config, instruction, scope)
  if (changed !== undefined) return changed
  throw new TsrunError(
    'invalid',
    'invalid-change',
    `"${instruction.keyword}" is not an instruction that changes the config`,
  )
}
