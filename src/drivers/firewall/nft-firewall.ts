// The firewall driver over nftables. Every call is one transaction of set elements through nfnetlink; the chains are
// written once, by nft script, when the first network comes or when somebody flushed them.

import { flushFlows } from '../../kernel/conntrack.ts'
import { record } from '../../kernel/explain.ts'
import { NftScriptError, runNftScript } from '../../kernel/nftables/libnftables.ts'
import { NFPROTO_BRIDGE, NFPROTO_INET, type NfMessage, throwFailure } from '../../kernel/nftables/nfnetlink.ts'
import { deleteTable, listTables } from '../../kernel/nftables/ruleset.ts'
import { faultPoint } from '../../lib/fault.ts'
import { parsePrefix } from '../../lib/ip.ts'
import { Undo } from '../../lib/rollback.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Endpoint, FirewallDriver, Network } from '../../model/network.ts'
import { policyOf } from '../../model/network-policy.ts'
import { addNetworkElements } from './add-network.ts'
import { baseRuleset, portIsolationRuleset, userRuleset, userTable } from './base-ruleset.ts'
import { catchUp, removeStrays, withStanding } from './catch-up.ts'
import { shareRuleset, shareTable } from './connection-share.ts'
import {
  type ForwardHook,
  isUserTableUnused,
  missingAccepts,
  readForwardHook,
  surplusAccepts,
} from './foreign-forward.ts'
import { addLegacyAccepts, hasLegacyFilter, removeLegacyAccepts } from './legacy-forward.ts'
import { isRouted, memberElements, networkElements } from './network-elements.ts'
import {
  addElementsText,
  endpointElements,
  type FirewallSnapshot,
  ownerElementOf,
  publishableElements,
  snapshotElements,
} from './nft-rules.ts'
import { NftTable } from './nft-table.ts'
import { publish, withdraw } from './published-ports.ts'
import { updateStrangers } from './strangers.ts'

export interface NftFirewallOptions {
  /** `tsrun`, or `tsrun-` and eight hex digits for a further engine on the same host: the name of its table. */
  readonly engineId: string
  /**
   * What should stand, for when the rules are gone (`nft flush ruleset`) or of another version: networks from the end
   * of their first addNetwork on; endpoints from before addEndpoint until after removeEndpoint, so that none is lost
   * that came while the rules were made anew.
   */
  readonly records: () => FirewallSnapshot
  /** Notes that the rules are being made anew: whoever finds that cut off calls reload(). */
  readonly beginRebuild: () => RebuildJob
}

/** As an entry of the journal. */
interface RebuildJob {
  /** The rules are in line with the records, or as they were. */
  end(): void
  /** They may not be. */
  abandon(): void
}

export class NftFirewall implements FirewallDriver {
  readonly #table: NftTable
  readonly #records: () => FirewallSnapshot
  readonly #beginRebuild: () => RebuildJob

  /** Opens nothing yet: the first call opens a socket in the namespace it is called in. */
  constructor({ engineId, records, beginRebuild }: NftFirewallOptions) {
    this.#table = new NftTable(engineId)
    this.#records = records
    this.#beginRebuild = beginRebuild
  }

  /**
   * Gives away the socket, if one is open; the next call opens another. Whoever closes its last copy right after a deletion
   * waits for the kernel's grace period (4 to 16 ms), also at exit: it may be left with somebody who has the time.
   * @returns its descriptor, now the caller's
   */
  detachSocket(): number | undefined {
    return this.#table.detach()
  }

  /** Gives the socket back. */
  close(): void {
    this.#table.close()
  }

