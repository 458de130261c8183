// Whom to trust for a host, and who we are to it: the machine's authorities, those of `certs` in registries.json, and the folders
// that docker and podman have, `certs.d/HOST[:PORT]/` with `*.crt` (authorities) and `NAME.cert` with `NAME.key` (who we are).

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { readTextIfThere } from '../../../lib/if-there.ts'
import { TsrunError } from '../../../model/errors.ts'
import { dockerHubHost, isInsecure } from './endpoints.ts'
import type { TlsTrust } from './http-client.ts'
import { defaultRegistry, type RegistriesConfig, registriesPath } from './registries-config.ts'

/** Read when it is first needed, and that is never for plain HTTP. */
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
    const isUnverified = isInsecure(this.#config, registry)
    if (url.protocol === 'http:') return { isUnverified }
    const { ca, client } = this.#certificates(url.host, registry)
    const trust: TlsTrust = {
      isUnverified,
      ...(isUnverified ? {} : { ca: [...this.#systemAuthorities(), ...ca] }),
      ...(client === undefined ? {} : { client }),
    }
    this.#byHost.set(url.host, trust)
    return trust
  }

  #certificates(host: string, registry: string): Certificates {
    const configured = this.#config.registries.get(registry)?.certs
    const found = configured === undefined ? [] : [readCertificates(configured)]
    for (const name of new Set([host, registry])) {
      for (const folder of certificateFolders()) {
        const path = join(folder, name)
        if (statSync(path, { throwIfNoEntry: false }) !== undefined) found.push(readCertificates(path))
      }
    }
    const client = found.find(each => each.client !== undefined)?.client
    return { ca: found.flatMap(each => each.ca), ...(client === undefined ? {} : { client }) }
  }

  #systemAuthorities(): readonly string[] {
    this.#system ??= systemAuthorities()
    return this.#system
  }
}

interface Certificates {
  readonly ca: readonly string[]
  readonly client?: NonNullable<TlsTrust['client']>
}

/** The first that has something for us wins where only one can: our own, docker's, podman's. */
function certificateFolders(): readonly string[] {
  return [join(dirname(registriesPath()), 'certs.d'), '/etc/docker/certs.d', '/etc/containers/certs.d']
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
  const read = (file: string) => readTextIfThere(file, 'ENOTDIR', 'EACCES')
  const bundle = files.map(read).find(text => text !== undefined)
  const extra = NODE_EXTRA_CA_CERTS ? read(NODE_EXTRA_CA_CERTS) : undefined
  return [...(bundle === undefined ? rootCertificates : [bundle]), ...(extra === undefined ? [] : [extra])]
}

/** A PEM file, or a folder of them. @throws TsrunError invalid */
function readCertificates(path: string): Certificates {
  try {
    if (!statSync(path).isDirectory()) return { ca: [readFileSync(path, 'utf8')] }
    const names = readdirSync(path).sort()
    const read = (name: string): string => readFileSync(join(path, name), 'utf8')
    const ca = names.filter(name => /\.(crt|pem)$/.test(name)).map(read)
    const own = names.find(name => name.endsWith('.cert'))
    if (own === undefined) return { ca }
    return { ca, client: { cert: read(own), key: read(own.replace(/cert$/, 'key')) } }
  } catch (error) {
    throw new TsrunError('invalid', 'registry-certs', `cannot read the certificates "${path}"`, {
      hint: 'a PEM file of authorities, or a folder of *.crt and *.pem files, and NAME.cert beside NAME.key for a client',
      cause: error,
    })
  }
}
