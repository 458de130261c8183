import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import type { EngineEvent } from '../../engine/events.ts'
import { printable } from '../../engine/ids.ts'
import { collect } from '../collect.ts'
import { parseFilters } from '../filters.ts'
import { renderRow } from '../format.ts'
import { parseTime } from '../parse-time.ts'
import { print } from '../print.ts'

interface EventFlags {
  readonly since?: string
  readonly until?: string
  readonly filter?: string[]
  readonly format?: string
}

export function register(program: Command): Command {
  return addEvents(program)
}

/** Also `system events`. */
export function addEvents(parent: Command): Command {
  return parent
    .command('events')
    .description('Show what happens to containers, images, networks and volumes, as it happens.')
    .option('--since <time>', 'also what has happened since: RFC 3339, seconds since 1970, or how long ago: 10m')
    .option('--until <time>', 'end there')
    .option('-f, --filter <key=value>', 'only those that match, e.g. type=container, event=die, label=a=b', collect)
    .option('--format <format>', 'json, or a Go template')
    .addHelpText('after', '\nExample:\n  tsrun events --since 1h --filter event=die')
    .action(async (flags: EventFlags) => {
      const filters = parseFilters(flags.filter ?? [], filterKeys)
      const render = flags.format === undefined || flags.format === '' ? undefined : renderRow(flags.format)
      const stop = new AbortController()
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
      const range = {
        signal: stop.signal,
        ...(flags.since === undefined ? {} : { since: parseTime('--since', flags.since) }),
        ...(flags.until === undefined ? {} : { until: parseTime('--until', flags.until) }),
      }
      await using engine = await Engine.open()
      for await (const event of engine.events.stream(range)) {
        if (!matches(event, filters)) continue
        print(`${render === undefined ? toLine(event) : render(toDocker(event))}\n`)
      }
    })
}

const filterKeys = ['container', 'event', 'image', 'label', 'network', 'type', 'volume', 'scope'] as const

export function matches(event: EngineEvent, filters: ReadonlyMap<string, readonly string[]>): boolean {
  const { attributes = {} } = event
  const names = (type: EngineEvent['type'], value: string) =>
    event.type === type && (event.name === value || event.id.startsWith(value))
  const tests: Readonly<Record<(typeof filterKeys)[number], (value: string) => boolean>> = {
    container: value => names('container', value) || (attributes.container?.startsWith(value) ?? false),
    // `exec_start: sh` and `health_status: healthy` are also meant by the word alone.
    event: value => event.action === value || event.action.split(':')[0] === value,
    image: value => names('image', value) || attributes.image === value || attributes.image?.split(':')[0] === value,
    label: value => {
      const at = value.indexOf('=')
      const key = at < 0 ? value : value.slice(0, at)
      return Object.hasOwn(attributes, key) && (at < 0 || attributes[key] === value.slice(at + 1))
    },
    network: value => names('network', value),
    type: value => event.type === value,
    volume: value => names('volume', value),
    scope: value => value === 'local',
  }
  return [...filters].every(([key, values]) =>
    values.some(value => tests[key as (typeof filterKeys)[number]]?.(value) === true),
  )
}

/** docker's line: `<time> container start <id> (image=busybox, name=web)`. */
function toLine(event: EngineEvent): string {
  const pairs = Object.entries({ ...event.attributes, name: event.name }).sort(([a], [b]) => (a < b ? -1 : 1))
  const attributes = pairs.map(([key, value]) => printable(`${key}=${value}`)).join(', ')
  return `${localTime(event.time)} ${event.type} ${printable(event.action)} ${event.id} (${attributes})`
}

/** docker's fields. */
export function toDocker(event: EngineEvent): Record<string, unknown> {
  const ms = Date.parse(event.time)
  const container = event.type === 'container'
  const fields = {
    ...(container ? { status: event.action, id: event.id, from: event.attributes?.image ?? '' } : {}),
    Type: event.type,
    Action: event.action,
    Actor: { ID: event.id, Attributes: { ...event.attributes, name: event.name } },
    scope: 'local',
    time: Math.floor(ms / 1000),
    timeNano: ms * 1e6,
  }
  const forTemplates = { ID: event.id, Status: event.action, From: event.attributes?.image ?? '', Scope: 'local' }
  const times = { Time: fields.time, TimeNano: fields.timeNano }
  // docker writes these small in JSON and with capitals in templates: own, but not enumerable, they do not show in JSON.
  for (const [name, value] of Object.entries({ ...forTemplates, ...times }))
    Object.defineProperty(fields, name, { value })
  return fields
}

/** RFC 3339 with nanoseconds and this machine's offset. */
function localTime(time: string): string {
  const date = new Date(time)
  const offset = -date.getTimezoneOffset()
  const two = (value: number) => String(Math.floor(Math.abs(value))).padStart(2, '0')
  const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, -1)
  return `${local}000000${offset < 0 ? '-' : '+'}${two(offset / 60)}:${two(offset % 60)}`
}
