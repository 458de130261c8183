// What RUN runs, with its heredocs: a script of its own, or input for a command that the shell reads for itself.

import { chmodSync, writeFileSync } from 'node:fs'
import type { Staging } from '../../drivers/image/staging.ts'
import type { MountSpec } from '../../model/container.ts'
import type { Instruction } from './dockerfile/instruction.ts'

/** A heredoc that begins with `#!`: a file in the container, which is run. */
export interface ScriptFile {
  readonly content: string
  /** Writes it down for one step. */
  mount(staging: Staging): MountSpec
}

/** @param command the instruction's own words, with the shell before them */
export function shellCommand(
  instruction: Instruction,
  command: readonly string[],
): { readonly args: readonly string[]; readonly script?: ScriptFile } {
  const [heredoc] = instruction.heredocs
  if (heredoc === undefined || instruction.list !== undefined) return { args: command }
  const isAlone = instruction.heredocs.length === 1 && /^\d*<<-?(["']?)\S+\1$/.test(instruction.text)
  // `RUN cat <<EOF > /file`: the shell knows heredocs itself.
  if (!isAlone) return { args: [...command.slice(0, -1), `${instruction.text}\n${instruction.heredocText}`] }
  if (!heredoc.content.startsWith('#!')) return { args: [...command.slice(0, -1), heredoc.content] }
  // In /dev, which is in no layer; where BuildKit has it.
  const target = `/dev/pipes/${heredoc.name}`
  const mount = (staging: Staging): MountSpec => {
    const source = staging.temporary('script')
    writeFileSync(source, heredoc.content)
    chmodSync(source, 0o755)
    return { type: 'bind', source, target, readonly: true }
  }
  return { args: [target], script: { content: heredoc.content, mount } }
}
