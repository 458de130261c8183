import { expect, test } from 'vitest'
import { runPreflight } from '../../src/kernel/preflight.ts'
import { checkKernel } from '../../src/kernel/preflight-kernel.ts'

test.each([
  ['5.9.16', false],
  ['5.10.0-28-amd64', true],
  ['6.1.0', true],
  ['4.19.0', false],
])('checkKernel() of %s is %s', (release, ok) => {
  expect(checkKernel(release).ok).toBe(ok)
})

test('runPreflight() says for each failure what to do', () => {
  const checks = runPreflight({ initPath: '/nonexistent/tsrun-init' })

  expect(checks.map(check => check.name)).toEqual(
    expect.arrayContaining(['root', 'cgroups', 'libseccomp', 'tsrun-init']),
  )
  expect(new Set(checks.map(check => check.name)).size).toBe(checks.length)
  expect(checks.find(check => check.name === 'tsrun-init')).toMatchObject({
    ok: false,
    remedy: expect.stringContaining('install'),
  })
  for (const check of checks.filter(({ ok, severity }) => !ok && severity !== 'info')) expect(check.remedy).toBeTruthy()
})
