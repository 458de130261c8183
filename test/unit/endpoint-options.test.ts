// Options of one endpoint, as the library has them: nobody gets past these rules without the command line.

import { describe, expect, test } from 'vitest'
import { checkDriversOptions, readSysctls } from '../../src/model/endpoint-options.ts'
import { TsrunError } from '../../src/model/errors.ts'
import { checkJoining } from '../../src/model/joining.ts'

const docker = 'com.docker.network.endpoint'
const setting = 'net.ipv4.conf.IFNAME.arp_ignore=1'
const join = (more: object) => () => checkJoining({ network: 'a', ...more })

describe('checkJoining()', () => {
  test.each([
    [{ driverOptions: { sysctls: setting, device: 'eth3' } }],
    [{ driverOptions: { [`${docker}.ifname`]: 'lan0' }, interfaceName: 'lan0' }],
    [{ linkLocalIps: ['169.254.1.1', 'fe80::1', 'FEBF::1'], ip6: 'fd00::2', gwPriority: -3 }],
  ])('takes %j', more => {
    expect(join(more)).not.toThrow()
  })

  test.each([
    [{ driverOptions: { sysctls: '' } }, 'cannot set "" of an interface'],
    [{ driverOptions: { [`${docker}.sysctls`]: `${setting},` } }, 'cannot set "" of an interface'],
    [{ driverOptions: { sysctls: 'net.ipv4.conf.eth0.arp_ignore=1' } }, 'cannot set "net.ipv4.conf.eth0'],
    [{ driverOptions: { sysctls: 'net.ipv4.conf.IFNAME.arp_ignore' } }, 'of an interface'],
    [{ driverOptions: { sysctls: setting, [`${docker}.sysctls`]: setting } }, 'together'],
    [{ driverOptions: { [`${docker}.ifname`]: 'lan0' }, interfaceName: 'lan1' }, 'the names "lan1" and "lan0"'],
    [{ linkLocalIps: ['fe8::1'] }, '"fe8::1": it is not link-local'],
    [{ linkLocalIps: ['169.254.1'] }, '"169.254.1": it is not link-local'],
    [{ linkLocalIps: ['fe80::1', '10.0.0.1'] }, '"10.0.0.1": it is not link-local'],
    [{ ip6: '10.0.0.1' }, '"10.0.0.1": it is no IPv6 address'],
    [{ ip6: 'not:one' }, '"not:one": it is no IPv6 address'],
    [{ gwPriority: 0.5 }, 'it is no whole number'],
  ])('refuses %j', (more, reason) => {
    expect(join(more)).toThrow(TsrunError)
    expect(join(more)).toThrow(reason)
  })
})

describe('checkDriversOptions()', () => {
  const check = (endpointOptions: readonly string[] | undefined, options: Record<string, string>) => () =>
    checkDriversOptions({ name: 'a' }, { name: 'd', ...(endpointOptions && { endpointOptions }) }, options)

  test('lets pass what the driver names, what every driver has, and all where it names nothing', () => {
    expect(check(['speed'], { speed: '9', sysctls: setting, [`${docker}.ifname`]: 'x' })).not.toThrow()
    expect(check([], {})).not.toThrow()
    expect(check(undefined, { anything: '1' })).not.toThrow()
  })

  test.each([[[]], [['speed']]])('with %j refuses the rest', known => {
    for (const key of ['colour', 'Sysctls', '__proto__', 'constructor', ''])
      expect(check(known, Object.fromEntries([[key, '1']]))).toThrow(
        `cannot join network "a": its driver "d" knows no driver-opt ${JSON.stringify(key)}`,
      )
  })
})

test('readSysctls() keeps to the one interface', () => {
  expect(readSysctls({ sysctls: `${setting},net.ipv6.neigh.IFNAME.gc_stale_time=7` })).toEqual([
    { family: 'ipv4', group: 'conf', key: 'arp_ignore', value: '1' },
    { family: 'ipv6', group: 'neigh', key: 'gc_stale_time', value: '7' },
  ])
  for (const text of ['net.ipv4.conf.IFNAME.../all/x=1', 'net.ipv4.conf.IFNAME.a/b=1', 'net.core.IFNAME.x.y=1', 'x'])
    expect(() => readSysctls({ sysctls: text })).toThrow(TsrunError)
})
