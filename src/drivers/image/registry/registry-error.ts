// What a registry's refusal means. The message is the reason alone: pull, push and login say what they were doing.

import { TsrunError } from '../../../model/errors.ts'
import type { HttpResponse } from './http-client.ts'
import { retryAfterMs } from './retry.ts'
import { TransportError } from './transport-error.ts'

/** An error whose message completes `cannot pull "x": ...`. */
export class RegistryError extends TsrunError {}

/** What was asked for, for messages. */
export interface Asked {
  /** The registry as the user writes it. */
  readonly registry: string
  readonly repository?: string
  /** Tag, digest or blob, e.g. `tag "1.0"`. */
  readonly what?: string
  /** Whether credentials went along. */
  readonly withCredentials?: boolean
  readonly isPush?: boolean
}

interface ErrorDocument {
  readonly code?: string
  readonly message?: string
}

const errorBytes = 64 * 1024

/** The error for an answer that is none of those hoped for. Reads its body. */
export async function refusal(response: HttpResponse, asked: Asked): Promise<RegistryError> {
  const { code, message } = await errorDocument(response)
  const { status } = response
  const said = message === undefined || message === '' ? '' : `: ${message}`
  const answer = `${asked.registry} answers HTTP ${status}${said}`
  if (status === 401 || status === 403 || code === 'DENIED' || code === 'UNAUTHORIZED')
    return denied(asked, status, said)
  if (status === 404 || code === 'NAME_UNKNOWN' || code === 'MANIFEST_UNKNOWN') return missing(asked, code)
  if (status === 429) return rateLimited(response, asked, said)
  if (status >= 500)
    return new RegistryError('unavailable', 'registry-failing', answer, {
      hint: 'the registry has a problem; try again later',
    })
  return new RegistryError('system', 'registry-refused', answer)
}

/** The error for a registry that could not be asked. */
export function unreachable(error: TransportError): RegistryError {
  const { kind, message, hint } = error
  const code = kind === 'tls' ? 'registry-untrusted' : 'registry-unreachable'
  return new RegistryError('unavailable', code, message, { cause: error, ...(hint === undefined ? {} : { hint }) })
}

/** Any failure of an exchange as what the user reads; our own bugs and aborts stay what they are. */
export function asRegistryError(error: unknown): unknown {
  return error instanceof TransportError ? unreachable(error) : error
}

function denied({ registry, repository, withCredentials, isPush }: Asked, status: number, said: string): RegistryError {
  const login = `\`tsrun login${registry === 'docker.io' ? '' : ` ${registry}`}\``
  if (repository === undefined)
    return new RegistryError('denied', 'unauthorized', `${registry} refuses the user name or password (HTTP ${status})`)
  if (withCredentials === true)
    return new RegistryError(
      'denied',
      'unauthorized',
      isPush === true
        ? `${registry} does not let this user push to "${repository}" (HTTP ${status}${said})`
        : `there is no repository "${repository}" on ${registry}, or this user may not read it (HTTP ${status}${said})`,
      { hint: `check the spelling; ${login} changes the user` },
    )
  return new RegistryError(
    'denied',
    'unauthorized',
    isPush === true
      ? `${registry} wants a login (HTTP ${status}${said})`
      : `there is no repository "${repository}" on ${registry}, or it is private (HTTP ${status}${said})`,
    { hint: isPush === true ? `log in first: ${login}` : `check the spelling; a private repository needs ${login}` },
  )
}

function missing({ registry, repository, what }: Asked, code: string | undefined): RegistryError {
  if (code === 'NAME_UNKNOWN' || what === undefined)
    return new RegistryError(
      'not-found',
      'no-such-repository',
      `there is no repository "${repository}" on ${registry}`,
      {
        hint: 'check the spelling',
      },
    )
  return new RegistryError('not-found', 'no-such-manifest', `there is no ${what} of "${repository}" on ${registry}`, {
    hint: 'check the spelling; other tags may be there',
  })
}

/** Explains a rate limit: how much of what, and what helps. */
function rateLimited(response: HttpResponse, { registry, withCredentials }: Asked, said: string): RegistryError {
  const limit = /^(\d+)(?:;w=(\d+))?/.exec(response.header('ratelimit-limit') ?? '')
  const hours = Number(limit?.[2] ?? 0) / 3600
  const allowed = limit === null ? '' : `; it allows ${limit[1]} pulls${hours > 0 ? ` in ${round(hours)} hours` : ''}`
  const wait = retryAfterMs(response.header('retry-after'))
  const again = wait === undefined ? '' : `; it may be asked again in ${seconds(wait)}`
  const remedy =
    withCredentials === true
      ? 'wait'
      : `wait, or log in for a higher limit: \`tsrun login${registry === 'docker.io' ? '' : ` ${registry}`}\``
  return new RegistryError(
    'unavailable',
    'rate-limited',
    `${registry} has had too many requests from here (HTTP 429${said})${allowed}${again}`,
    {
      hint: `${remedy}; a mirror in registries.json helps for good`,
    },
  )
}

function seconds(ms: number): string {
  return ms < 120_000 ? `${Math.ceil(ms / 1000)} seconds` : `${Math.ceil(ms / 60_000)} minutes`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

/** The first error of the body (distribution-spec, "Error Codes"); nothing where it is something else. */
async function errorDocument(response: HttpResponse): Promise<ErrorDocument> {
  try {
    const value: unknown = JSON.parse((await response.bytes(errorBytes)).toString('utf8'))
    const errors: unknown = typeof value === 'object' && value !== null && 'errors' in value ? value.errors : undefined
    const first: unknown = Array.isArray(errors) ? errors[0] : undefined
    if (typeof first !== 'object' || first === null) return {}
    const { code, message } = first as Record<string, unknown>
    return {
      ...(typeof code === 'string' ? { code } : {}),
      ...(typeof message === 'string' ? { message: printable(message) } : {}),
    }
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TransportError) return {}
    throw error
  }
}

/** What a registry says goes to a terminal: no control characters, and not a novel. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are meant
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').slice(0, 300)
}
