import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { defaultSeccompProfile, seccompProgram } from '../../src/drivers/runtime/default-seccomp.ts'
import { capabilityMask, defaultCapabilities } from '../../src/kernel/capabilities.ts'
import { compileSeccomp } from '../../src/kernel/seccomp/compile.ts'
import { enosysPrefix } from '../../src/kernel/seccomp/enosys-prefix.ts'
import { parseSeccompProfile } from '../../src/kernel/seccomp/parse-profile.ts'
import { resolveProfile, type SeccompProfile } from '../../src/kernel/seccomp/profile.ts'

const ALLOW = 0x7fff0000
const EPERM = 0x00050001
const ENOSYS = 0x00050026
const KILL_THREAD = 0
const X86_64 = 0xc000003e
const I386 = 0x40000003
const X32 = 0x40000000

test('resolveProfile() applies capability, architecture and kernel conditions', () => {
  const names = (capabilities: string[], arch = 'x64', kernel?: string) => {
    const target = { capabilities, arch, ...(kernel === undefined ? {} : { kernel }) }
    const { syscalls } = resolveProfile(defaultSeccompProfile(), target)
    return new Set(syscalls.filter(rule => rule.action === 'SCMP_ACT_ALLOW' && !rule.args).flatMap(rule => rule.names))
  }

  expect(names([]).has('mount')).toBe(false)
  expect(names(['CAP_SYS_ADMIN']).has('mount')).toBe(true)
  expect(names(['CAP_SYS_ADMIN']).has('clone3')).toBe(true)
  expect(names([]).has('arch_prctl')).toBe(true)
  expect(names([], 'arm64').has('arch_prctl')).toBe(false)
  expect(names([], 'arm64').has('set_tls')).toBe(true)
  expect(names([], 'x64', '4.4.0').has('ptrace')).toBe(false)
  expect(names([], 'x64', '6.1.0-18-amd64').has('ptrace')).toBe(true)
  expect(() => resolveProfile(defaultSeccompProfile(), { capabilities: [], arch: 'vax' })).toThrow('"vax"')
})

test('resolveProfile() leaves no condition behind', () => {
  const { syscalls, architectures } = resolveProfile(defaultSeccompProfile(), { capabilities: [], arch: 'x64' })

  expect(syscalls.some(rule => 'includes' in rule || 'excludes' in rule)).toBe(false)
  expect(architectures).toEqual(['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'])
})

test('parseSeccompProfile() reads docker and OCI forms', () => {
  const text = JSON.stringify({
    defaultAction: 'SCMP_ACT_ERRNO',
    archMap: null,
    syscalls: [
      { name: 'read', action: 'SCMP_ACT_ALLOW', args: [] },
      { names: ['socket'], action: 'SCMP_ACT_ERRNO', errnoRet: 97, args: [{ index: 0, value: 40, op: 'SCMP_CMP_EQ' }] },
    ],
  })

  expect(parseSeccompProfile(text, 'p.json').syscalls).toEqual([
    { names: ['read'], action: 'SCMP_ACT_ALLOW' },
    {
      names: ['socket'],
      action: 'SCMP_ACT_ERRNO',
      errnoRet: 97,
      args: [{ index: 0, value: 40, valueTwo: 0, op: 'SCMP_CMP_EQ' }],
    },
  ])
})

test.each([
  ['{', 'it is not JSON'],
  ['[]', 'the profile must be an object'],
  ['{"defaultAction":"ALLOW"}', 'defaultAction must be one of SCMP_ACT_KILL,'],
  [
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[1],"action":"SCMP_ACT_ALLOW"}]}',
    'syscalls[0].names[0] must be a string',
  ],
  [
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","args":[{"index":9,"value":1,"op":"SCMP_CMP_EQ"}]}]}',
    'syscalls[0].args[0].index must be a whole number from 0 to 5',
  ],
  ['{"defaultAction":"SCMP_ACT_ALLOW","syscalls":{}}', 'syscalls must be a list'],
])('parseSeccompProfile() says what is wrong with %s', (text, message) => {
  expect(() => parseSeccompProfile(text, 'p.json')).toThrow(`cannot use the seccomp profile "p.json": ${message}`)
})

