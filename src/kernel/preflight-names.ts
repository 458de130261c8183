// Whether containers can be given names here, for `tsrun doctor`: tried in a network namespace that is gone afterwards.

import { closeSync } from 'node:fs'
import { readTextIfThere } from '../lib/if-there.ts'
import { linkSet } from './netlink/link.ts'
import { createNetns } from './netns.ts'
import { openResolverSockets } from './resolver/sockets.ts'

/** What was found, as a check of preflight.ts. */
export function checkNames(): { ok: boolean; detail: string; remedy: string } {
  try {
    tryRedirect()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return {
      ok: false,
      detail: `containers on networks cannot be given names: ${reason}`,
      remedy: 'a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_IPV4 (modprobe nf_tables), and root',
    }
  }
  const servers = hostServers()
  return {
    ok: servers.length > 0,
    detail:
      servers.length > 0
        ? `containers find each other; other names are asked of ${servers.join(', ')}`
        : 'containers find each other, but /etc/resolv.conf names no server to ask for other names',
    remedy: 'a line `nameserver ADDRESS` in /etc/resolv.conf; no restart is needed',
  }
}

/** The resolver's sockets, and the rules that lead port 53 to them. */
function tryRedirect(): void {
  const { fd, socket } = createNetns('doctor')
  try {
    socket.apply(linkSet('lo', { up: true }))
    openResolverSockets(fd, { label: 'doctor' }).close()
  } finally {
    socket.close()
    closeSync(fd)
  }
}

function hostServers(): string[] {
  const lines = (readTextIfThere('/etc/resolv.conf', 'EACCES') ?? '').split('\n')
  return lines.flatMap(line => /^nameserver\s+(\S+)/.exec(line)?.[1] ?? []).slice(0, 3)
}
