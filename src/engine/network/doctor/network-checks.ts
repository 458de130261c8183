// What a network needs of the host: its interface, forwarding, and rules that are whole.

import { missingAccepts, readForwardHook } from '../../../drivers/firewall/foreign-forward.ts'
import { legacyFamiliesThatDrop } from '../../../drivers/firewall/legacy-forward.ts'
import { isRouted, networkElements } from '../../../drivers/firewall/network-elements.ts'
import { NftTable } from '../../../drivers/firewall/nft-table.ts'
import { inspectPeers } from '../../../drivers/network/peer-routes.ts'
import { listAddresses } from '../../../kernel/netlink/address.ts'
import { getLink } from '../../../kernel/netlink/link.ts'
import { listBaseChains } from '../../../kernel/nftables/ruleset.ts'
import { readSysctl } from '../../../kernel/sysctl.ts'
import { parsePrefix } from '../../../lib/ip.ts'
import type { Network } from '../../../model/network.ts'
import { bad, good, type HostScene, type Steps } from './diagnosis.ts'

/** Steps that hold for every container of the network. */
export function* checkNetwork(scene: HostScene, network: Network): Steps {
  if (!isRouted(network)) return
  if (network.hostInterface !== undefined) yield* checkInterface(scene, network, network.hostInterface)
  if (!network.internal) yield* checkForwarding(network)
  yield checkRules(scene, network)
  yield* checkForeignRules(scene, network)
  yield checkConnections()
  yield* checkPeerRoutes(scene, network)
}

function* checkPeerRoutes({ host }: HostScene, network: Network): Steps {
  const { peers = [] } = network
  for (const peer of inspectPeers(host, network))
    if (peer.route === 'missing')
      return yield bad(
        'routes to peers',
        `the host has no route to ${peer.subnet}: no interface that is up has ${peer.address} on its link, or somebody removed it`,
        `tsrun network reload ${network.name}`,
      )
  if (peers.length > 0) yield good('routes to peers', peers.map(({ subnet }) => subnet).join(', '))
}

function* checkInterface({ host }: HostScene, network: Network, name: string): Steps {
  const reload = `tsrun network reload ${network.name}`
  const link = getLink(host, name)
  if (link === undefined) return yield bad('interface of the network', `the host has no interface "${name}"`, reload)
  if (!link.up) return yield bad('interface of the network', `"${name}" is down`, `ip link set dev ${name} up`)
  if (link.kind !== 'bridge') return yield good('interface of the network', `"${name}" is up`)
  const present = listAddresses(host, link.index)
  for (const { gateway, subnet } of network.pools) {
    const wanted = `${gateway}/${parsePrefix(subnet).length}`
    if (!present.includes(wanted))
      return yield bad(
        'gateway address',
        `"${name}" has not the address ${wanted}`,
        `ip address add ${wanted} dev ${name}`,
      )
  }
  const addresses = present.length === 0 ? 'and has no address' : present.join(', ')
  yield good('interface of the network', `"${name}" is up, ${addresses}`)
}

function* checkForwarding(network: Network): Steps {
  const families = new Set(network.pools.map(({ subnet }) => parsePrefix(subnet).family))
  const settings = [
    ...(families.has(4) ? [['net', 'ipv4', 'ip_forward']] : []),
    ...(families.has(6) ? [['net', 'ipv6', 'conf', 'all', 'forwarding']] : []),
  ]
  for (const name of settings)
    if (readSysctl(name) === '0')
      return yield bad(
        'forwarding',
        `the host does not forward: ${name.join('.')} is 0`,
        `sysctl -w ${name.join('.')}=1`,
      )
  yield good('forwarding', 'the host forwards packets')
}

/** A full table drops every new connection, with one line in the kernel's log. */
function checkConnections() {
  const [count, limit] = ['nf_conntrack_count', 'nf_conntrack_max'].map(name => readSysctl(['net', 'netfilter', name]))
  if (count === undefined || limit === undefined) return good('connections', 'none are tracked yet')
  if (Number(count) < Number(limit)) return good('connections', `${count} of ${limit} are tracked`)
  const more = `sysctl -w net.netfilter.nf_conntrack_max=${Number(limit) * 2}`
  return bad('connections', `the host tracks ${count}, all that it may: no new one is let in`, more)
}

/** A FORWARD chain of somebody else that drops what ours admits: the rule that keeps it from that may have gone with a reload. */
function* checkForeignRules({ tableName }: HostScene, network: Network): Steps {
  const table = new NftTable(tableName)
  const families = new Set(network.pools.map(({ subnet }) => parsePrefix(subnet).family))
  try {
    const hook = readForwardHook(table.socket, tableName)
    const unmended = hook.foreign.filter(
      chain => missingAccepts(table.socket, { ...hook, foreign: [chain] }, { families, thorough: true }).length > 0,
    )
    const [chain] = unmended
    if (chain !== undefined)
      return yield bad(
        'rules of others',
        `the chain ${chain.table} ${chain.name} drops forwarded packets before a rule lets those of tsrun through`,
        `tsrun network reload ${network.name}`,
      )
    if (legacyFamiliesThatDrop(families).length > 0)
      return yield bad(
        'rules of others',
        'the legacy iptables chain FORWARD drops packets before a rule lets those of tsrun through',
        `tsrun network reload ${network.name}`,
      )
    if (hook.foreign.length > 0) yield good('rules of others', 'none of them drops what tsrun admits')
  } finally {
    table.close()
  }
}

const chainNames = ['guard', 'prerouting', 'output', 'forward', 'postrouting']

function checkRules({ tableName }: HostScene, network: Network) {
  const reload = `tsrun network reload ${network.name}`
  const table = new NftTable(tableName)
  try {
    if (!table.stands()) return bad('rules', `the table inet ${tableName} is gone`, reload)
    const chains = listBaseChains(table.socket).filter(chain => chain.table === tableName)
    for (const name of chainNames) {
      const chain = chains.find(candidate => candidate.name === name)
      if (chain === undefined || chain.use === 0)
        return bad('rules', `the chain inet ${tableName} ${name} is ${chain === undefined ? 'gone' : 'empty'}`, reload)
    }
    const missing = networkElements(network).find(element => !table.has(element))
    if (missing === undefined) return good('rules', `the table inet ${tableName} knows the network`)
    const key = missing.key.map(field => field.text).join(' . ')
    return bad('rules', `the set "${missing.set}" of inet ${tableName} lacks ${key}`, reload)
  } finally {
    table.close()
  }
}
