// What happens to containers, networks, volumes and images: told to whoever listens in this process, and written down for
// everybody else (see event-log.ts).

import type { EventLog } from './event-log.ts'

/** One thing that happened. */
export interface EngineEvent {
  /** RFC 3339. */
  readonly time: string
  readonly type: 'container' | 'network' | 'image' | 'volume'
  /** `create`, `start`, `die`, `destroy` ...: docker's words. */
  readonly action: string
  readonly id: string
  readonly name: string
  readonly attributes?: Readonly<Record<string, string>>
}

/** From when to when. */
export interface EventRange {
  /** RFC 3339 bounds, compared as instants. Without `since`, only what comes from now on. */
  readonly since?: string
  readonly until?: string
  /** Ends a wait for further events. Waiting ends by itself at `until`. */
  readonly signal?: AbortSignal
}

/** What happens in this process, and, through the file of events, in all others. */
export class EventBus {
  readonly #listeners = new Set<(event: EngineEvent) => void>()
  readonly #log: EventLog | undefined

  /** @internal */
  constructor(log?: EventLog) {
    this.#log = log
  }

  /** @returns a function that ends the subscription to what this process does */
  subscribe(listener: (event: EngineEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** @internal */
  emit(what: Omit<EngineEvent, 'time'>): void {
    const event: EngineEvent = { time: new Date().toISOString(), ...what }
    this.#log?.append(JSON.stringify(event))
    for (const listener of this.#listeners) listener(event)
  }

  /** What all tsrun processes did and do, in order, until `until` or the signal; without both for ever. */
  async *stream(range: EventRange = {}): AsyncGenerator<EngineEvent> {
    const since = range.since === undefined ? Date.now() : Date.parse(range.since)
    const until = range.until === undefined ? Number.POSITIVE_INFINITY : Date.parse(range.until)
    const over = new AbortController()
    const isWaiting = until !== Number.POSITIVE_INFINITY && until > Date.now()
    const timer = isWaiting ? setTimeout(() => over.abort(), longestTimer(until)) : undefined
    const stop = range.signal === undefined ? over.signal : AbortSignal.any([over.signal, range.signal])
    try {
      for await (const line of this.#log?.lines(until <= Date.now() ? undefined : stop) ?? []) {
        const event = parseEvent(line)
        if (event === undefined) continue
        const time = Date.parse(event.time)
        if (time > until || range.signal?.aborted === true) return
        if (time >= since) yield event
      }
    } finally {
      clearTimeout(timer)
    }
  }
}

/** setTimeout takes 31 bits. */
function longestTimer(until: number): number {
  return Math.min(until - Date.now(), 2 ** 31 - 1)
}

/** @returns undefined for a line that was cut off, e.g. by a full disk */
function parseEvent(line: string): EngineEvent | undefined {
  try {
    return JSON.parse(line) as EngineEvent
  } catch {
    return undefined
  }
}
