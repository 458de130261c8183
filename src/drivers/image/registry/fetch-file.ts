// A file from any web server, for `ADD https://..`: by the same way as images come - proxies, authorities, a clock for silence, new
// attempts - and without credentials.

import { HttpClient, type HttpResponse } from './http-client.ts'
import { readRegistries } from './registries-config.ts'
import { asRegistryError } from './registry-error.ts'
import { maxAttempts, pauseBefore, pauseFor } from './retry.ts'
import { TransportError } from './transport-error.ts'
import { TrustStore } from './trust-store.ts'

/** What a server gave. */
export interface FetchedFile {
  readonly status: number
  readonly content: Buffer
  /** The header of that name. */
  readonly lastModified: string | undefined
}

const maxRedirects = 10

/**
 * Gets a file into memory; redirects are followed.
 * @returns also an answer that is a refusal, without its content
 * @throws RegistryError unavailable: no answer, more than `limit` bytes, too many redirects; the signal's reason
 */
export async function fetchFile(
  address: string,
  { limit, signal }: { readonly limit: number; readonly signal: AbortSignal },
): Promise<FetchedFile> {
  const http = new HttpClient()
  const trusts = new TrustStore(readRegistries())
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await follow(http, trusts, new URL(address), signal)
        const pause = attempt < maxAttempts ? pauseFor(response) : undefined
        if (pause === undefined) {
          const lastModified = response.header('last-modified')
          const isThere = response.status >= 200 && response.status < 300
          if (!isThere) await response.discard()
          return {
            status: response.status,
            lastModified,
            content: isThere ? await response.bytes(limit) : Buffer.alloc(0),
          }
        }
        await response.discard()
        await pauseBefore(attempt, signal, pause)
      } catch (error) {
        if (!(error instanceof TransportError) || !error.mayPass || attempt >= maxAttempts) throw error
        await pauseBefore(attempt, signal)
      }
    }
  } catch (error) {
    throw asRegistryError(error)
  } finally {
    http.close()
  }
}

async function follow(http: HttpClient, trusts: TrustStore, start: URL, signal: AbortSignal): Promise<HttpResponse> {
  let url = start
  for (let hops = 0; ; hops++) {
    const response = await http.send({ method: 'GET', url, trust: trusts.of(url), signal })
    const location = response.header('location')
    if (![301, 302, 303, 307, 308].includes(response.status) || location === undefined) return response
    await response.discard()
    const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined
    if (hops >= maxRedirects) throw new TransportError('protocol', url, `it redirects more than ${maxRedirects} times`)
    // What comes in is compared with its checksum: HTTP will do, another scheme will not.
    if (next === undefined || !/^https?:$/.test(next.protocol))
      throw new TransportError('protocol', url, `it redirects to "${location.slice(0, 200)}"`)
    url = next
  }
}
