// Where a registry is to be asked: its mirrors first, then itself; over which protocol, and trusting whom.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { hasCode } from '../../../ffi/errno.ts'
import { TsrunError } from '../../../model/errors.ts'
import type { TlsTrust } from './http-client.ts'
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
const dockerHubHost = 'registry-1.docker.io'

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

/** Whom to trust, by host: read when it is first needed, and that is never for plain HTTP. */
export class TrustStore {
  readonly #config: RegistriesConfig
  readonly #byHost = new Map<string, TlsTrust>()
  #system: readonly string[] | undefined

  constructor(config: RegistriesConfig) {
    this.#config = config
  }

  of(url: URL): TlsTrust {
    const known = this.#byHost.get(url.host)
    if (known !== undefined) return known
    const registry = url.host === dockerHubHost ? defaultRegistry : url.host
    const certs = this.#config.registries.get(registry)?.certs
    const isUnverified = isInsecure(this.#config, registry)
    const isPlain = url.protocol === 'http:'
    const trust: TlsTrust =
      isUnverified || isPlain
        ? { isUnverified }
        : { isUnverified, ca: [...this.#systemAuthorities(), ...(certs === undefined ? [] : readAuthorities(certs))] }
    if (!isPlain) this.#byHost.set(url.host, trust)
    return trust
  }

  #systemAuthorities(): readonly string[] {
    this.#system ??= systemAuthorities()
    return this.#system
  }
}

/** Whether a host may be asked without TLS, or with a certificate of anybody's. */
export function isInsecure(config: RegistriesConfig, host: string): boolean {
  return config.registries.get(host)?.isInsecure ?? isLoopback(host)
}

function schemesOf(config: RegistriesConfig, host: string): readonly ('https' | 'http')[] {
  return isInsecure(config, host) ? ['https', 'http'] : ['https']
}

/** Where distributions keep their bundle: Debian, Red Hat, SUSE, Alpine. */
const bundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/** The machine's authorities, as other programs have them; the platform's built-in ones where the machine names none. */
function systemAuthorities(): readonly string[] {
  const { SSL_CERT_FILE, NODE_EXTRA_CA_CERTS } = process.env
  const files = SSL_CERT_FILE ? [SSL_CERT_FILE] : bundles
  const bundle = files.map(readIfThere).find(text => text !== undefined)
  const extra = NODE_EXTRA_CA_CERTS ? readIfThere(NODE_EXTRA_CA_CERTS) : undefined
  return [...(bundle === undefined ? rootCertificates : [bundle]), ...(extra === undefined ? [] : [extra])]
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return undefined
    throw error
  }
}

function readAuthorities(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [readFileSync(path, 'utf8')]
    const files = readdirSync(path).filter(name => /\.(crt|pem)$/.test(name))
    return files.map(name => readFileSync(join(path, name), 'utf8'))
  } catch (error) {
    throw new TsrunError('invalid', 'registry-certs', `cannot read the certificates "${path}"`, {
      hint: '"certs" in registries.json names a PEM file, or a folder of *.crt and *.pem files',
      cause: error,
    })
  }
}
