// A new network namespace takes its IPv4 settings from the machine's own (net.core.devconf_inherit_init_net). Tests
// must not depend on whether the machine forwards, e.g. for Docker's sake: each namespace begins as on a fresh machine.

import { readFileSync, writeFileSync } from 'node:fs'

// The first one puts a whole group back to what a host has, as opposed to a router.
const fresh: readonly (readonly [path: string, value: string])[] = [
  ['net/ipv4/ip_forward', '0'],
  ...['all', 'default'].flatMap(scope =>
    ['rp_filter', 'route_localnet', 'accept_local', 'arp_ignore', 'arp_announce', 'proxy_arp', 'src_valid_mark'].map(
      name => [`net/ipv4/conf/${scope}/${name}`, '0'] as const,
    ),
  ),
]

/** Gives the calling thread's network namespace, a new one, the settings of a fresh machine. */
export function freshenNetns(): void {
  for (const [path, value] of fresh) {
    const file = `/proc/sys/${path}`
    if (readFileSync(file, 'utf8').trim() !== value) writeFileSync(file, value)
  }
}

/** The same as a shell script that runs in the namespace. */
export const freshenScript = fresh.map(([path, value]) => `echo ${value} > /proc/sys/${path}`).join('; ')
