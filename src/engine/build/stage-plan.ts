// Which stages are needed for the target, and what each of them begins with. Pure.

import { TsrunError } from '../../model/errors.ts'
import type { BuildOptions } from './build-types.ts'
import { Words } from './config-instructions.ts'
import { flagValue, type Instruction } from './dockerfile/instruction.ts'
import type { Dockerfile, Stage } from './dockerfile/parse-dockerfile.ts'
import { syntaxError } from './dockerfile/syntax-error.ts'
import { type EscapeCharacter, rawWords } from './dockerfile/words.ts'
import { namedContext } from './named-context.ts'

export type StageBase =
  | { readonly kind: 'scratch' }
  | { readonly kind: 'stage'; readonly index: number }
  | { readonly kind: 'image'; readonly reference: string }

export interface PlannedStage {
  readonly stage: Stage
  readonly base: StageBase
  readonly escapeCharacter: EscapeCharacter
  /** Its layers go into the image that is built. */
  readonly isForImage: boolean
  readonly isOnlyStage: boolean
}

export interface BuildPlan {
  readonly target: number
  /** The stages that are needed, by index. */
  readonly stages: ReadonlyMap<number, PlannedStage>
  /** Any stage, for what only shows while building: ONBUILD of a base image may take files from one. */
  readonly stageAt: (index: number) => PlannedStage
  /** The stage that a name or number behind --from means; undefined: an image. */
  readonly stageOf: (name: string) => number | undefined
}

/** @param globals ARGs before the first FROM @throws TsrunError invalid: no such target, a circle of stages */
export function planBuild(
  dockerfile: Dockerfile,
  globals: ReadonlyMap<string, string>,
  options: Pick<BuildOptions, 'target' | 'namedContexts'> = {},
): BuildPlan {
  const { target } = options
  const { stages, escapeCharacter } = dockerfile
  const byName = new Map(stages.flatMap(({ name, index }) => (name === undefined ? [] : [[name, index] as const])))
  const stageOf = (name: string): number | undefined =>
    byName.get(name.toLowerCase()) ??
    (/^\d{1,6}$/.test(name) && Number(name) < stages.length ? Number(name) : undefined)
  const targetIndex = target === undefined ? stages.length - 1 : stageOf(target)
  if (targetIndex === undefined)
    throw new TsrunError('invalid', 'no-such-stage', `cannot build the stage "${target}": there is no such stage`, {
      hint:
        byName.size === 0 ? 'no stage has a name: FROM IMAGE AS NAME' : `there are: ${[...byName.keys()].join(', ')}`,
    })
  const bases = stages.map(stage => baseOf(stage, { escapeCharacter, globals, byName, options }))
  const found = new Map<number, PlannedStage>()
  const visit = (index: number, way: readonly number[]): void => {
    const stage = stages[index]
    const base = bases[index]
    if (stage === undefined || base === undefined) return
    if (way.includes(index)) {
      const names = [...way.slice(way.indexOf(index)), index].map(each => stages[each]?.name ?? String(each))
      throw syntaxError(stage.from, `the stages need each other in a circle: ${names.join(' -> ')}`)
    }
    if (found.has(index)) return
    for (const next of needs(stage, base, { stageOf, escapeCharacter, options })) visit(next, [...way, index])
    found.set(index, { stage, base, escapeCharacter, isForImage: false, isOnlyStage: stages.length === 1 })
  }
  const stageAt = (index: number): PlannedStage => {
    if (!found.has(index)) visit(index, [])
    const planned = found.get(index)
    if (planned === undefined) throw new Error(`there is no stage ${index}`)
    return planned
  }
  visit(targetIndex, [])
  for (let index: number | undefined = targetIndex; index !== undefined; ) {
    const planned: PlannedStage | undefined = found.get(index)
    if (planned === undefined) break
    found.set(index, { ...planned, isForImage: true })
    index = planned.base.kind === 'stage' ? planned.base.index : undefined
  }
  return { target: targetIndex, stages: new Map(found), stageOf, stageAt }
}

/** What FROM names: only a stage before it is one. */
function baseOf(
  { index, from, base }: Stage,
  scope: {
    readonly escapeCharacter: EscapeCharacter
    readonly globals: ReadonlyMap<string, string>
    readonly byName: ReadonlyMap<string, number>
    readonly options: Pick<BuildOptions, 'namedContexts'>
  },
): StageBase {
  const words = new Words(from, { lookup: name => scope.globals.get(name), escapeCharacter: scope.escapeCharacter })
  const reference = words.expand(base)
  if (reference === '')
    throw syntaxError(
      from,
      `FROM ${base}: the name is empty`,
      'give the ARG before the first FROM a default, or --build-arg',
    )
  if (reference === 'scratch') return { kind: 'scratch' }
  const named = namedContext(scope.options, reference)
  if (named !== undefined && 'image' in named) return { kind: 'image', reference: named.image }
  if (named !== undefined)
    throw syntaxError(from, `FROM ${base}: --build-context makes a directory of it, and a stage begins with an image`)
  const stage = scope.byName.get(reference.toLowerCase())
  return stage !== undefined && stage < index ? { kind: 'stage', index: stage } : { kind: 'image', reference }
}

function needs(
  stage: Stage,
  base: StageBase,
  {
    stageOf,
    escapeCharacter,
    options,
  }: {
    readonly stageOf: (name: string) => number | undefined
    readonly escapeCharacter: EscapeCharacter
    readonly options: Pick<BuildOptions, 'namedContexts'>
  },
): number[] {
  const names = stage.instructions.flatMap(instruction => fromNames(instruction, escapeCharacter))
  const sources = names.flatMap(name => (namedContext(options, name) === undefined ? (stageOf(name) ?? []) : []))
  return base.kind === 'stage' ? [base.index, ...sources] : sources
}

/** What an instruction takes files from. */
function fromNames(instruction: Instruction, escapeCharacter: EscapeCharacter): string[] {
  if (instruction.keyword === 'COPY') {
    const from = flagValue(instruction, 'from')
    return from === undefined ? [] : rawWords(from, escapeCharacter)
  }
  if (instruction.keyword !== 'RUN') return []
  return instruction.flags.flatMap(({ name, value }) => {
    const from = name === 'mount' ? /(?:^|,)from=([^,]+)/.exec(value)?.[1] : undefined
    return from === undefined ? [] : [from]
  })
}
