import { expect, test } from 'vitest'
import {
  capabilityField,
  capabilityMask,
  capabilityNames,
  capabilityTable,
  defaultCapabilities,
  resolveCapabilities,
} from '../../src/kernel/capabilities.ts'

const all = (1n << BigInt(capabilityTable.length)) - 1n

test('the capability table has the numbers of linux/capability.h', () => {
  expect(capabilityTable.indexOf('CAP_SYS_ADMIN')).toBe(21)
  expect(capabilityTable.indexOf('CAP_CHECKPOINT_RESTORE')).toBe(40)
})

test('resolveCapabilities() gives docker its fourteen', () => {
  expect(capabilityNames(resolveCapabilities({}, all)).sort()).toEqual([...defaultCapabilities].sort())
  expect(defaultCapabilities).toHaveLength(14)
  // What docker shows as CapBnd.
  expect(resolveCapabilities({}, all)).toBe(0xa80425fbn)
})

test('resolveCapabilities() adds and drops by name, with and without CAP_, in any case', () => {
  const mask = resolveCapabilities({ add: ['net_admin', 'CAP_SYS_PTRACE'], drop: ['Mknod'] }, all)

  expect(capabilityNames(mask)).toContain('CAP_NET_ADMIN')
  expect(capabilityNames(mask)).toContain('CAP_SYS_PTRACE')
  expect(capabilityNames(mask)).not.toContain('CAP_MKNOD')
})

test('resolveCapabilities() handles ALL', () => {
  expect(resolveCapabilities({ drop: ['ALL'] }, all)).toBe(0n)
  expect(capabilityNames(resolveCapabilities({ drop: ['all'], add: ['CHOWN'] }, all))).toEqual(['CAP_CHOWN'])
  expect(resolveCapabilities({ add: ['ALL'] }, all)).toBe(all)
  expect(resolveCapabilities({ add: ['ALL'], drop: ['SYS_ADMIN'] }, all)).toBe(all & ~(1n << 21n))
})

test('resolveCapabilities() gives a privileged container what tsrun has and no more', () => {
  const withoutResource = all & ~(1n << 24n)

  expect(resolveCapabilities({ privileged: true }, withoutResource)).toBe(withoutResource)
  expect(resolveCapabilities({ add: ['ALL'] }, withoutResource)).toBe(withoutResource)
})

test('resolveCapabilities() refuses a capability by name that tsrun lacks', () => {
  expect(() => resolveCapabilities({ add: ['SYS_RESOURCE'] }, all & ~(1n << 24n))).toThrow(
    'cannot give CAP_SYS_RESOURCE: tsrun itself does not have it',
  )
})

test('resolveCapabilities() lists the names on a typo', () => {
  expect(() => resolveCapabilities({ add: ['NET_ADMN'] }, all)).toThrowError(
    expect.objectContaining({ kind: 'invalid', hint: expect.stringContaining('NET_ADMIN') }),
  )
})

test('capabilityField() reads a status text', () => {
  expect(capabilityField('CapBnd', 'CapEff:\t0000000000000001\nCapBnd:\t000001fffeffffff\n')).toBe(0x1fffeffffffn)
  expect(capabilityField('CapEff', '')).toBe(0n)
  expect(capabilityMask(['CAP_CHOWN', 'CAP_SYS_ADMIN'])).toBe((1n << 21n) | 1n)
})
