// The events of a build as people read them: one line for each thing that happens, as BuildKit prints them into a pipe; or, in a
// terminal, what goes on at the moment, with a tail of what it writes.

import { StringDecoder } from 'node:string_decoder'
import type { BuildEvent } from '../engine/build/build-types.ts'

export interface BuildView {
  event(event: BuildEvent): void
  /** Nothing more comes. */
  end(): void
}

/** The last lines of a step that failed, for the error. */
export interface FailedStep {
  readonly title: string
  readonly lines: readonly string[]
}

const TAIL_LINES = 10

/** Remembers what each step wrote last. */
export class OutputTail {
  readonly #lines = new Map<number, string[]>()
  #failed: FailedStep | undefined

  /** The first step that failed. */
  get failed(): FailedStep | undefined {
    return this.#failed
  }

  line(id: number, text: string): void {
    const lines = this.#lines.get(id) ?? []
    lines.push(text)
    if (lines.length > TAIL_LINES) lines.shift()
    this.#lines.set(id, lines)
  }

  of(id: number): readonly string[] {
    return this.#lines.get(id) ?? []
  }

  event(event: BuildEvent): void {
    if (event.kind === 'step' && event.state === 'failed')
      this.#failed ??= { title: event.title, lines: this.of(event.id) }
  }
}

/** Bytes of the streams of steps -> lines. */
class LineSplitter {
  readonly #open = new Map<string, { decoder: StringDecoder; rest: string }>()

  /** @returns the lines that are complete now */
  push(id: number, stream: string, bytes: Buffer): string[] {
    const key = `${id} ${stream}`
    const state = this.#open.get(key) ?? { decoder: new StringDecoder('utf8'), rest: '' }
    this.#open.set(key, state)
    const lines = `${state.rest}${state.decoder.write(bytes)}`.split('\n')
    state.rest = lines.pop() ?? ''
    // A program that never ends a line must not fill our memory.
    if (state.rest.length > 64 * 1024) {
      lines.push(state.rest)
      state.rest = ''
    }
    return lines.map(line => line.replace(/\r$/, ''))
  }

  /** What a step wrote behind its last newline. */
  flush(id: number): string[] {
    return ['stdout', 'stderr'].flatMap(stream => {
      const key = `${id} ${stream}`
      const rest = this.#open.get(key)?.rest ?? ''
      this.#open.delete(key)
      return rest === '' ? [] : [rest]
    })
  }
}

/** `#5 0.123 text`, one line for each thing that happens. */
export function plainView(write: (text: string) => void, tail: OutputTail): BuildView {
  const splitter = new LineSplitter()
  const show = (id: number, elapsedMs: number, lines: readonly string[]) => {
    for (const line of lines) {
      const text = `${seconds(elapsedMs, 3)} ${printable(line)}`
      tail.line(id, text)
      write(`#${id} ${text}\n`)
    }
  }
  return {
    event: event => {
      if (event.kind === 'note') write(`note: ${printable(event.text)}\n`)
      else if (event.kind === 'output')
        show(event.id, event.elapsedMs, splitter.push(event.id, event.stream, event.bytes))
      else if (event.kind === 'pull') {
        if (event.event.kind === 'layer' && (event.event.state === 'complete' || event.event.state === 'exists'))
          write(`#${event.id} ${event.event.digest} ${event.event.state}\n`)
      } else {
        const { id, title, state, elapsedMs } = event
        show(id, elapsedMs, splitter.flush(id))
        if (state === 'running') write(`#${id} ${printable(title)}\n`)
        else if (state === 'cached') write(`#${id} CACHED\n\n`)
        else if (state === 'done') write(`#${id} DONE ${seconds(elapsedMs, 1)}s\n\n`)
        else write(state === 'failed' ? `#${id} ERROR: ${printable(event.error ?? '')}\n\n` : `#${id} CANCELED\n\n`)
      }
      tail.event(event)
    },
    end: () => {},
  }
}

/** The steps that are done as lines, and below them, drawn again and again, those that go on. */
export function liveView(
  terminal: { write(text: string): void; readonly columns: number; readonly rows: number },
  tail: OutputTail,
): BuildView {
  const splitter = new LineSplitter()
  const running = new Map<number, { title: string; began: number; note: string }>()
  let drawn = 0
  const draw = (finished: readonly string[] = []) => {
    const width = Math.max(20, terminal.columns - 1)
    const room = Math.max(1, Math.floor((terminal.rows - 2) / Math.max(1, running.size)) - 1)
    const lines = [...running].flatMap(([id, step]) => [
      `=> ${step.title}${step.note}  ${seconds(performance.now() - step.began, 1)}s`,
      ...tail
        .of(id)
        .slice(-Math.min(room, 4))
        .map(line => `   # ${line}`),
    ])
    const up = drawn === 0 ? '' : `\x1b[${drawn}A`
    const shown = [...finished, ...lines].map(line => `\x1b[2K${cut(line, width)}\n`).join('')
    terminal.write(`${up}${shown}\x1b[J`)
    drawn = lines.length
  }
  const timer = setInterval(draw, 200)
  timer.unref()
  return {
    event: event => {
      tail.event(event)
      if (event.kind === 'note') draw([`note: ${printable(event.text)}`])
      else if (event.kind === 'output') {
        for (const line of splitter.push(event.id, event.stream, event.bytes)) tail.line(event.id, printable(line))
      } else if (event.kind === 'pull') {
        const step = running.get(event.id)
        if (step !== undefined && event.event.kind === 'layer')
          step.note = `  ${event.event.digest.slice(7, 19)} ${event.event.state}`
      } else {
        const { id, title, state, elapsedMs } = event
        if (state === 'running') {
          running.set(id, { title: printable(title), began: performance.now(), note: '' })
          draw()
          return
        }
        for (const line of splitter.flush(id)) tail.line(id, printable(line))
        running.delete(id)
        const mark = { cached: 'CACHED', done: `${seconds(elapsedMs, 1)}s`, failed: 'ERROR', canceled: 'CANCELED' }[
          state
        ]
        draw([`=> ${printable(title)}  ${mark}`])
      }
    },
    end: () => {
      clearInterval(timer)
      running.clear()
      draw()
    },
  }
}

/** What stands before the error of a build whose step failed. */
export function renderFailedStep({ title, lines }: FailedStep): string {
  return ['------', ` > ${printable(title)}:`, ...lines, '------', ''].join('\n')
}

/** What a step writes must not give orders to a terminal: its control sequences (ECMA-48: CSI, OSC) and characters are left out. */
function printable(text: string): string {
  return text.replace(controlSequence, '').replace(controlCharacter, '')
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not get through
const controlSequence = /\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: the same
const controlCharacter = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g

function cut(line: string, width: number): string {
  const text = line.replaceAll('\t', ' ')
  return text.length > width ? `${text.slice(0, width - 1)}…` : text
}

function seconds(ms: number, digits: number): string {
  return (ms / 1000).toFixed(digits)
}
