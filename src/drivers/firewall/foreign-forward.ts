// Where somebody else's rules would drop what ours admit. In nftables an accept in one table does not undo a drop in
// another, so exactly one rule goes into each such chain, right before what drops everything (or at the end, where the
// policy does): accept what carries our mark. Policies stay as they are, and so do drops of certain packets that come before.

import { record } from '../../kernel/explain.ts'
import {
  NFPROTO_INET,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  type NfMessage,
  type Nfnetlink,
} from '../../kernel/nftables/nfnetlink.ts'
import {
  addMarkAccept,
  type BaseChain,
  countInTables,
  deleteRule,
  listBaseChains,
  listRules,
  listTables,
  type Rule,
} from '../../kernel/nftables/ruleset.ts'
import { admittedMark, userTable } from './base-ruleset.ts'

/** The comment of our rule in foreign chains, in nftables and in iptables. */
export const foreignComment = 'tsrun: admitted by table inet tsrun'

const NF_INET_FORWARD = 2
const familyNames = new Map([
  [NFPROTO_INET, 'inet'],
  [NFPROTO_IPV4, 'ip'],
  [NFPROTO_IPV6, 'ip6'],
])
/** What our tables are called, whichever engine made them: they share the rule in foreign chains. */
const ownTable = /^tsrun(-[0-9a-f]{8})?$/

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
    foreign: chains.filter(chain => !(chain.family === NFPROTO_INET && isOwn(chain.table))),
  }
}

/** The user's drops are meant: theirs is no chain of a stranger. */
function isOwn(table: string): boolean {
  return table === userTable || ownTable.test(table)
}

/**
 * The messages that let marked packets through wherever `hook` would drop them and does not yet accept them.
 * @param families which of IPv4 and IPv6 matter: a chain that sees neither is left alone
 * @param thorough also moves rules of ours that stand behind a drop by now; else a chain that has one is taken to be right
 */
export function missingAccepts(
  socket: Nfnetlink,
  hook: ForwardHook,
  { families, thorough }: { families: ReadonlySet<4 | 6>; thorough: boolean },
): NfMessage[] {
  return hook.foreign.flatMap(chain => {
    if (chain.family === NFPROTO_IPV4 && !families.has(4)) return []
    if (chain.family === NFPROTO_IPV6 && !families.has(6)) return []
    if (!chain.drops && chain.use === 0) return []
    const rules = listRules(socket, chain)
    const ours = rules.filter(isOurs)
    if (ours.length > 0 && !thorough) return []
    // The other chains of the table matter only where this one calls them whatever the packet.
    const calls = rules.some(({ verdict }) => verdict?.kind === 'jump' || verdict?.kind === 'goto')
    const { family, table } = chain
    const drop = findDrop(rules, calls ? groupByChain(listRules(socket, { family, table })) : new Map())
    if (drop === undefined && !chain.drops) return []
    const [first] = ours
    if (first !== undefined && (drop === undefined || rules.indexOf(first) < rules.indexOf(drop))) return []
    record(() => acceptText(chain, drop))
    const accept = addMarkAccept(chain, { mark: admittedMark, comment: foreignComment, before: drop })
    return [...ours.map(rule => deleteRule(chain, rule)), accept]
  })
}

/** The first of `rules` that drops whatever reaches it, itself or in the chains that it calls. Pure. */
export function findDrop(rules: readonly Rule[], chains: ReadonlyMap<string, readonly Rule[]>): Rule | undefined {
  for (const rule of rules) {
    const { verdict } = rule
    if (verdict === undefined) continue
    if (verdict.kind === 'drop') return rule
    if (verdict.kind !== 'jump' && verdict.kind !== 'goto') return undefined
    // The kernel refuses rules that call each other in a circle.
    if (findDrop(chains.get(verdict.chain) ?? [], chains) !== undefined) return rule
    if (verdict.kind === 'goto') return undefined
  }
  return undefined
}

function groupByChain(rules: readonly Rule[]): Map<string, Rule[]> {
  const chains = new Map<string, Rule[]>()
  for (const rule of rules) chains.set(rule.chain, [...(chains.get(rule.chain) ?? []), rule])
  return chains
}

function isOurs({ comment }: Rule): boolean {
  return comment === foreignComment
}

/** The messages that take our rules out of all foreign chains; none while another engine's table stands. */
export function surplusAccepts(socket: Nfnetlink, table: string): NfMessage[] {
  if (listTables(socket, NFPROTO_INET).some(name => name !== table && ownTable.test(name))) return []
  return readForwardHook(socket, table).foreign.flatMap(chain => {
    if (chain.use === 0) return []
    const ours = listRules(socket, chain).filter(isOurs)
    for (const rule of ours) {
      const handle = rule.handle.readBigUInt64BE(0)
      record(() => `nft delete rule ${familyNames.get(chain.family)} ${chain.table} ${chain.name} handle ${handle}`)
    }
    return ours.map(rule => deleteRule(chain, rule))
  })
}

/** Whether the user's table is there with nothing in it, and no other engine would make it again. */
export function isUserTableUnused(socket: Nfnetlink, table: string): boolean {
  const tables = countInTables(socket, NFPROTO_INET)
  if (tables.some(([name]) => name !== table && ownTable.test(name))) return false
  // One chain, as we make it.
  if (!tables.some(([name, use]) => name === userTable && use === 1)) return false
  return listRules(socket, { family: NFPROTO_INET, table: userTable }).length === 0
}

/** The rule as a person would type it. */
function acceptText(chain: BaseChain, before: Rule | undefined): string {
  const mark = `0x${admittedMark.toString(16).padStart(8, '0')}`
  const place = `${familyNames.get(chain.family)} ${chain.table} ${chain.name}`
  const where = before === undefined ? '' : ` handle ${before.handle.readBigUInt64BE(0)}`
  const verb = before === undefined ? 'add' : 'insert'
  return `nft '${verb} rule ${place}${where} meta mark & ${mark} == ${mark} counter accept comment "${foreignComment}"'`
}
