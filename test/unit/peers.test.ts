import { describe, expect, test } from 'vitest'
import { networkElements } from '../../src/drivers/firewall/network-elements.ts'
import { checkPeers, macOfPeer, vtepMac } from '../../src/drivers/network/peers.ts'
import { parseVxlan, vxlanOverhead } from '../../src/drivers/network/routed-options.ts'
import { elementText } from '../../src/kernel/nftables/elements.ts'
import type { Network } from '../../src/model/network.ts'

const network: Network = {
  id: 'a1b2c3d4e5f6'.padEnd(64, '0'),
  name: 'apps',
  driver: 'routed',
  pools: [
    { subnet: '10.1.0.0/24', gateway: '10.1.0.1' },
    { subnet: 'fd00:1::/64', gateway: 'fd00:1::1' },
  ],
  peers: [
    { subnet: 'fd00:2::/64', address: '192.0.2.2' },
    { subnet: '10.2.0.0/24', address: '192.0.2.2' },
    { subnet: '10.3.0.0/24', address: '192.0.2.3' },
  ],
  internal: false,
  labels: {},
  options: { vxlan: '42' },
  hostInterface: 'apps',
  createdAt: '2026-01-01T00:00:00Z',
}
const peers = network.peers ?? []

describe('a peer', () => {
  test('is admitted to the subnets of its own IP version', () => {
    const texts = networkElements(network).map(
      element => `${element.set} ${elementText(element).replace(/ comment.*/, '')}`,
    )
    expect(texts.filter(text => text.startsWith('peers'))).toEqual([
      'peers6 fd00:2::/64 . fd00:1::/64',
      'peers4 10.2.0.0/24 . 10.1.0.0/24',
      'peers4 10.3.0.0/24 . 10.1.0.0/24',
    ])
  })

  test('has on a vxlan the MAC address that its host derives itself, in whatever order its subnets are given', () => {
    const own = vtepMac(['fd00:2::/64', '10.2.0.0/24'])
    expect(own).toMatch(/^02:54(:[0-9a-f]{2}){4}$/)
    expect(peers.map(peer => macOfPeer(peers, peer))).toEqual([own, own, vtepMac(['10.3.0.0/24'])])
    expect(vtepMac(['10.3.0.0/24'])).not.toBe(own)
  })

  test('is kept in canonical form, IPv4 first', () => {
    const given = [
      { subnet: 'FD00:2:0::/64', address: '2001:DB8::2' },
      { subnet: '10.2.0.0/24', address: '2001:db8::2' },
    ]
    expect(checkPeers({ ...network, peers: given }, [], 6)).toEqual([
      { subnet: '10.2.0.0/24', address: '2001:db8::2' },
      { subnet: 'fd00:2::/64', address: '2001:db8::2' },
    ])
  })

  test('must not have what another network or its peer has', () => {
    const other = { ...network, name: 'other', pools: [{ subnet: '10.0.0.0/14', gateway: '10.0.0.1' }], peers: [] }
    expect(() => checkPeers(network, [other], 4)).toThrow(/overlaps network "other", 10\.0\.0\.0\/14/)
    const rival = { ...other, pools: [], peers: [{ subnet: '10.3.0.0/25', address: '192.0.2.9' }] }
    expect(() => checkPeers(network, [rival], 4)).toThrow(/overlaps a peer of "other"/)
    expect(() => checkPeers(network, [], 6)).toThrow(/its vxlan goes over IPv6/)
  })
})

describe('parseVxlan()', () => {
  test('goes over the IP version of the first peer, or of `local`', () => {
    expect(parseVxlan(network)).toEqual({ id: 42, port: 4789, local: '0.0.0.0' })
    const v6 = parseVxlan({ ...network, peers: [], options: { vxlan: '1', local: '::' } })
    expect(v6).toEqual({ id: 1, port: 4789, local: '::' })
    expect([
      vxlanOverhead({ id: 1, port: 1, local: '0.0.0.0' }),
      vxlanOverhead({ id: 1, port: 1, local: '::' }),
    ]).toEqual([50, 70])
  })

  test.each([['0'], ['16777216'], ['-1'], ['1e3'], ['']])('refuses the number %j', vxlan => {
    expect(() => parseVxlan({ ...network, options: { vxlan } })).toThrow(/is no vxlan/)
  })
})
