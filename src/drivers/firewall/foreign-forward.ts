// Where somebody else's rules would drop what ours admit. In nftables an accept in one table does not undo a drop in
// another, so exactly one rule goes to the top of each such chain: accept what carries our mark. Policies stay as they are.

import { record } from '../../kernel/explain.ts'
import {
  NFPROTO_INET,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  type NfMessage,
  type Nfnetlink,
} from '../../kernel/nftables/nfnetlink.ts'
import {
  type BaseChain,
  deleteRule,
  insertMarkAccept,
  listBaseChains,
  listRules,
  listTables,
} from '../../kernel/nftables/ruleset.ts'
import { admittedMark } from './nft-rules.ts'

/** The comment of our rule in foreign chains, in nftables and in iptables. */
export const foreignComment = 'tsrun: admitted by table inet tsrun'

const NF_INET_FORWARD = 2
const familyNames = new Map([
  [NFPROTO_INET, 'inet'],
  [NFPROTO_IPV4, 'ip'],
  [NFPROTO_IPV6, 'ip6'],
])
/** What our tables are called, whichever engine made them: they share the rule in foreign chains. */
export const ownTable = /^tsrun(-[0-9a-f]{8})?$/

/** What the forward hook holds: whether our own chain stands there, and the chains of others. */
export interface ForwardHook {
  readonly ours: boolean
  readonly foreign: readonly BaseChain[]
}

/** Looks at the forward hook of all families. One dump. */
export function readForwardHook(socket: Nfnetlink, table: string): ForwardHook {
  const chains = listBaseChains(socket).filter(chain => chain.hook === NF_INET_FORWARD && familyNames.has(chain.family))
  return {
    ours: chains.some(chain => chain.family === NFPROTO_INET && chain.table === table),
    foreign: chains.filter(chain => !(chain.family === NFPROTO_INET && ownTable.test(chain.table))),
  }
}

/**
 * The messages that let marked packets through wherever `hook` would drop them and does not yet accept them.
 * @param families which of IPv4 and IPv6 matter: a chain that sees neither is left alone
 */
export function missingAccepts(socket: Nfnetlink, hook: ForwardHook, families: ReadonlySet<4 | 6>): NfMessage[] {
  const messages: NfMessage[] = []
  for (const chain of hook.foreign) {
    if (chain.family === NFPROTO_IPV4 && !families.has(4)) continue
    if (chain.family === NFPROTO_IPV6 && !families.has(6)) continue
    if (!chain.drops && chain.use === 0) continue
    const rules = listRules(socket, chain)
    if (rules.some(rule => rule.comment === foreignComment)) continue
    if (!chain.drops && rules.at(-1)?.dropsAll !== true) continue
    record(() => insertText(chain))
    messages.push(insertMarkAccept(chain, admittedMark, foreignComment))
  }
  return messages
}

/** The messages that take our rules out of all foreign chains; none while another engine's table stands. */
export function surplusAccepts(socket: Nfnetlink, table: string): NfMessage[] {
  if (listTables(socket, NFPROTO_INET).some(name => name !== table && ownTable.test(name))) return []
  return readForwardHook(socket, table).foreign.flatMap(chain => {
    if (chain.use === 0) return []
    const ours = listRules(socket, chain).filter(rule => rule.comment === foreignComment)
    for (const rule of ours) {
      const handle = rule.handle.readBigUInt64BE(0)
      record(() => `nft delete rule ${familyNames.get(chain.family)} ${chain.table} ${chain.name} handle ${handle}`)
    }
    return ours.map(rule => deleteRule(chain, rule))
  })
}

/** The rule as a person would type it; also for messages to the user. */
export function insertText(chain: Pick<BaseChain, 'family' | 'table' | 'name'>): string {
  const mark = `0x${admittedMark.toString(16).padStart(8, '0')}`
  const place = `${familyNames.get(chain.family)} ${chain.table} ${chain.name}`
  return `nft 'insert rule ${place} meta mark & ${mark} == ${mark} counter accept comment "${foreignComment}"'`
}