test('enosysPrefix() answers only calls beyond the profile', () => {
  const prefix = enosysPrefix(
    new Map([
      [X86_64, 450],
      [0x4000003e, X32 + 547],
      [I386, 440],
    ]),
  )
  const run = (arch: number, nr: number) => simulate(prefix, arch, nr, []) ?? 'go on'

  expect([run(X86_64, 450), run(X86_64, 451), run(X86_64, 99_999)]).toEqual(['go on', ENOSYS, ENOSYS])
  expect([run(X86_64, X32 + 547), run(X86_64, X32 + 548)]).toEqual(['go on', ENOSYS])
  expect([run(I386, 440), run(I386, 441), run(0xc00000b7, 99_999)]).toEqual(['go on', ENOSYS, 'go on'])
})

// The numbers below are those of x86_64.
const onX64 = test.skipIf(process.arch !== 'x64')
const compileDefault = (capabilities: readonly string[]) =>
  compileSeccomp(resolveProfile(defaultSeccompProfile(), { capabilities }))

onX64('the default profile allows and refuses as docker does', () => {
  const program = compileDefault(defaultCapabilities)
  const verdict = (nr: number, ...args: number[]) => simulate(program, X86_64, nr, args)

  expect(verdict(0)).toBe(ALLOW) // read
  expect(verdict(59)).toBe(ALLOW) // execve
  expect(verdict(161)).toBe(ALLOW) // chroot: CAP_SYS_CHROOT is in the default set
  expect(verdict(165)).toBe(EPERM) // mount
  expect(verdict(272)).toBe(EPERM) // unshare
  expect(verdict(321)).toBe(EPERM) // bpf
  expect(verdict(250)).toBe(EPERM) // keyctl
  expect(verdict(425)).toBe(EPERM) // io_uring_setup
  expect(verdict(435)).toBe(ENOSYS) // clone3
  expect(verdict(9999)).toBe(ENOSYS)
})

onX64('the default profile looks at arguments of clone, socket and personality', () => {
  const program = compileDefault(defaultCapabilities)
  const verdict = (nr: number, ...args: number[]) => simulate(program, X86_64, nr, args)

  expect(verdict(56, 0x1200011)).toBe(ALLOW) // clone, as fork
  expect(verdict(56, 0x3d0f00)).toBe(ALLOW) // clone, as pthread_create
  for (const flag of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]) {
    expect(verdict(56, flag | 17)).toBe(EPERM)
  }
  for (const family of [1, 2, 10, 16, 17, 29, 44, 45]) expect(verdict(41, family)).toBe(ALLOW)
  for (const family of [12, 37, 38, 40, 46]) expect(verdict(41, family)).toBe(EPERM) // 38 AF_ALG, 40 AF_VSOCK
  expect([0, 8, 0x20000, 0x20008, 0xffffffff].map(value => verdict(135, value))).toEqual(Array(5).fill(ALLOW))
  expect(verdict(135, 0x40000)).toBe(EPERM) // ADDR_NO_RANDOMIZE
})

onX64('the default profile covers i386 and x32, and kills foreign architectures', () => {
  const program = compileDefault(defaultCapabilities)

  expect(simulate(program, I386, 3, [])).toBe(ALLOW) // read
  expect(simulate(program, I386, 21, [])).toBe(EPERM) // mount
  expect(simulate(program, I386, 182, [])).toBe(ALLOW) // chown: only i386 has a chown32 besides it
  expect(simulate(program, I386, 212, [])).toBe(ALLOW) // chown32
  expect(simulate(program, X86_64, X32 + 0, [])).toBe(ALLOW)
  expect(simulate(program, X86_64, X32 + 165, [])).toBe(EPERM)
  expect(simulate(program, 0xc00000b7, 63, [])).toBe(KILL_THREAD)
})

