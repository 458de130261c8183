import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { runPreflight } from '../../src/kernel/preflight.ts'

describe.skipIf(process.geteuid?.() !== 0)('preflight', () => {
  test('runPreflight() finds nothing required missing here, and changes nothing', () => {
    const look = () => ({
      modules: readdirSync('/sys/module').length,
      links: readFileSync('/proc/net/dev', 'utf8').split('\n').length,
      forward: readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'),
      descriptors: readdirSync('/proc/self/fd').length,
    })
    const before = look()

    const checks = runPreflight()

    expect(checks.filter(check => !check.ok && check.severity === 'required')).toEqual([])
    expect(look()).toEqual(before)
  })
})
