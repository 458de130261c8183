// `ps --filter`: what each key says of one container, as docker has it.

import type { ContainerView } from '../engine/container/container-service.ts'
import type { Engine } from '../engine/engine.ts'
import { TsrunError } from '../model/errors.ts'
import { type Filters, matchesLabel, parseFilters, parseTruth, passesFilters } from './filters.ts'

const keys = [
  'ancestor',
  'before',
  'exited',
  'expose',
  'health',
  'id',
  'is-task',
  'label',
  'name',
  'network',
  'publish',
  'since',
  'status',
  'volume',
]
const statuses = ['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead']
const healths = ['starting', 'healthy', 'unhealthy', 'none']

/** @throws TsrunError invalid, for a key or a value that can never fit */
export function parsePsFilters(texts: readonly string[] | undefined): Filters {
  const filters = parseFilters(texts ?? [], keys)
  oneOf(filters, 'status', statuses)
  oneOf(filters, 'health', healths)
  for (const value of filters.get('exited') ?? [])
    if (!/^\d{1,3}$/.test(value)) throw invalid('exited', value, 'an exit code, e.g. exited=0')
  for (const key of ['publish', 'expose']) for (const value of filters.get(key) ?? []) parsePorts(key, value)
  return filters
}

/** @returns whether a container passes; asks the engine only for what the filters name @throws TsrunError not-found */
export async function psTest(engine: Engine, filters: Filters): Promise<(view: ContainerView) => boolean> {
  if (filters.size === 0) return () => true
  const created = (key: string) =>
    new Map((filters.get(key) ?? []).map(name => [name, engine.containers.find(name).createdAt]))
  const before = created('before')
  const since = created('since')
  const ancestors = new Map<string, readonly string[]>()
  for (const name of filters.get('ancestor') ?? []) ancestors.set(name, await layersOf(engine, name))
  const networks = filters.has('network') ? engine.networks.list() : []
  return view => {
    const { container, state } = view
    const { spec, image } = container
    return passesFilters(filters, {
      ancestor: value => isNamed(image, value) || descends(image.layerDirs, ancestors.get(value) ?? []),
      before: value => container.createdAt < (before.get(value) ?? ''),
      exited: value => state.status === 'exited' && String(state.exit?.exitCode) === value,
      expose: value => portsOf(exposedPorts(view), 'expose', value),
      health: value => (state.health?.status ?? 'none') === value,
      id: value => container.id.startsWith(value),
      'is-task': value => !parseTruth('is-task', value),
      label: value => matchesLabel(spec.labels ?? {}, value),
      name: value => namePattern(value).test(container.name) || namePattern(value).test(`/${container.name}`),
      network: value => {
        const id = networks.find(network => network.name === value || network.id.startsWith(value))?.id
        const wanted = spec.networks?.length ? spec.networks : [{ network: 'bridge' }]
        return (
          wanted.some(({ network }) => network === value || network === id) ||
          (id !== undefined && state.run?.endpoints.some(endpoint => endpoint.networkId === id) === true)
        )
      },
      publish: value => portsOf(publishedPorts(view), 'publish', value),
      since: value => container.createdAt > (since.get(value) ?? ''),
      status: value => state.status === value,
      volume: value => (spec.mounts ?? []).some(mount => mount.source === value || mount.target === value),
    })
  }
}

function oneOf(filters: Filters, key: string, known: readonly string[]): void {
  for (const value of filters.get(key) ?? []) if (!known.includes(value)) throw invalid(key, value, known.join(', '))
}

function invalid(key: string, value: string, hint: string): TsrunError {
  return new TsrunError('invalid', 'filter', `invalid filter "${key}=${value}"`, { hint })
}

function isNamed(image: { readonly reference: string; readonly id: string }, value: string): boolean {
  const untagged = image.reference.replace(/@.*$/, '').replace(/:[^:/]*$/, '')
  const id = image.id.replace('sha256:', '')
  return (
    image.reference === value ||
    untagged === value ||
    (/^[0-9a-f]{4,}$/.test(value.replace('sha256:', '')) && id.startsWith(value.replace('sha256:', '')))
  )
}

/** The layers of an image that is here, the topmost first; none where it is not. */
async function layersOf(engine: Engine, name: string): Promise<readonly string[]> {
  try {
    return (await engine.images.resolve(name)).layerDirs
  } catch (error) {
    if (error instanceof TsrunError && (error.kind === 'not-found' || error.kind === 'invalid')) return []
    throw error
  }
}

/** Whether an image stands on all layers of another. */
function descends(layers: readonly string[], base: readonly string[]): boolean {
  return (
    base.length > 0 &&
    layers.length >= base.length &&
    base.every((dir, index) => layers.at(index - base.length) === dir)
  )
}

interface Port {
  readonly port: number
  readonly protocol: string
}

/** docker means the container's side. */
function publishedPorts({ container, state }: ContainerView): Port[] {
  const ports = state.run?.endpoints.flatMap(endpoint => endpoint.ports) ?? container.ports
  return ports.map(({ containerPort, protocol }) => ({ port: containerPort, protocol }))
}

function exposedPorts(view: ContainerView): Port[] {
  const { container } = view
  const exposed = [...(container.exposed ?? []), ...(container.spec.expose ?? [])].map(text => {
    const [port = '', protocol = 'tcp'] = text.split('/')
    return { port: Number(port), protocol }
  })
  return [...exposed, ...publishedPorts(view)]
}

function portsOf(ports: readonly Port[], key: string, value: string): boolean {
  const { first, last, protocol } = parsePorts(key, value)
  return ports.some(each => each.port >= first && each.port <= last && each.protocol === protocol)
}

/** `80`, `80/udp`, `8000-8080/tcp`. */
function parsePorts(key: string, value: string): { first: number; last: number; protocol: string } {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(value)
  if (match === null) throw invalid(key, value, 'PORT[-PORT][/PROTOCOL], e.g. 80 or 8000-8080/tcp')
  return { first: Number(match[1]), last: Number(match[2] ?? match[1]), protocol: match[3] ?? 'tcp' }
}

/** As docker, a name is a regular expression; one that is none is taken by its letters. */
function namePattern(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch {
    return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  }
}
