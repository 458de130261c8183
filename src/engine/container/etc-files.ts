// The three files that docker's users expect in /etc and that no image can know: hosts, hostname, resolv.conf. Pure.

/** /etc/hosts. @param own the container's addresses, each with the names it has there */
export function buildHosts(hostname: string, addresses: readonly string[], extra: readonly string[]): string {
  const lines = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'ff00::\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...extra.map(entry => {
      const at = entry.indexOf(':')
      return `${entry.slice(at + 1)}\t${entry.slice(0, at)}`
    }),
    ...addresses.map(address => `${address}\t${hostname}`),
  ]
  return `${lines.join('\n')}\n`
}

/** Where containers find tsrun-dns: docker's address, which some images rely on. */
export const RESOLVER_ADDRESS = '127.0.0.11'

export interface ResolverOptions {
  readonly dns: readonly string[]
  readonly search: readonly string[]
  readonly options: readonly string[]
}

/**
 * /etc/resolv.conf of a container that asks the host's servers itself: the user's choice, and for what was not chosen the
 * host's, without loopback servers, which a container cannot reach.
 * @param hostText the host's /etc/resolv.conf, or systemd-resolved's list where the host's names only its stub
 */
export function buildResolvConf(hostText: string, chosen: ResolverOptions): string {
  const host = parseResolvConf(hostText)
  const servers = chosen.dns.length > 0 ? chosen.dns : host.dns.filter(server => !isLoopback(server))
  return resolvConf({ ...searchAndOptions(host, chosen), dns: servers })
}

/**
 * /etc/resolv.conf of a container that asks tsrun-dns, which asks the others. Names without a dot are tried as they are before
 * they are searched for outside, as in docker: they are containers.
 */
export function buildResolverConf(hostText: string, chosen: ResolverOptions): string {
  const { search, options } = searchAndOptions(parseResolvConf(hostText), chosen)
  const hasDots = chosen.options.some(option => option.startsWith('ndots:'))
  const others = hasDots ? options : [...options.filter(option => !option.startsWith('ndots:')), 'ndots:0']
  return resolvConf({ dns: [RESOLVER_ADDRESS], search, options: others })
}

function searchAndOptions(host: ResolverOptions, chosen: ResolverOptions): Omit<ResolverOptions, 'dns'> {
  return {
    search: chosen.search.length > 0 ? chosen.search.filter(domain => domain !== '.') : host.search,
    options: chosen.options.length > 0 ? chosen.options : host.options,
  }
}

function resolvConf({ dns, search, options }: ResolverOptions): string {
  const lines = [
    ...dns.map(server => `nameserver ${server}`),
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
  ]
  return `${lines.join('\n')}\n`
}

/** Whether the host's file names only servers on its own loopback, as systemd-resolved's stub does. */
export function onlyLoopback(hostText: string): boolean {
  const { dns } = parseResolvConf(hostText)
  return dns.length > 0 && dns.every(isLoopback)
}

function parseResolvConf(text: string): ResolverOptions {
  const dns: string[] = []
  let search: string[] = []
  const options: string[] = []
  for (const line of text.split('\n')) {
    const [key, ...values] = line.trim().split(/\s+/)
    if (key === 'nameserver' && values[0] !== undefined) dns.push(values[0])
    if (key === 'search' || key === 'domain') search = values
    if (key === 'options') options.push(...values)
  }
  return { dns, search, options }
}

function isLoopback(server: string): boolean {
  return server.startsWith('127.') || server === '::1'
}
