// The same rule for hosts whose filter lives in legacy iptables (x_tables beside nf_tables in one kernel). Only there
// is a program executed; elsewhere one look at a file in /proc says that there is nothing to do.

import { readFileSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { record } from '../../kernel/explain.ts'
import { foreignComment } from './foreign-forward.ts'
import { admittedMark } from './nft-rules.ts'

const programs = { 4: 'iptables-legacy', 6: 'ip6tables-legacy' } as const
const mark = `0x${admittedMark.toString(16)}`
const rule = ['-m', 'mark', '--mark', `${mark}/${mark}`, '-m', 'comment', '--comment', foreignComment, '-j', 'ACCEPT']

/** Makes legacy FORWARD chains that drop accept what we marked. @returns the families in which a rule was added */
export function addLegacyAccepts(families: ReadonlySet<4 | 6>): (4 | 6)[] {
  return [...families].filter(family => {
    const rules = forwardRules(family)
    if (rules === undefined || rules.some(isOurs) || !drops(rules)) return false
    record(() => `${programs[family]} -w -I FORWARD ${rule.slice(0, 7).join(' ')} '${foreignComment}' -j ACCEPT`)
    iptables(family, ['-I', 'FORWARD', ...rule])
    return true
  })
}

/** Takes our rules out again. Idempotent. */
export function removeLegacyAccepts(): void {
  for (const family of [4, 6] as const) {
    for (const _ of forwardRules(family)?.filter(isOurs) ?? []) {
      record(() => `${programs[family]} -w -D FORWARD ${rule.slice(0, 7).join(' ')} '${foreignComment}' -j ACCEPT`)
      iptables(family, ['-D', 'FORWARD', ...rule])
    }
  }
}

/** `-S FORWARD`, or undefined where the namespace has no legacy filter table or nobody can have filled it. */
function forwardRules(family: 4 | 6): string[] | undefined {
  // thread-self: the file shows the namespace of whoever reads it.
  const names = readIfThere(`/proc/thread-self/net/ip${family === 6 ? '6' : ''}_tables_names`)
  if (!names.split('\n').includes('filter')) return undefined
  try {
    return iptables(family, ['-S', 'FORWARD']).trim().split('\n')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function drops(rules: readonly string[]): boolean {
  if (rules[0]?.startsWith('-P FORWARD DROP') === true) return true
  return /^-A FORWARD -j (DROP|REJECT)\b/.test(rules.at(-1) ?? '')
}

function isOurs(line: string): boolean {
  return line.includes(`"${foreignComment}"`)
}

function iptables(family: 4 | 6, args: readonly string[]): string {
  // Loaded here: few hosts have legacy rules.
  const { execFileSync } = process.getBuiltinModule('node:child_process')
  return execFileSync(programs[family], ['-w', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    // The file exists once the module is loaded, and only root may read it.
    if (hasCode(error, 'ENOENT', 'EACCES')) return ''
    throw error
  }
}
