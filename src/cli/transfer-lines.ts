// What pull and push show: docker's line for each layer, with bars in a terminal, and one line for each step in a pipe.

import type { TransferEvent } from '../engine/image/transfer-events.ts'
import { formatBytes } from './table.ts'

/** Where the lines go. */
export interface LineOutput {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
}

type LayerEvent = Extract<TransferEvent, { kind: 'layer' }>

export type TransferVerb = 'pull' | 'push'

const drawEveryMs = 100
const widestBar = 50

export class TransferLines {
  readonly #out: LineOutput
  readonly #verb: TransferVerb
  readonly #isLive: boolean
  readonly #lines = new Map<string, LayerEvent>()
  readonly #printed = new Set<string>()
  #drawnLines = 0
  #drawnAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(out: LineOutput, verb: TransferVerb) {
    this.#out = out
    this.#verb = verb
    this.#isLive = out.isTTY === true
  }

  /** Takes in an event of a layer. */
  layer(event: LayerEvent): void {
    if (!this.#isLive) {
      const line = plainLine(event, this.#verb)
      // A state lasts for many chunks.
      if (line === undefined || this.#printed.has(line)) return
      this.#printed.add(line)
      this.#out.write(`${line}\n`)
      return
    }
    this.#lines.set(event.digest, event)
    this.#drawSoon()
  }

  /** Draws what has not been drawn yet. What is written afterwards stands below. */
  end(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#isLive && this.#lines.size > 0) this.#draw(true)
    this.#lines.clear()
    this.#printed.clear()
    this.#drawnLines = 0
  }

  #drawSoon(): void {
    const wait = this.#drawnAt + drawEveryMs - Date.now()
    if (wait <= 0) this.#draw(false)
    else this.#timer ??= setTimeout(() => this.#draw(false), wait)
  }

  #draw(isLast: boolean): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#drawnAt = Date.now()
    const { columns = 80, rows = 24 } = this.#out
    const all = [...this.#lines.values()]
    // What has left the screen at its top cannot be drawn again: what is done is left standing above, the rest must fit.
    const done = isLast ? all : all.length < rows ? [] : all.filter(isDone)
    for (const { digest } of done) this.#lines.delete(digest)
    const shown = isLast ? [] : [...this.#lines.values()].slice(0, rows - 1)
    const text = [...done, ...shown].map(event => `${liveLine(event, this.#verb, columns)}\x1b[K\n`).join('')
    const up = this.#drawnLines > 0 ? `\x1b[${this.#drawnLines}A` : ''
    this.#out.write(`${up}\r${text}\x1b[J`)
    this.#drawnLines = shown.length
  }
}

/** docker's line for a state, for a pipe; undefined for what only a bar can show. */
export function plainLine(event: LayerEvent, verb: TransferVerb): string | undefined {
  const text = words(event, verb)
  return text === undefined ? undefined : `${shortDigest(event)}: ${text}`
}

/** The line for a terminal, not wider than it. */
export function liveLine(event: LayerEvent, verb: TransferVerb, columns: number): string {
  const { current, total } = event
  const name = `${shortDigest(event)}:`
  const text = words(event, verb)
  if (text !== undefined || current === undefined || total === undefined)
    return `${name} ${text ?? 'Extracting'}`.slice(0, columns - 1)
  const head = `${name} ${verb === 'pull' ? 'Downloading' : 'Pushing'} `
  const numbers = `${formatBytes(current)}/${formatBytes(total)}`
  const room = Math.min(widestBar, columns - head.length - numbers.length - 5)
  return (room < 5 ? `${head}${numbers}` : `${head}${bar(current, total, room)}  ${numbers}`).slice(0, columns - 1)
}

/** `[=====>     ]`, `width` wide between the brackets. */
export function bar(current: number, total: number, width: number): string {
  const share = total <= 0 ? 1 : Math.min(1, Math.max(0, current / total))
  const filled = Math.floor(share * width)
  if (filled >= width) return `[${'='.repeat(width)}]`
  return `[${'='.repeat(filled)}>${' '.repeat(width - filled - 1)}]`
}

function words({ state, from }: LayerEvent, verb: TransferVerb): string | undefined {
  switch (state) {
    case 'exists':
      return verb === 'pull' ? 'Already exists' : 'Layer already exists'
    case 'waiting':
      return verb === 'pull' ? 'Pulling fs layer' : 'Preparing'
    case 'downloaded':
      return 'Download complete'
    case 'complete':
      return 'Pull complete'
    case 'compressing':
      return 'Compressing'
    case 'pushed':
      return 'Pushed'
    case 'mounted':
      return `Mounted from ${from}`
    default:
      return undefined
  }
}

function isDone({ state }: LayerEvent): boolean {
  return state === 'exists' || state === 'complete' || state === 'pushed' || state === 'mounted'
}

function shortDigest({ digest }: LayerEvent): string {
  return digest.slice(7, 19)
}
