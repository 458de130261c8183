// Image references as docker writes them (grammar of github.com/distribution/reference): parsed, normalised, formatted.

import { TsrunError } from '../../model/errors.ts'
import { type ImageReference, isDigest } from '../../model/image.ts'

const defaultRegistry = 'docker.io'
const domainPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$/
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/

/**
 * Parses `text` as a user writes it: registry, `library/` and `:latest` may be missing.
 * @throws TsrunError invalid, with the part that is wrong
 */
export function parseReference(text: string): ImageReference {
  const reject = (reason: string, hint?: string): TsrunError =>
    new TsrunError('invalid', 'invalid-reference', `invalid image reference "${text}": ${reason}`, hint ? { hint } : {})
  if (text === '') throw reject('it is empty')
  const at = text.indexOf('@')
  const named = at < 0 ? text : text.slice(0, at)
  const digest = at < 0 ? undefined : text.slice(at + 1)
  if (digest !== undefined && !isDigest(digest)) {
    throw reject(`"${digest}" is not a digest`, 'a digest is "sha256:" and 64 lower-case hex digits')
  }
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1)
  const name = colon < 0 ? named : named.slice(0, colon)
  const tag = colon < 0 ? undefined : named.slice(colon + 1)
  if (tag !== undefined && !tagPattern.test(tag)) {
    throw reject(`"${tag}" is not a tag`, 'a tag has up to 128 letters, digits, ".", "_" or "-"')
  }
  if (at < 0 && /^[0-9a-f]{64}$/.test(name))
    throw reject('a repository name cannot be 64 hex digits: that is an image id')
  const { registry, repository } = splitName(name)
  if (!domainPattern.test(registry)) throw reject(`"${registry}" is not a registry host`)
  for (const component of repository.split('/')) {
    if (componentPattern.test(component)) continue
    if (component === '') throw reject('a part of the repository name is empty')
    const hint = /[A-Z]/.test(component) ? 'repository names are lower case' : undefined
    throw reject(`"${component}" cannot be part of a repository name`, hint)
  }
  if (registry.length + repository.length > 254) throw reject('the name is longer than 255 characters')
  return {
    registry,
    repository,
    ...(tag !== undefined ? { tag } : digest === undefined ? { tag: 'latest' } : {}),
    ...(digest !== undefined ? { digest } : {}),
  }
}

/** The full form, e.g. `docker.io/library/busybox:latest`: the key of the store. */
export function formatReference(reference: ImageReference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`
  return `${reference.registry}/${reference.repository}${tag}${digest}`
}

/** Registry and repository as docker shows them: without `docker.io/` and `library/`. */
export function familiarName(reference: ImageReference): string {
  const { registry, repository } = reference
  if (registry !== defaultRegistry) return `${registry}/${repository}`
  const short = repository.startsWith('library/') ? repository.slice(8) : repository
  // A one-part rest that would be read as a registry keeps its prefix.
  return short.includes('/') || repository.startsWith('library/') ? short : repository
}

/** The short form of the whole reference, e.g. `busybox:latest`. */
export function familiarReference(reference: ImageReference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`
  return `${familiarName(reference)}${tag}${digest}`
}

/** The part before the first slash is a registry when it could be no docker.io user: a dot, a port or localhost. */
function splitName(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/')
  const first = slash < 0 ? '' : name.slice(0, slash)
  const isHost = first.includes('.') || first.includes(':') || first === 'localhost' || first.toLowerCase() !== first
  if (!isHost) return { registry: defaultRegistry, repository: slash < 0 ? `library/${name}` : name }
  const registry = first === 'index.docker.io' ? defaultRegistry : first
  const rest = name.slice(slash + 1)
  return { registry, repository: registry === defaultRegistry && !rest.includes('/') ? `library/${rest}` : rest }
}
