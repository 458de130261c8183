// What the host's resolver is, as far as containers can use it.

import { readTextIfThere } from '../../lib/if-there.ts'
import { onlyLoopback } from '../container/etc-files.ts'

/** The host's resolver configuration; behind systemd-resolved's stub, the servers that it asks itself. */
export function hostResolvConf(): string {
  const text = readTextIfThere('/etc/resolv.conf', 'EACCES') ?? ''
  return onlyLoopback(text) ? readTextIfThere('/run/systemd/resolve/resolv.conf', 'EACCES') || text : text
}
