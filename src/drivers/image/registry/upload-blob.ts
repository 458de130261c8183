// One blob to a registry: not at all when it is there, by mounting it from a repository beside, in one request, or in chunks that
// can be continued where the connection broke.

import type { Descriptor, Digest } from '../../../model/image.ts'
import type { HttpResponse } from './http-client.ts'
import type { RegistryClient } from './registry-client.ts'
import { RegistryError, refusal } from './registry-error.ts'
import { isPassing, maxAttempts, pauseBefore } from './retry.ts'
import { TransportError } from './transport-error.ts'

export interface BlobUpload {
  readonly descriptor: Pick<Descriptor, 'digest' | 'size'>
  /** The bytes from `start` up to `end`, exclusive. */
  readonly open: (start: number, end: number) => AsyncIterable<Buffer>
  /** A repository of the same registry that has it, probably. */
  readonly mountFrom?: string
  readonly signal?: AbortSignal
  readonly onProgress?: (bytes: number) => void
}

export type UploadOutcome = 'exists' | 'mounted' | 'uploaded'

/** Larger blobs go in chunks, so that a broken connection does not cost all of it. */
const defaultChunkBytes = 64 * 2 ** 20

/** @throws RegistryError, TransportError */
export async function uploadBlob(client: RegistryClient, upload: BlobUpload): Promise<UploadOutcome> {
  const { descriptor, signal, mountFrom } = upload
  if (await client.hasBlob(descriptor.digest, signal)) return 'exists'
  let location = mountFrom === undefined ? await begin(client, upload) : await mount(client, upload, mountFrom)
  if (location === 'mounted') return location
  const chunkBytes = client.session.endpoint.chunkBytes ?? defaultChunkBytes
  let inChunks = chunkBytes > 0 && descriptor.size > chunkBytes
  for (let attempt = 1; ; attempt++) {
    try {
      if (inChunks) await sendChunks(client, upload, location, chunkBytes)
      else await finish(client, upload, location, 0)
      return 'uploaded'
    } catch (error) {
      signal?.throwIfAborted()
      // Some registries take no chunks.
      if (inChunks && error instanceof ChunksRefused) inChunks = false
      else if (!mayPass(error) || attempt >= maxAttempts) throw error
      else await pauseBefore(attempt, signal)
      location = await begin(client, upload)
    }
  }
}

class ChunksRefused extends RegistryError {}
class UploadBroken extends RegistryError {}

function mayPass(error: unknown): boolean {
  return error instanceof UploadBroken || (error instanceof TransportError && error.mayPass)
}

async function mount(client: RegistryClient, upload: BlobUpload, from: string): Promise<URL | 'mounted'> {
  const query = new URLSearchParams({ mount: upload.descriptor.digest, from })
  const scopes = [`repository:${client.repository}:pull,push`, `repository:${from}:pull`]
  const at = `${client.repository}/blobs/uploads/?${query}`
  try {
    const response = await client.call({ method: 'POST', at, scopes }, upload.signal)
    await response.discard()
    if (response.status === 201) return 'mounted'
    const location = response.status === 202 ? client.session.location(response) : undefined
    if (location !== undefined) return location
  } catch (error) {
    // No right to read the other one: then without it.
    if (!(error instanceof RegistryError)) throw error
  }
  return begin(client, upload)
}

async function begin(client: RegistryClient, { signal, descriptor }: BlobUpload): Promise<URL> {
  const response = await client.call({ method: 'POST', at: `${client.repository}/blobs/uploads/` }, signal)
  if (response.status !== 202) throw await refusal(response, client.asked(undefined, true))
  await response.discard()
  return locationOf(client, response, descriptor.digest)
}

/** Sends what is missing behind `start` and closes the upload. */
async function finish(client: RegistryClient, upload: BlobUpload, location: URL, start: number): Promise<void> {
  const { descriptor, signal } = upload
  const url = new URL(location)
  url.searchParams.set('digest', descriptor.digest)
  const response = await client.call(
    {
      method: 'PUT',
      at: url,
      isOnce: true,
      headers: { 'content-type': 'application/octet-stream' },
      body: body(upload, start, descriptor.size),
    },
    signal,
  )
  if (response.status !== 201 && response.status !== 204) throw await broken(client, response)
  await response.discard()
}

async function sendChunks(client: RegistryClient, upload: BlobUpload, first: URL, wanted: number): Promise<void> {
  const { size, digest } = upload.descriptor
  let location = first
  let at = 0
  let failures = 0
  while (at < size) {
    const end = Math.min(at + wanted, size)
    try {
      const response = await client.call(
        {
          method: 'PATCH',
          at: location,
          isOnce: true,
          headers: { 'content-type': 'application/octet-stream', 'content-range': `${at}-${end - 1}` },
          body: body(upload, at, end),
        },
        upload.signal,
      )
      if (response.status !== 202 && response.status !== 204) throw await broken(client, response, at === 0)
      await response.discard()
      location = locationOf(client, response, digest)
      at = receivedBytes(response) ?? end
      failures = 0
    } catch (error) {
      upload.signal?.throwIfAborted()
      if (!mayPass(error) || ++failures >= maxAttempts) throw error
      await pauseBefore(failures, upload.signal)
      const state = await client.call({ method: 'GET', at: location }, upload.signal)
      await state.discard()
      // The registry has forgotten it: from the start.
      if (state.status !== 204 && state.status !== 202) throw error
      location = client.session.location(state) ?? location
      at = receivedBytes(state) ?? 0
    }
  }
  await finish(client, upload, location, size)
}

function body(upload: BlobUpload, start: number, end: number) {
  async function* counted(): AsyncGenerator<Buffer> {
    let sent = start
    if (start === end) return
    for await (const chunk of upload.open(start, end)) {
      yield chunk
      sent += chunk.length
      upload.onProgress?.(sent)
    }
  }
  return { length: end - start, open: counted }
}

/** The error for a refused part: one that may pass is tried again. */
async function broken(client: RegistryClient, response: HttpResponse, isFirstChunk = false): Promise<RegistryError> {
  const error = await refusal(response, client.asked(undefined, true))
  const { kind, code, message } = error
  if (isPassing(response.status)) return new UploadBroken(kind, code, message, { cause: error })
  if (isFirstChunk && response.status !== 401 && response.status !== 403)
    return new ChunksRefused(kind, code, message, { cause: error })
  return error
}

function locationOf(client: RegistryClient, response: HttpResponse, digest: Digest): URL {
  const location = client.session.location(response)
  if (location !== undefined) return location
  throw new RegistryError(
    'system',
    'bad-answer',
    `${client.session.endpoint.name} does not say where to send ${digest}`,
  )
}

/** How much an upload has, by the Range header: `0-1023`. A fresh one says `0-0`, with nothing in it. */
function receivedBytes(response: HttpResponse): number | undefined {
  const last = /^(?:bytes=)?0-(\d+)$/.exec(response.header('range') ?? '')?.[1]
  if (last === undefined) return undefined
  return last === '0' ? 0 : Number(last) + 1
}
