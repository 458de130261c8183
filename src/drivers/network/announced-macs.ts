// When a container has to tell the others of its bridge who has its address now. Its MAC address is made from the IPv4 address, as a
// rule, so that whoever remembers one remembers the right one; and a broadcast is a copy to every port. It is sent where that
// does not hold: where the user chose a MAC address or there is no IPv4, and on such a network from then on.

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { macFromBytes } from '../../lib/mac.ts'
import type { Endpoint, Network } from '../../model/network.ts'

/** One empty file for each network that has had such a container since the machine started. */
const folderName = 'own-macs'

/** Notes down that the network has one, where this is one. @param stateDirectory for files that must not survive a reboot */
export function mustAnnounce(stateDirectory: string, network: Network, endpoint: Endpoint): boolean {
  const mark = join(stateDirectory, folderName, network.id)
  if (isMadeFromAddress(endpoint)) return existsSync(mark)
  mkdirSync(join(stateDirectory, folderName), { recursive: true, mode: 0o700 })
  writeFileSync(mark, '')
  return true
}

/** Idempotent. */
export function forgetAnnouncements(stateDirectory: string, network: Network): void {
  rmSync(join(stateDirectory, folderName, network.id), { force: true })
}

function isMadeFromAddress({ addresses, mac }: Endpoint): boolean {
  const [first = ''] = addresses
  return first.includes('.') && macFromBytes(first.replace(/\/.*/, '').split('.').map(Number)) === mac
}
