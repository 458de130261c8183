// Bridges of others on which containers and virtual machines sit: Docker's, libvirt's. Whether our containers reach those is for
// the rules of whoever made them, so what goes there is not marked as admitted, and no rule of ours in their chains lets it pass.

import { listLinks } from '../../kernel/netlink/link.ts'
import { withNetlinkSocket } from '../../kernel/netlink/socket.ts'
import { nameField, type SetElement } from '../../kernel/nftables/elements.ts'
import type { NftTable } from './nft-table.ts'

/** Brings the set in line with the host's bridges. Reads links of the kind alone, and their ports. */
export function updateStrangers(table: NftTable): void {
  const known = new Set(names(table, 'strangers'))
  const own = new Set([...names(table, 'bridges'), ...names(table, 'further')])
  const there = new Set(foreignBridges(own))
  const added = [...there].filter(name => !known.has(name))
  const gone = [...known].filter(name => !there.has(name))
  // Another process may have done the same: what is refused for that is as it should be.
  if (added.length > 0) table.add(added.map(name => ({ element: element(name), exclusive: false })))
  if (gone.length > 0) table.deleteExisting(gone.map(element))
}

/** A bridge with a port to the world (an interface of the machine, a VLAN, a bond) is the way out, and nobody's own. */
function foreignBridges(own: ReadonlySet<string>): string[] {
  return withNetlinkSocket(socket =>
    listLinks(socket, { kind: 'bridge' })
      .filter(({ name }) => !own.has(name))
      .filter(({ index }) =>
        listLinks(socket, { master: index }).every(({ kind }) => kind === 'veth' || kind === 'tun'),
      )
      .map(({ name }) => name),
  )
}

function names(table: NftTable, set: string): string[] {
  return table.list(set).map(({ key }) => key.toString('utf8').replace(/\0.*$/s, ''))
}

function element(name: string): SetElement {
  return { set: 'strangers', key: [nameField(name)] }
}
