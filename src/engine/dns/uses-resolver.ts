// Which containers ask tsrun-dns. Cheap: every start looks.

import { readTextIfThere } from '../../lib/if-there.ts'
import { onlyLoopback, RESOLVER_ADDRESS } from '../container/etc-files.ts'
import type { EngineContext } from '../context.ts'
import { DEFAULT_NETWORK } from '../network/network-service.ts'
import { hostResolvConf } from './host-resolv-conf.ts'

/**
 * Whether a container on these networks is given the resolver: where there are names, on every network but the default one,
 * and where the host's own servers are on its loopback, out of the container's reach.
 */
export function needsResolver(networkNames: readonly string[]): boolean {
  if (networkNames.some(name => name !== DEFAULT_NETWORK)) return true
  return networkNames.length > 0 && onlyLoopback(hostResolvConf())
}

/** Whether a container that runs was given the resolver: its resolv.conf says so. */
export function usesResolver(context: Pick<EngineContext, 'paths'>, id: string): boolean {
  const text = readTextIfThere(context.paths.runFile(id, 'resolv.conf'))
  return text?.includes(`nameserver ${RESOLVER_ADDRESS}\n`) === true
}
