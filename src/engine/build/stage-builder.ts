// One stage: its instructions in their order, each of which the cache may know already.

import { sha256 } from '../../drivers/image/digest.ts'
import { keep } from '../../drivers/image/keep.ts'
import type { ContainerDefaults, Digest, HistoryEntry, Platform } from '../../model/image.ts'
import { formatPlatform, parsePlatform } from '../image/manifest.ts'
import { findBaseImage } from './base-image.ts'
import { type BuildParts, layerDirectories, type StageLayer } from './build-parts.ts'
import { applyConfig, commandOf, Words } from './config-instructions.ts'
import { download, planCopy } from './copy-request.ts'
import { copyInto, digestOfFiles, makeDirectory } from './copy-step.ts'
import { flagValue, type Instruction, parseInstruction } from './dockerfile/instruction.ts'
import { readLines } from './dockerfile/lines.ts'
import { rawWords } from './dockerfile/words.ts'
import type { FileSource } from './file-source.ts'
import { parseRunMount } from './mount-flags.ts'
import { asStageLayer, storeLayer } from './new-layer.ts'
import { runStep } from './run-step.ts'
import { shellCommand } from './shell-command.ts'
import type { PlannedStage } from './stage-plan.ts'
import type { BuiltLayer, CachedStep } from './step-cache.ts'
import type { StepReport } from './step-log.ts'
import { findMounts, keyOfMounts, prepareMounts } from './step-mounts.ts'
import { StageVariables } from './variables.ts'

/** Raised when a step of the same key would not make the same layer any more. */
const CACHE_VERSION = 1

/** What a stage has become. */
export interface BuiltStage {
  readonly layers: readonly StageLayer[]
  readonly config: ContainerDefaults
  readonly history: readonly HistoryEntry[]
  readonly platform: Platform
  readonly author?: string
  /** RFC 3339: when its newest layer was made; undefined where nothing says. */
  readonly created: string | undefined
}

export interface StageScope {
  readonly plan: PlannedStage
  /** The ARGs before the first FROM, with those that every build has. */
  readonly globals: ReadonlyMap<string, string>
  /** An earlier stage, which may have to be built first. */
  readonly stage: (index: number) => Promise<BuiltStage>
  /** What --from names. */
  readonly sourceOf: (from: string | undefined) => Promise<FileSource>
}

/** Makes a layer's tree in `<folder>/fs`. */
type Make = (folder: string, layerDirs: readonly string[], step: StepReport) => Promise<void>

export class StageBuilder {
  readonly #parts: BuildParts
  readonly #scope: StageScope
  readonly #variables: StageVariables
  #platform: Platform
  #layers: StageLayer[] = []
  #config: ContainerDefaults = {}
  #history: HistoryEntry[] = []
  #created: string | undefined
  #author: string | undefined
  #hasOwnCommand = false
  #stepNumber = 1
  #stepCount = 1

  constructor(parts: BuildParts, scope: StageScope) {
    this.#parts = parts
    this.#scope = scope
    this.#platform = parts.platform
    this.#variables = new StageVariables(new Map(Object.entries(parts.options.buildArgs ?? {})), scope.globals)
  }

