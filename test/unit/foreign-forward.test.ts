// Where our rule goes in chains of others, and which subnets a network asks for: pure.

import { describe, expect, test } from 'vitest'
import { findDrop } from '../../src/drivers/firewall/foreign-forward.ts'
import { placeOfAccept } from '../../src/drivers/firewall/legacy-forward.ts'
import { wantedPools } from '../../src/engine/network/wanted-pools.ts'
import type { Rule, Verdict } from '../../src/kernel/nftables/ruleset.ts'
import type { NetworkSpec } from '../../src/model/network.ts'

const rule = (verdict?: Verdict): Rule => ({ chain: 'c', handle: Buffer.alloc(8), comment: undefined, verdict })
const drop = rule({ kind: 'drop' })
const jump = (chain: string) => rule({ kind: 'jump', chain })
const goTo = (chain: string) => rule({ kind: 'goto', chain })

describe('findDrop()', () => {
  const chains = new Map<string, Rule[]>([
    ['harmless', [rule(), rule({ kind: 'return' }), drop]],
    ['accepts', [rule({ kind: 'accept' }), drop]],
    ['drops', [rule(), drop]],
    ['deep', [jump('harmless'), goTo('drops')]],
  ])
  const conditional = rule()

  test.each<[string, Rule[], number]>([
    ['a drop at the end', [conditional, drop], 1],
    ['a jump to a chain that drops', [conditional, jump('harmless'), jump('deep'), drop], 2],
    ['nothing where a chain lets packets go on', [jump('harmless'), conditional], -1],
    ['nothing behind an accept', [rule({ kind: 'accept' }), drop], -1],
    ['nothing behind a goto, from which nobody comes back', [goTo('harmless'), drop], -1],
    ['nothing where the chain called accepts first', [jump('accepts')], -1],
    ['nothing in an empty chain', [], -1],
  ])('finds %s', (_, rules, index) => {
    expect(findDrop(rules, chains)).toBe(rules[index])
  })
})

describe('placeOfAccept()', () => {
  test.each<[string, string[], number | undefined]>([
    ['at the end where the policy drops', ['-P FORWARD DROP', '-A FORWARD -s 192.0.2.1/32 -j DROP'], 2],
    ['before a drop', ['-P FORWARD ACCEPT', '-A FORWARD -i eth1 -j DROP', '-A FORWARD -j REJECT --reject-with x'], 2],
    [
      'before a jump to a chain that drops',
      ['-P FORWARD DROP', '-A FORWARD -j A', '-A A -j RETURN', '-A A -j DROP', '-A FORWARD -g B', '-A B -j DROP'],
      2,
    ],
    ['nowhere where nothing drops everything', ['-P FORWARD ACCEPT', '-A FORWARD -p tcp -j DROP'], undefined],
  ])('%s', (_, rules, place) => {
    expect(placeOfAccept(rules)).toBe(place)
  })
})

describe('wantedPools()', () => {
  const v4 = { subnet: '10.1.0.0/24' }
  const v6 = { subnet: 'fd00:1::/64' }
  const any6 = { family: 6 }

  test.each<[Partial<NetworkSpec>, object[]]>([
    [{}, [{}]],
    [{ pools: [v4] }, [v4]],
    [{ pools: [v6] }, [v6]],
    [{ ipv6: true }, [{}, any6]],
    [{ ipv6: true, ipv4: false }, [any6]],
    [{ ipv6: true, pools: [v4] }, [v4, any6]],
    [{ ipv6: true, pools: [v6] }, [{}, v6]],
    [{ ipv6: true, ipv4: false, pools: [v6] }, [v6]],
    [{ ipv4: true, pools: [v6] }, [{}, v6]],
  ])('%j asks for %j', (spec, pools) => {
    expect(wantedPools({ name: 'n', pools: [], ...spec })).toEqual(pools)
  })

  test.each<[Partial<NetworkSpec>, RegExp]>([
    [{ ipv4: false }, /no IPv4, and no IPv6/],
    [{ ipv4: false, pools: [v4] }, /an IPv4 subnet, and no IPv4/],
    [{ ipv6: false, pools: [v6] }, /an IPv6 subnet, and no IPv6/],
  ])('%j is refused', (spec, message) => {
    expect(() => wantedPools({ name: 'n', pools: [], ...spec })).toThrow(message)
  })
})