onX64('the default profile opens with capabilities', () => {
  const program = compileDefault([...defaultCapabilities, 'CAP_SYS_ADMIN', 'CAP_SYS_TIME'])

  for (const nr of [165, 272, 435, 164]) expect(simulate(program, X86_64, nr, [])).toBe(ALLOW)
  expect(simulate(program, X86_64, 56, [0x10000000])).toBe(ALLOW)
})

onX64('compileSeccomp() skips unknown calls and takes several conditions on one argument as alternatives', () => {
  const profile: SeccompProfile = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [
      { names: ['no_such_call_ever', 'getpid'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 },
      {
        names: ['socket'],
        action: 'SCMP_ACT_KILL_PROCESS',
        args: [
          { index: 0, value: 1, op: 'SCMP_CMP_EQ' },
          { index: 0, value: 2, op: 'SCMP_CMP_EQ' },
        ],
      },
    ],
  }
  const program = compileSeccomp(resolveProfile(profile, { capabilities: [] }))

  expect(simulate(program, X86_64, 39, [])).toBe(0x0005000d)
  expect([1, 2, 3].map(family => simulate(program, X86_64, 41, [family]))).toEqual([0x80000000, 0x80000000, ALLOW])
  expect(simulate(program, X86_64, 9999, [])).toBe(ALLOW)
})

test('seccompProgram() compiles once for containers whose capabilities make no difference', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tsrun-seccomp-'))
  try {
    const first = seccompProgram(dir, { capabilities: capabilityMask(defaultCapabilities) })
    const [file = ''] = readdirSync(dir)
    const { ino } = statSync(join(dir, file))
    const second = seccompProgram(dir, { capabilities: capabilityMask([...defaultCapabilities, 'CAP_NET_ADMIN']) })

    expect(readdirSync(dir)).toEqual([file])
    expect(statSync(join(dir, file))).toMatchObject({ ino, mode: 0o100600 })
    expect(Buffer.compare(first, second)).toBe(0)
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test('seccompProgram() compiles again what is cut short, and after libseccomp has changed', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tsrun-seccomp-'))
  try {
    const good = seccompProgram(dir, { capabilities: 0n })
    const path = join(dir, readdirSync(dir)[0] ?? '')
    for (const bad of ['', 'x', '/lib/x\t1\t2\n', `/etc/passwd\t1\t2\n${'x'.repeat(8)}`]) {
      writeFileSync(path, bad)
      expect(Buffer.compare(seccompProgram(dir, { capabilities: 0n }), good)).toBe(0)
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
})

/** Runs a classic BPF program over a struct seccomp_data; undefined when it runs off the end. */
function simulate(program: Uint8Array, arch: number, nr: number, args: readonly number[]): number | undefined {
  const data = new DataView(new ArrayBuffer(64))
  data.setUint32(0, nr, true)
  data.setUint32(4, arch, true)
  for (const [i, arg] of args.entries()) data.setBigUint64(16 + i * 8, BigInt(arg), true)
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength)
  let a = 0
  for (let i = 0; i < program.length / 8; i++) {
    const code = view.getUint16(i * 8, true)
    const [jt, jf, k] = [view.getUint8(i * 8 + 2), view.getUint8(i * 8 + 3), view.getUint32(i * 8 + 4, true)]
    if (code === 0x20) a = data.getUint32(k, true)
    else if (code === 0x15) i += a === k ? jt : jf
    else if (code === 0x25) i += a > k ? jt : jf
    else if (code === 0x35) i += a >= k ? jt : jf
    else if (code === 0x45) i += (a & k) !== 0 ? jt : jf
    else if (code === 0x05) i += k
    else if (code === 0x54) a = (a & k) >>> 0
    else if (code === 0x06) return k
    else throw new Error(`instruction ${code.toString(16)} at ${i}`)
  }
  return undefined
}