  async build(): Promise<BuiltStage> {
    const { plan } = this.#scope
    const { instructions } = plan.stage
    this.#stepCount = 1 + instructions.filter(makesLayer).length
    const triggers = await this.#begin()
    this.#stepCount += triggers.filter(makesLayer).length
    for (const instruction of [...triggers, ...instructions]) {
      this.#parts.signal.throwIfAborted()
      await this.#perform(instruction)
    }
    return {
      layers: this.#layers,
      config: this.#config,
      history: this.#history,
      platform: this.#platform,
      created: this.#created,
      ...(this.#author === undefined ? {} : { author: this.#author }),
    }
  }

  /** FROM. @returns what the base image asks for with ONBUILD */
  async #begin(): Promise<Instruction[]> {
    const { plan } = this.#scope
    const { from } = plan.stage
    const lookup = (name: string) => this.#scope.globals.get(name)
    const wanted = flagValue(from, 'platform')
    if (wanted !== undefined)
      this.#platform = parsePlatform(new Words(from, { lookup, escapeCharacter: plan.escapeCharacter }).expand(wanted))
    if (plan.base.kind === 'stage') this.#adopt(await this.#scope.stage(plan.base.index))
    else if (plan.base.kind === 'image') {
      const { reference } = plan.base
      await this.#parts.steps.during(this.#title(`FROM ${reference}`), async step => {
        const { record, layers } = await findBaseImage(this.#parts, reference, { platform: this.#platform, step })
        const { config, history, created, author, os, architecture, variant } = record.config
        this.#adopt({
          layers,
          config: config ?? {},
          history: history ?? [],
          created,
          platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
          ...(author === undefined ? {} : { author }),
        })
      })
    }
    this.#stepNumber += 1
    const { OnBuild, ...config } = this.#config
    this.#config = config
    this.#variables.environment = config.Env ?? []
    return (OnBuild ?? []).flatMap(trigger => {
      const { instructions } = readLines(trigger, `ONBUILD of ${plan.stage.base}`)
      return instructions.map(source => parseInstruction(source, plan.escapeCharacter))
    })
  }

  #adopt(base: BuiltStage): void {
    this.#layers = [...base.layers]
    this.#config = base.config
    this.#history = [...base.history]
    this.#platform = base.platform
    this.#created = base.created
    this.#author = base.author
  }

  async #perform(instruction: Instruction): Promise<void> {
    const { keyword } = instruction
    if (keyword === 'RUN') return this.#run(instruction)
    if (keyword === 'COPY' || keyword === 'ADD') return this.#copy(instruction)
    if (keyword === 'ARG') return this.#argument(instruction)
    if (keyword === 'MAINTAINER') this.#author = this.#words(instruction).one()
    const scope = { ...this.#wordScope(), hasOwnCommand: this.#hasOwnCommand }
    this.#config = applyConfig(this.#config, instruction, scope) ?? this.#config
    if (keyword === 'CMD') this.#hasOwnCommand = true
    if (keyword === 'ENV') this.#variables.environment = this.#config.Env ?? []
    if (keyword === 'WORKDIR') await this.#workingDirectory(instruction)
    else this.#note(`${keyword} ${instruction.text}`)
  }

  #argument(instruction: Instruction): void {
    const words = this.#words(instruction)
    for (const word of rawWords(instruction.text, this.#scope.plan.escapeCharacter)) {
      const equals = word.indexOf('=')
      const name = words.expand(equals < 0 ? word : word.slice(0, equals))
      this.#variables.declare(name, equals < 0 ? undefined : words.expand(word.slice(equals + 1)))
    }
    this.#note(`ARG ${instruction.text}`)
  }

  async #workingDirectory({ text }: Instruction): Promise<void> {
    const path = this.#config.WorkingDir ?? '/'
    const user = this.#config.User || undefined
    await this.#layer(`WORKDIR ${text}`, ['WORKDIR', path, user], (folder, layerDirs) =>
      makeDirectory({ folder, layerDirs }, path, user),
    )
  }

  async #copy(instruction: Instruction): Promise<void> {
    const words = this.#words(instruction)
    const { sourceOf } = this.#scope
    const plan = await planCopy(instruction, { words, sourceOf, workingDir: this.#config.WorkingDir })
    const { destination, chown, chmod, keepsParents, unpacks, remote } = plan
    const key = [
      instruction.keyword,
      await digestOfFiles(plan),
      destination,
      chown,
      chmod?.text,
      keepsParents,
      unpacks,
      remote,
    ]
    await this.#layer(describe(instruction), key, async (folder, layerDirs) => {
      const fetched = await Promise.all(remote.map(file => download(file, this.#parts.signal)))
      await copyInto(this.#parts, { folder, layerDirs }, { ...plan, inline: [...plan.inline, ...fetched] })
    })
  }

  async #run(instruction: Instruction): Promise<void> {
    const words = this.#words(instruction)
    const directory = this.#config.WorkingDir ?? '/'
    const values = instruction.flags.filter(flag => flag.name === 'mount').map(flag => words.expand(flag.value))
    const wanted = values.map(value => parseRunMount(value, instruction, directory))
    const mounts = await findMounts(wanted, this.#scope.sourceOf)
    const network = flagValue(instruction, 'network')
    const { args, script } = shellCommand(instruction, commandOf(instruction, this.#config))
    const variables = this.#variables.argumentEntries()
    const { Env = [], User } = this.#config
    const key = ['RUN', args, script, variables, Env, User, directory, await keyOfMounts(mounts), network]
    const text = describe(instruction)
    await this.#layer(text, key, async (folder, layerDirs, step) => {
      const prepared = await prepareMounts(this.#parts, instruction, mounts)
      try {
        const own = script === undefined ? [] : [script.mount(this.#parts.staging)]
        await runStep(
          this.#parts,
          folder,
          {
            args,
            env: [...this.#variables.proxyEntries(), ...variables, ...prepared.env],
            config: this.#config,
            layerDirs,
            mounts: [...prepared.mounts, ...own],
            network: network === undefined ? undefined : words.expand(network),
            text: args.join(' '),
          },
          step,
        )
      } finally {
        prepared.release()
      }
    })
  }

  /** A step that may make a layer. @param key all that the result depends on, but for the layers below */
  async #layer(text: string, key: readonly unknown[], make: Make): Promise<void> {
    const { steps, limit, staging, epoch, cache } = this.#parts
    const title = this.#title(text)
    this.#stepNumber += 1
    const below = this.#layers.at(-1)?.chainId
    const platform = formatPlatform(this.#platform)
    const digest = sha256(
      JSON.stringify([CACHE_VERSION, below ?? '', platform, epoch ?? '', ...key.map(part => part ?? '')]),
    )
    const known = await this.#cached(digest)
    if (known !== undefined) {
      steps.begin(title).cached()
      this.#add(text, known.layer, known.createdAt)
      return
    }
    const layer = await limit(() =>
      steps.during(title, async step => {
        this.#parts.signal.throwIfAborted()
        const folder = staging.temporary('step')
        await make(folder, await layerDirectories(this.#parts, this.#layers), step)
        return storeLayer(this.#parts, folder, { below, isForImage: this.#scope.plan.isForImage })
      }),
    )
    const createdAt = new Date(epoch === undefined ? Date.now() : epoch * 1000).toISOString()
    cache.put({ key: digest, createdBy: text, createdAt, ...(layer === undefined ? {} : { layer }) })
    this.#add(text, layer, createdAt)
  }

  async #cached(key: Digest): Promise<CachedStep | undefined> {
    const { cache, options, store, staging, layers } = this.#parts
    const { index, name } = this.#scope.plan.stage
    const isFresh = options.noCacheStages?.some(each => each.toLowerCase() === name || each === String(index))
    if (options.noCache === true || isFresh === true) return undefined
    const known = cache.find(key)
    if (known === undefined) return undefined
    if (known.layer !== undefined) await keep(store.files, staging, [known.layer.chainId, known.layer.diffId])
    return cache.isSound(known, layers) ? known : undefined
  }

  #add(text: string, layer: BuiltLayer | undefined, created: string): void {
    this.#created = created
    if (layer === undefined) {
      this.#note(text)
      return
    }
    this.#layers.push(asStageLayer(layer))
    this.#history.push({ created, created_by: text })
  }

  /** An instruction that made no layer. */
  #note(text: string): void {
    const created = this.#created
    this.#history.push({ ...(created === undefined ? {} : { created }), created_by: text, empty_layer: true })
  }

  #wordScope() {
    return { lookup: this.#variables.lookup, escapeCharacter: this.#scope.plan.escapeCharacter }
  }

  #words(instruction: Instruction): Words {
    return new Words(instruction, this.#wordScope())
  }

  #title(text: string): string {
    const { stage, isOnlyStage } = this.#scope.plan
    const name = isOnlyStage ? '' : `${stage.name ?? `stage-${stage.index}`} `
    const [line = ''] = text.split('\n', 1)
    return `[${name}${this.#stepNumber}/${this.#stepCount}] ${line}`
  }
}

function makesLayer({ keyword }: Instruction): boolean {
  return keyword === 'RUN' || keyword === 'COPY' || keyword === 'ADD' || keyword === 'WORKDIR'
}

/** The instruction as one line or, with heredocs, as it was written. */
function describe({ keyword, flags, text, heredocText }: Instruction): string {
  const words = flags.map(({ name, value }) => (value === '' ? `--${name}` : `--${name}=${value}`))
  const line = [keyword, ...words, text].join(' ')
  return heredocText === '' ? line : `${line}\n${heredocText.trimEnd()}`
}
