// The pull side of the distribution specification for one endpoint, and the push of manifests: documents with their digests
// checked, blobs as streams. Blobs go out by upload-blob.ts.

import { TsrunError } from '../../../model/errors.ts'
import { type Digest, isDigest, mediaTypes } from '../../../model/image.ts'
import { sha256 } from '../digest.ts'
import type { HttpResponse } from './http-client.ts'
import { type Asked, RegistryError, refusal } from './registry-error.ts'
import type { RegistryCall, RegistrySession } from './registry-session.ts'
import { TransportError } from './transport-error.ts'

/** A manifest or index as the registry keeps it. */
export interface FetchedDocument {
  readonly mediaType: string
  readonly digest: Digest
  readonly bytes: Buffer
}

/** Part of a blob, from `start` on to its end. */
export interface BlobPart {
  readonly start: number
  readonly body: AsyncIterable<Buffer>
}

const accept = [mediaTypes.ociIndex, mediaTypes.ociManifest, mediaTypes.dockerIndex, mediaTypes.dockerManifest].join(
  ', ',
)
const documentBytes = 8 * 2 ** 20
const tagsBytes = 8 * 2 ** 20

export class RegistryClient {
  readonly session: RegistrySession
  /** The repository, as this endpoint calls it. */
  readonly repository: string
  readonly #scopes: readonly string[]

  constructor(session: RegistrySession, repository: string, access: 'pull' | 'pull,push' = 'pull') {
    this.session = session
    this.repository = session.endpoint.prefix === '' ? repository : `${session.endpoint.prefix}/${repository}`
    this.#scopes = [`repository:${this.repository}:${access}`]
  }

  /** What a tag points to, without fetching it; undefined where the registry does not say. */
  async head(reference: string, signal?: AbortSignal): Promise<Digest | undefined> {
    const response = await this.call({ method: 'HEAD', at: this.#manifest(reference), headers: { accept } }, signal)
    await response.discard()
    const digest = response.header('docker-content-digest') ?? ''
    return response.status === 200 && isDigest(digest) ? digest : undefined
  }

  /** @throws RegistryError not-found, denied, unavailable, system; TsrunError invalid (not what its digest says) */
  async document(reference: Digest | string, signal?: AbortSignal): Promise<FetchedDocument> {
    const response = await this.call({ method: 'GET', at: this.#manifest(reference), headers: { accept } }, signal)
    if (response.status !== 200) throw await refusal(response, this.asked(nameOf(reference)))
    const bytes = await response.bytes(documentBytes)
    const digest = sha256(bytes)
    const promised = isDigest(reference) ? reference : (response.header('docker-content-digest') ?? digest)
    if (isDigest(promised) && promised !== digest)
      throw new TsrunError('invalid', 'digest-mismatch', `the registry gives ${digest} where ${promised} was expected`)
    const mediaType = (response.header('content-type') ?? '').replace(/;.*$/, '').trim()
    return { mediaType, digest, bytes }
  }

  /** Opens a blob at `start`; a registry that knows no ranges gives it from 0. @throws RegistryError, TransportError */
  async openBlob(digest: Digest, start: number, signal?: AbortSignal): Promise<BlobPart> {
    const at = `${this.repository}/blobs/${digest}`
    const headers: Record<string, string> = start > 0 ? { range: `bytes=${start}-` } : {}
    const response = await this.call({ method: 'GET', at, headers }, signal)
    if (response.status === 206) {
      const from = /^bytes (\d+)-/.exec(response.header('content-range') ?? '')?.[1]
      if (Number(from) === start) return { start, body: response.body() }
      await response.discard()
      throw new TransportError(
        'protocol',
        response.url,
        `${response.url.host} gives another part of ${digest} than was asked for`,
      )
    }
    if (response.status === 200) return { start: 0, body: response.body() }
    if (response.status === 416 && start > 0) {
      await response.discard()
      return this.openBlob(digest, 0, signal)
    }
    throw await refusal(response, this.asked(`blob ${digest}`))
  }

  async hasBlob(digest: Digest, signal?: AbortSignal): Promise<boolean> {
    const response = await this.call({ method: 'HEAD', at: `${this.repository}/blobs/${digest}` }, signal)
    await response.discard()
    if (response.status === 200) return true
    if (response.status === 404) return false
    throw await refusal(response, this.asked(`blob ${digest}`, true))
  }

  /** All tags of the repository. */
  async tags(signal?: AbortSignal): Promise<string[]> {
    const tags: string[] = []
    let next: string | URL | undefined = `${this.repository}/tags/list`
    while (next !== undefined) {
      const response: HttpResponse = await this.call({ method: 'GET', at: next }, signal)
      if (response.status !== 200) throw await refusal(response, this.asked())
      const page = tagsOf(await response.bytes(tagsBytes))
      tags.push(...page)
      const link = /<([^>]*)>\s*;\s*rel="?next"?/.exec(response.header('link') ?? '')?.[1]
      // A page without tags ends it, whatever it promises.
      next = link === undefined || page.length === 0 ? undefined : new URL(link, response.url)
    }
    return [...new Set(tags)]
  }

  /** @throws RegistryError */
  async putManifest(
    reference: string,
    { mediaType, bytes }: Omit<FetchedDocument, 'digest'>,
    signal?: AbortSignal,
  ): Promise<void> {
    const response = await this.call(
      {
        method: 'PUT',
        at: this.#manifest(reference),
        headers: { 'content-type': mediaType },
        body: { length: bytes.length, open: () => [bytes] },
      },
      signal,
    )
    if (response.status !== 201 && response.status !== 200 && response.status !== 202)
      throw await refusal(response, this.asked(undefined, true))
    await response.discard()
  }

  /** A call in the name of this repository. */
  call(call: RegistryCall, signal: AbortSignal | undefined): Promise<HttpResponse> {
    return this.session.call({ scopes: this.#scopes, ...call, ...(signal === undefined ? {} : { signal }) })
  }

  /** For messages. */
  asked(what?: string, isPush = false): Asked {
    const { endpoint, authenticator } = this.session
    return {
      registry: endpoint.name,
      repository: this.repository,
      withCredentials: authenticator.withCredentials,
      isPush,
      ...(what === undefined ? {} : { what }),
    }
  }

  #manifest(reference: string): string {
    return `${this.repository}/manifests/${reference}`
  }
}

function nameOf(reference: string): string {
  return isDigest(reference) ? `manifest ${reference}` : `tag "${reference}"`
}

function tagsOf(bytes: Buffer): string[] {
  try {
    const { tags } = JSON.parse(bytes.toString('utf8'))
    if (tags === null || tags === undefined) return []
    if (Array.isArray(tags)) return tags.filter(tag => typeof tag === 'string')
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error
  }
  throw new RegistryError('system', 'bad-answer', 'the registry gives no list of tags')
}
