// Why an exchange with a host did not come about, in words for people. The platform's error codes differ between Node and Bun:
// here they become five kinds.

/** `refused` and `dns` say that there is nobody; `reset` and `timeout` may pass. */
export type TransportErrorKind = 'dns' | 'refused' | 'tls' | 'reset' | 'timeout' | 'protocol'

export class TransportError extends Error {
  readonly kind: TransportErrorKind
  readonly url: URL
  readonly hint: string | undefined

  constructor(kind: TransportErrorKind, url: URL, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'TransportError'
    this.kind = kind
    this.url = url
    this.hint = options.hint
  }

  /** Whether to try again is of use. */
  get mayPass(): boolean {
    return this.kind === 'reset' || this.kind === 'timeout'
  }
}

const certificateCodes = /CERT|SELF_SIGNED|UNABLE_TO_|ALTNAME|CRL/
const tlsCodes = /SSL|TLS|EPROTO/
const resetCodes = /^(ECONNRESET|ECONNABORTED|EPIPE|ENETRESET|ERR_STREAM_PREMATURE_CLOSE|ConnectionClosed)$/

/** What the platform said, as one of ours. */
export function transportError(error: unknown, url: URL): unknown {
  if (error instanceof TransportError || !(error instanceof Error)) return error
  const code = 'code' in error ? String(error.code) : ''
  const make = (kind: TransportErrorKind, message: string, hint?: string): TransportError =>
    new TransportError(kind, url, message, { cause: error, ...(hint === undefined ? {} : { hint }) })
  const { host, hostname } = url
  if (code === 'ENOTFOUND')
    return make('dns', `there is no host "${hostname}" (${code})`, 'check the spelling, and DNS')
  if (code === 'EAI_AGAIN' || code === 'ETIMEOUT')
    return make(
      'dns',
      `the name "${hostname}" could not be looked up (${code})`,
      'is this machine connected, and its DNS server up?',
    )
  if (code === 'ECONNREFUSED') return make('refused', `nothing listens at ${addressOf(url)} (${code})`)
  if (code === 'ENETUNREACH' || code === 'EHOSTUNREACH' || code === 'EADDRNOTAVAIL')
    return make('refused', `there is no way to ${host} (${code})`, 'is this machine connected?')
  if (code === 'ETIMEDOUT') return make('timeout', `${host} does not answer (${code})`)
  if (certificateCodes.test(code))
    return make(
      'tls',
      `the certificate of ${host} is not trusted (${code})`,
      `name its authority as "certs" of "${host}" in /etc/tsrun/registries.json`,
    )
  if (tlsCodes.test(code))
    return make(
      'tls',
      `${host} does not speak TLS as expected (${code})`,
      `a registry without TLS must be marked "insecure" in /etc/tsrun/registries.json`,
    )
  if (resetCodes.test(code) || /aborted|socket hang up/.test(error.message))
    return make('reset', `${host} closed the connection (${code || 'ECONNRESET'})`)
  if (/^HPE_|^ERR_HTTP/.test(code)) return make('protocol', `${host} does not speak HTTP (${code})`)
  return error
}

function addressOf({ hostname, port, protocol }: URL): string {
  return `${hostname}:${port === '' ? (protocol === 'https:' ? 443 : 80) : port}`
}
