// Whether addresses can be leased here (`--ipam-driver dhcp`), for `tsrun doctor`: the client is asked for its help text.

import { closeSync, openSync } from 'node:fs'
import { DHCP_CLIENT_REMEDY, findDhcpClient } from './dhcp-client.ts'
import { spawn, waitForChild } from './spawn.ts'

/** What a busybox without udhcpc ends with. */
const NOT_FOUND = 127

/** What was found, as a check of preflight.ts. */
export function checkDhcpClient(): { ok: boolean; detail: string; remedy: string } {
  const client = findDhcpClient()
  const words = client?.join(' ')
  const remedy = DHCP_CLIENT_REMEDY
  if (client === undefined || words === undefined)
    return { ok: false, detail: 'no udhcpc, for networks with --ipam-driver dhcp', remedy }
  if (exitCodeOfHelp(client) === NOT_FOUND) return { ok: false, detail: `${words} is not in this busybox`, remedy }
  return { ok: true, detail: `${words}, for networks with --ipam-driver dhcp`, remedy }
}

function exitCodeOfHelp(client: readonly string[]): number {
  const nothing = openSync('/dev/null', 'r+')
  try {
    const fds = new Map([0, 1, 2].map(fd => [fd, nothing]))
    return waitForChild(spawn(client[0] ?? '', [...client, '--help'], fds)) >> 8
  } finally {
    closeSync(nothing)
  }
}
