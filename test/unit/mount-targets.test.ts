import { expect, test } from 'vitest'
import { assertMountTargets } from '../../src/engine/container/mount-targets.ts'

const mount = (type: 'bind' | 'volume' | 'tmpfs', target: string) => ({ type, source: '/x', target, readonly: false })

test.each([
  ['volume', '/proc'],
  ['bind', '/proc/'],
  ['bind', '/proc/sys/kernel'],
  ['tmpfs', '/proc/cpuinfo'],
] as const)('assertMountTargets() refuses a %s on %s', (type, target) => {
  expect(() => assertMountTargets([mount(type, target)])).toThrow(/nothing may lie over \/proc/)
})

test.each([
  ['bind', '/proc/cpuinfo'],
  ['volume', '/process'],
  ['bind', '/srv/proc'],
] as const)('assertMountTargets() lets a %s on %s pass', (type, target) => {
  expect(() => assertMountTargets([mount(type, target)])).not.toThrow()
})
