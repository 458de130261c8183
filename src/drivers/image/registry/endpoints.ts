// Where a registry is to be asked: its mirrors first, then itself; and over which protocol.

import { defaultRegistry, isLoopback, parseMirror, type RegistriesConfig } from './registries-config.ts'

export interface RegistryEndpoint {
  /** Whose credentials it gets, and what messages call it. */
  readonly name: string
  readonly host: string
  /** Stands before the repository; empty for none. */
  readonly prefix: string
  /** Tried in this order; the second only where the first is not spoken. */
  readonly schemes: readonly ('https' | 'http')[]
  readonly isMirror: boolean
  readonly chunkBytes?: number
}

/** Who answers for docker.io. */
export const dockerHubHost = 'registry-1.docker.io'

/** The endpoints for pulling, best first. The registry itself is the last. */
export function endpointsOf(config: RegistriesConfig, registry: string): RegistryEndpoint[] {
  const settings = config.registries.get(registry)
  const mirrors = (settings?.mirrors ?? []).map((text): RegistryEndpoint => {
    const { scheme, host, prefix } = parseMirror(text)
    return {
      name: host,
      host,
      prefix,
      schemes: scheme === undefined ? schemesOf(config, host) : [scheme],
      isMirror: true,
    }
  })
  const chunkBytes = settings?.chunkBytes
  const itself: RegistryEndpoint = {
    name: registry,
    host: registry === defaultRegistry ? dockerHubHost : registry,
    prefix: '',
    schemes: schemesOf(config, registry),
    isMirror: false,
    ...(chunkBytes === undefined ? {} : { chunkBytes }),
  }
  return [...mirrors, itself]
}

/** Whether a host may be asked without TLS, or with a certificate of anybody's. */
export function isInsecure(config: RegistriesConfig, host: string): boolean {
  return config.registries.get(host)?.isInsecure ?? isLoopback(host)
}

function schemesOf(config: RegistriesConfig, host: string): readonly ('https' | 'http')[] {
  return isInsecure(config, host) ? ['https', 'http'] : ['https']
}