  async addNetwork(network: Network, undo: Undo): Promise<void> {
    const elements = networkElements(network)
    if (elements.length === 0) return
    let isNew = false
    this.#rebuildUntil(() => {
      const added = addNetworkElements(this.#table, network)
      isNew = added === 'added'
      return added !== 'no-table'
    })
    // A network that stood already stays when what needs it now fails.
    if (isNew) undo.add('firewall network', () => this.#table.deleteExisting(elements))
    this.#isolatePorts(network)
    if (this.#limitConnections(network)) undo.add('limit of connections', () => this.#unlimitConnections(network))
    this.#admitInForeignChains(network, undo)
  }

  async confirmNetwork(network: Network): Promise<void> {
    if (networkElements(network).length > 0) addNetworkElements(this.#table, network)
  }

  async removeNetwork(network: Network, others: readonly Network[]): Promise<void> {
    this.#unlimitConnections(network)
    const left = others.filter(other => other.id !== network.id && isRouted(other))
    if (left.length === 0) return this.#removeAll()
    this.#table.deleteExisting(networkElements(network))
    if (policyOf(network).icc || left.some(other => !policyOf(other).icc)) return
    const failures = this.#table.optimistically(() => this.#portIsolationDeletion())
    if (failures.length > 0) throwFailure('cannot remove the firewall rules', failures)
  }

  async addEndpoint(network: Network, endpoint: Endpoint, undo: Undo): Promise<void> {
    if (!isRouted(network)) return
    const published = endpointElements(network, endpoint)
    const hook = readForwardHook(this.#table.socket, this.#table.name)
    if (!hook.ours) this.#rebuild()
    this.#isolatePorts(network)
    this.#limitConnections(network)
    if (published.ports.length > 0) {
      let changed: Endpoint['ports'] | undefined
      this.#rebuildUntil(() => {
        changed = publish(this.#table, endpoint, published)
        return changed !== undefined
      })
      undo.add('firewall endpoint', () => this.removeEndpoint(network, endpoint))
      flushFlows(this.#table.socket, { ports: changed ?? [] })
    }
    this.#admitInForeignChains(network, undo, hook)
  }

  async confirmEndpoint(network: Network, endpoint: Endpoint): Promise<void> {
    if (endpoint.ports.length === 0 || !isRouted(network)) return
    if (!this.#table.has(ownerElementOf(endpoint))) await this.addEndpoint(network, endpoint, new Undo())
  }

  async removeEndpoint(network: Network, endpoint: Endpoint): Promise<void> {
    withdraw(this.#table, endpoint, publishableElements(network, endpoint))
    flushFlows(this.#table.socket, { ports: endpoint.ports, containerAddresses: endpoint.addresses })
  }

  async removeStrays(): Promise<void> {
    flushFlows(this.#table.socket, { ports: removeStrays(this.#table, this.#records) })
  }

  async reload(): Promise<void> {
    const { networks } = this.#records()
    if (networks.every(network => networkElements(network).length === 0)) return this.#removeAll()
    this.#rebuild()
    for (const network of networks) {
      this.#isolatePorts(network)
      this.#limitConnections(network)
      this.#admitInForeignChains(network, undefined)
    }
  }

  #removeAll(): void {
    const { socket, name } = this.#table
    const failures = this.#table.optimistically(() => {
      const messages = [...surplusAccepts(socket, name), ...this.#portIsolationDeletion()]
      if (isUserTableUnused(socket, name)) messages.push(...deletionOf(NFPROTO_INET, userTable))
      if (this.#table.stands()) messages.push(...deletionOf(NFPROTO_INET, name))
      return messages
    })
    if (failures.length > 0) throwFailure('cannot remove the firewall rules', failures)
    removeLegacyAccepts()
  }

  /** Keeps containers of `network` apart inside their bridge, where its options say so. */
  #isolatePorts(network: Network): void {
    if (policyOf(network).icc) return
    if (listTables(this.#table.socket, NFPROTO_BRIDGE).includes(this.#table.name)) return
    try {
      this.#run(portIsolationRuleset(this.#table.name))
    } catch (error) {
      if (!(error instanceof NftScriptError)) throw error
      const message = `cannot keep containers of network "${network.name}" apart: nftables has no rules for bridges here`
      const hint = 'the kernel needs CONFIG_NF_TABLES_BRIDGE; without it leave icc=false out'
      throw new TsrunError('unsupported', 'no-nft-bridge', message, { hint, cause: error })
    }
  }

  /** Makes the table that bounds each container's connections, where the network's options say so. @returns whether it is new */
  #limitConnections(network: Network): boolean {
    const script = shareRuleset(this.#table.name, network)
    if (script === undefined || this.#hasShareTable(network)) return false
    try {
      this.#run(script)
    } catch (error) {
      if (!(error instanceof NftScriptError)) throw error
      // Another process was faster.
      if (this.#hasShareTable(network)) return false
      const message = `cannot limit the connections of network "${network.name}": nftables does not count connections here`
      const hint = 'the kernel needs CONFIG_NFT_CONNLIMIT; without it leave the option connections out'
      throw new TsrunError('unsupported', 'no-connlimit', message, { hint, cause: error })
    }
    return true
  }

  #unlimitConnections(network: Network): void {
    if (policyOf(network).connections === undefined) return
    const failures = this.#table.optimistically(() =>
      this.#hasShareTable(network) ? deletionOf(NFPROTO_INET, shareTable(this.#table.name, network)) : [],
    )
    if (failures.length > 0) throwFailure('cannot remove the limit of connections', failures)
  }

  #hasShareTable(network: Network): boolean {
    return listTables(this.#table.socket, NFPROTO_INET).includes(shareTable(this.#table.name, network))
  }

  #portIsolationDeletion(): NfMessage[] {
    const { socket, name } = this.#table
    return listTables(socket, NFPROTO_BRIDGE).includes(name) ? deletionOf(NFPROTO_BRIDGE, name) : []
  }

  /** @param known what a moment ago was seen of the hook: then only chains without a rule of ours are looked at */
  #admitInForeignChains(network: Network, undo: Undo | undefined, known?: ForwardHook): void {
    const { socket, name } = this.#table
    const families = new Set(network.pools.map(pool => parsePrefix(pool.subnet).family))
    const search = { families, thorough: known === undefined }
    let changed = addLegacyAccepts(families).length > 0
    const hook = known ?? readForwardHook(socket, name)
    if (hook.foreign.length > 0 || hasLegacyFilter()) updateStrangers(this.#table)
    if (missingAccepts(socket, hook, search).length > 0) {
      const failures = this.#table.optimistically(() => missingAccepts(socket, readForwardHook(socket, name), search))
      if (failures.length > 0) throwFailure('cannot admit packets in a foreign FORWARD chain', failures)
      changed = true
    }
    if (changed) undo?.add('foreign accept rule', () => this.#withdrawForeignRules(network))
  }

  /** Takes the rules in foreign chains out again unless another network needs them by now. */
  #withdrawForeignRules(network: Network): void {
    if (this.#table.countOthers(['bridges', 'groups'], memberElements(network)) > 0) return
    const { socket, name } = this.#table
    const failures = this.#table.optimistically(() => surplusAccepts(socket, name))
    if (failures.length > 0) throwFailure('cannot remove our rule from a foreign FORWARD chain', failures)
    removeLegacyAccepts()
  }

  /** Calls `attempt` until it no longer says that the table is missing or of another version. */
  #rebuildUntil(attempt: () => boolean): void {
    for (let count = 0; !attempt(); count++) {
      if (count === 3) throw new Error(`table inet ${this.#table.name} disappears as soon as it is made`)
      this.#rebuild()
    }
  }

  /** Entered in the journal: whoever is killed behind the replacement has not seen what came and went meanwhile. */
  #rebuild(): void {
    const job = this.#beginRebuild()
    let isDone = false
    try {
      const snapshot = withStanding(this.#table, this.#records())
      faultPoint('firewall records read')
      if (this.#table.stands()) this.#replaceTable(snapshot)
      else this.#createTable(snapshot)
      isDone = true
      faultPoint('firewall rules made anew')
      catchUp(this.#table, snapshot, this.#records)
      job.end()
    } catch (error) {
      if (isDone) job.abandon()
      else job.end()
      throw error
    }
  }

  #createTable(snapshot: FirewallSnapshot): void {
    try {
      this.#run(this.#script(snapshot))
    } catch (error) {
      // Another process was faster, with the same intent.
      if (!(error instanceof NftScriptError && this.#table.stands())) throw error
    }
  }

  #replaceTable(snapshot: FirewallSnapshot): void {
    const { name } = this.#table
    this.#run(`add table inet ${name}\ndelete table inet ${name}\n${this.#script(snapshot)}`)
  }

  #script(snapshot: FirewallSnapshot): string {
    const { socket, name } = this.#table
    return [
      // Whoever has made theirs with another priority keeps that.
      listTables(socket, NFPROTO_INET).includes(userTable) ? '' : userRuleset,
      baseRuleset(name),
      addElementsText(name, snapshotElements(snapshot)),
      snapshot.networks.every(network => policyOf(network).icc) ? '' : portIsolationRuleset(name),
    ].join('')
  }

  #run(script: string): void {
    record(() => `nft -f - <<'EOF'\n${script}EOF`)
    runNftScript(script)
  }
}

/** The messages that delete a table. */
function deletionOf(family: number, table: string): NfMessage[] {
  record(() => `nft delete table ${family === NFPROTO_BRIDGE ? 'bridge' : 'inet'} ${table}`)
  return [deleteTable(family, table)]
}
