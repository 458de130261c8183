// AppArmor and SELinux in trees of files that look like a host with them. What is proved here is what is decided and written; that
// a kernel enforces it is not: neither is in the kernels that these tests run on (docs/security.md).

import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AppArmor, profileText } from '../../src/kernel/lsm/apparmor.ts'
import { SeLinux } from '../../src/kernel/lsm/selinux.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tsrun-lsm-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const put = (path: string, text: string, mode = 0o644) => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
  chmodSync(join(root, path), mode)
}
const withAppArmor = (profiles = '/usr/sbin/nscd (enforce)\nmine (complain)\n') => {
  put('sys/module/apparmor/parameters/enabled', 'Y\n')
  put('sys/kernel/security/apparmor/profiles', profiles)
}

describe('AppArmor', () => {
  test('a host without it takes no profile, and refuses one that is asked for', () => {
    put('sys/module/apparmor/parameters/enabled', 'N\n')
    expect(new AppArmor(root).profileFor(undefined)).toBeUndefined()
    expect(new AppArmor(root).profileFor('unconfined')).toBeUndefined()
    expect(() => new AppArmor(root).profileFor('mine')).toThrow('this host does not enforce AppArmor')
  })

  test('a loaded profile is used, any other refused by name', () => {
    withAppArmor()
    expect(new AppArmor(root).profileFor('mine')).toBe('mine')
    expect(new AppArmor(root).profileFor('unconfined')).toBeUndefined()
    expect(() => new AppArmor(root).profileFor('other')).toThrow('"other": it is not loaded')
  })

  test('the default profile is loaded once, with apparmor_parser', () => {
    withAppArmor()
    put('usr/sbin/apparmor_parser', `#!/bin/sh\necho "$@" > ${root}/args; cat > ${root}/profile\n`, 0o755)
    expect(new AppArmor(root).profileFor(undefined)).toBe('tsrun-default')
    expect(readFileSync(join(root, 'args'), 'utf8')).toBe('-Kr\n')
    expect(readFileSync(join(root, 'profile'), 'utf8')).toBe(profileText())

    rmSync(join(root, 'profile'))
    withAppArmor('tsrun-default (enforce)\n')
    expect(new AppArmor(root).profileFor(undefined)).toBe('tsrun-default')
    expect(() => readFileSync(join(root, 'profile'))).toThrow('ENOENT')
  })

  test('a parser that fails is an error; none at all means no default profile', () => {
    withAppArmor()
    expect(new AppArmor(root).profileFor(undefined)).toBeUndefined()
    expect(() => new AppArmor(root).profileFor('tsrun-default')).toThrow('apparmor_parser is not installed')
    put('usr/sbin/apparmor_parser', '#!/bin/sh\necho "syntax error" >&2; exit 1\n', 0o755)
    expect(() => new AppArmor(root).profileFor(undefined)).toThrow('syntax error')
  })

  test('the profile refuses mounts and the kernel’s knobs', () => {
    for (const rule of ['deny mount,', 'deny @{PROC}/* w,', 'deny /sys/[^f]** wklx,', 'peer=tsrun-default'])
      expect(profileText()).toContain(rule)
  })
})

describe('SELinux', () => {
  const id = '0123456789abcdef'.repeat(4)
  const withPolicy = () => {
    put('sys/fs/selinux/enforce', '1')
    put('etc/selinux/config', 'SELINUX=enforcing\nSELINUXTYPE=targeted\n')
    put(
      'etc/selinux/targeted/contexts/lxc_contexts',
      'process = "system_u:system_r:container_t:s0"\nfile = "system_u:object_r:container_file_t:s0"\n',
    )
  }

  test('a host without it has no labels, and refuses those that are asked for', () => {
    expect(new SeLinux(root).labelsFor(undefined, id)).toBeUndefined()
    expect(new SeLinux(root).labelsFor('disable', id)).toBeUndefined()
    expect(() => new SeLinux(root).labelsFor({ type: 'x_t' }, id)).toThrow('it does not run SELinux')
    put('sys/fs/selinux/enforce', '1')
    expect(() => new SeLinux(root).labelsFor({ type: 'x_t' }, id)).toThrow('its policy knows no containers')
  })

  test('each container has two categories of its own, the same at every start', () => {
    withPolicy()
    const labels = new SeLinux(root).labelsFor(undefined, id)
    expect(labels?.process).toMatch(/^system_u:system_r:container_t:s0:c\d+,c\d+$/)
    expect(labels).toEqual(new SeLinux(root).labelsFor(undefined, id))
    expect(labels?.sharedFiles).toBe('system_u:object_r:container_file_t:s0')
    for (const other of ['0', '1', 'f', 'ffffffff', '00000400']) {
      const [, first, second] =
        /c(\d+),c(\d+)$/.exec(new SeLinux(root).labelsFor(undefined, other.padEnd(64, '0'))?.files ?? '') ?? []
      expect(Number(first)).toBeLessThan(Number(second))
      expect(Number(second)).toBeLessThan(1024)
    }
  })

  test('parts can be replaced', () => {
    withPolicy()
    const label = { user: 'u_u', role: 'r_r', type: 'svirt_t', level: 's0:c1,c2', filetype: 'svirt_file_t' }
    expect(new SeLinux(root).labelsFor(label, id)).toEqual({
      process: 'u_u:r_r:svirt_t:s0:c1,c2',
      files: 'u_u:object_r:svirt_file_t:s0:c1,c2',
      sharedFiles: 'u_u:object_r:svirt_file_t:s0',
    })
  })
})
