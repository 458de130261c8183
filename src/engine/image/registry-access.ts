// The way from a reference to the registries that may have it: which names it stands for, which endpoints are asked for each, and
// how what they answer becomes an error about the image.

import type { Credentials } from '../../drivers/image/registry/credentials.ts'
import { findCredentials } from '../../drivers/image/registry/docker-config.ts'
import { endpointsOf } from '../../drivers/image/registry/endpoints.ts'
import { HttpClient } from '../../drivers/image/registry/http-client.ts'
import { type RegistriesConfig, readRegistries } from '../../drivers/image/registry/registries-config.ts'
import { RegistryClient } from '../../drivers/image/registry/registry-client.ts'
import { asRegistryError } from '../../drivers/image/registry/registry-error.ts'
import { RegistrySession } from '../../drivers/image/registry/registry-session.ts'
import { TrustStore } from '../../drivers/image/registry/trust-store.ts'
import { TsrunError } from '../../model/errors.ts'
import type { ImageReference } from '../../model/image.ts'
import { familiarReference, parseReference } from './image-reference.ts'

/** Connections to registries, for one pull, push or login. */
export class RegistryAccess {
  readonly config: RegistriesConfig
  readonly #http = new HttpClient()
  readonly #trusts: TrustStore

  /** @param config default: what registries.json says */
  constructor(config: RegistriesConfig = readRegistries()) {
    this.config = config
    this.#trusts = new TrustStore(config)
  }

  /** One client for each endpoint that may be pulled from, the registry itself last. */
  clients({ registry, repository }: ImageReference, access: 'pull' | 'pull,push'): RegistryClient[] {
    const endpoints = endpointsOf(this.config, registry).filter(({ isMirror }) => access === 'pull' || !isMirror)
    return endpoints.map(endpoint => {
      const credentials = () => findCredentials(endpoint.name, repository)
      const session = new RegistrySession({
        endpoint,
        config: this.config,
        http: this.#http,
        trusts: this.#trusts,
        credentials,
      })
      return new RegistryClient(session, repository, access)
    })
  }

  /** A session with the registry itself and given credentials. */
  session(registry: string, credentials: Credentials): RegistrySession {
    const endpoint = endpointsOf(this.config, registry).at(-1)
    if (endpoint === undefined) throw new Error('every registry is an endpoint of its own')
    const parts = { endpoint, config: this.config, http: this.#http, trusts: this.#trusts }
    return new RegistrySession({ ...parts, credentials: async () => credentials })
  }

  /** Closes the connections. */
  close(): void {
    this.#http.close()
  }
}

/** What a name may stand for: a short one is looked for in every registry of `search`. @throws TsrunError invalid */
export function candidates(text: string, { search }: RegistriesConfig): ImageReference[] {
  const reference = parseReference(text)
  if (!isShort(text) || search.length === 0) return [reference]
  return search.map(registry => parseReference(`${registry}/${text}`))
}

/** Whether the name leaves the registry open. */
function isShort(text: string): boolean {
  const first = /^([^/]*)\//.exec(text.replace(/@.*$/, ''))?.[1]
  if (first === undefined) return true
  return !/[.:]/.test(first) && first !== 'localhost' && first.toLowerCase() === first
}

/** An error of the registry as one about the image: `cannot pull "busybox:latest": ...`. */
export function aboutImage(verb: 'pull' | 'push', reference: ImageReference, thrown: unknown): unknown {
  const error = asRegistryError(thrown)
  if (!(error instanceof TsrunError)) return error
  const { kind, code, message, hint } = error
  if (message.startsWith('cannot pull') || message.startsWith('cannot push')) return error
  return new TsrunError(kind, code, `cannot ${verb} "${familiarReference(reference)}": ${message}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  })
}
