// The same rule for hosts whose filter lives in legacy iptables (x_tables beside nf_tables in one kernel). Only there
// is a program executed; elsewhere one look at a file in /proc says that there is nothing to do.

import { hasCode } from '../../ffi/errno.ts'
import { record } from '../../kernel/explain.ts'
import { readTextIfThere } from '../../lib/if-there.ts'
import { admittedMark } from './base-ruleset.ts'
import { foreignComment } from './foreign-forward.ts'

const programs = { 4: 'iptables-legacy', 6: 'ip6tables-legacy' } as const
const mark = `0x${admittedMark.toString(16)}`
const rule = ['-m', 'mark', '--mark', `${mark}/${mark}`, '-m', 'comment', '--comment', foreignComment, '-j', 'ACCEPT']

/** The families whose legacy FORWARD chain drops packets and has no rule of ours. */
export function legacyFamiliesThatDrop(families: ReadonlySet<4 | 6>): (4 | 6)[] {
  return [...families].filter(family => missingPlace(family) !== undefined)
}

/** Where our rule is missing. */
function missingPlace(family: 4 | 6): number | undefined {
  const rules = filterRules(family)
  return rules === undefined || rules.some(isOurs) ? undefined : placeOfAccept(rules)
}

/** Makes legacy FORWARD chains that drop accept what we marked. @returns the families in which a rule was added */
export function addLegacyAccepts(families: ReadonlySet<4 | 6>): (4 | 6)[] {
  return [...families].filter(family => {
    const place = missingPlace(family)
    if (place === undefined) return false
    record(
      () => `${programs[family]} -w -I FORWARD ${place} ${rule.slice(0, 7).join(' ')} '${foreignComment}' -j ACCEPT`,
    )
    iptables(family, ['-I', 'FORWARD', String(place), ...rule])
    return true
  })
}

/**
 * Where in FORWARD our rule belongs, counted from 1: before the rule that drops whatever reaches it, itself or in the chains
 * that it calls, or at the end where the policy does. Pure.
 * @param rules what `iptables -S` prints
 * @returns undefined where nothing drops everything
 */
export function placeOfAccept(rules: readonly string[]): number | undefined {
  const forward = rules.filter(line => line.startsWith('-A FORWARD '))
  const index = forward.findIndex(line => dropsAll(line, rules))
  if (index >= 0) return index + 1
  return rules.includes('-P FORWARD DROP') ? forward.length + 1 : undefined
}

/** Whether the rule has no condition, and ends in a drop whatever the packet. */
function dropsAll(line: string, rules: readonly string[]): boolean {
  const [, target] = line.match(/^-A \S+ -[jg] (\S+)/) ?? []
  if (target === undefined) return false
  if (target === 'DROP' || target === 'REJECT') return true
  for (const inner of rules.filter(other => other.startsWith(`-A ${target} `))) {
    if (/^-A \S+ -j (ACCEPT|RETURN)$/.test(inner)) return false
    if (dropsAll(inner, rules)) return true
  }
  return false
}

/** Whether the namespace has a legacy filter table, of either family. */
export function hasLegacyFilter(): boolean {
  return hasFilterTable(4) || hasFilterTable(6)
}

/** Takes our rules out again. Idempotent. */
export function removeLegacyAccepts(): void {
  for (const family of [4, 6] as const) {
    for (const _ of filterRules(family)?.filter(isOurs) ?? []) {
      record(() => `${programs[family]} -w -D FORWARD ${rule.slice(0, 7).join(' ')} '${foreignComment}' -j ACCEPT`)
      iptables(family, ['-D', 'FORWARD', ...rule])
    }
  }
}

/** `-S`, or undefined where the namespace has no legacy filter table or nobody can have filled it. */
function filterRules(family: 4 | 6): string[] | undefined {
  if (!hasFilterTable(family)) return undefined
  try {
    return iptables(family, ['-S']).trim().split('\n')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function hasFilterTable(family: 4 | 6): boolean {
  // The file exists once the module is loaded, and only root may read it; thread-self: it shows the namespace of whoever does.
  const names = readTextIfThere(`/proc/thread-self/net/ip${family === 6 ? '6' : ''}_tables_names`, 'EACCES')
  return names?.split('\n').includes('filter') === true
}

function isOurs(line: string): boolean {
  return line.includes(`"${foreignComment}"`)
}

function iptables(family: 4 | 6, args: readonly string[]): string {
  // Loaded here: few hosts have legacy rules.
  const { execFileSync } = process.getBuiltinModule('node:child_process')
  return execFileSync(programs[family], ['-w', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}
