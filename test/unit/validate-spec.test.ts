// Nobody gets past these rules by using the library.

import { describe, expect, test } from 'vitest'
import { assertValidSpec } from '../../src/engine/container/validate-spec.ts'
import type { ContainerSpec } from '../../src/model/container.ts'
import { TsrunError } from '../../src/model/errors.ts'
import { parseSecurityOptions, remainingPaths } from '../../src/model/security-options.ts'

const check = (spec: Partial<ContainerSpec>) => () => assertValidSpec({ image: 'busybox', ...spec })
const mount = { type: 'bind', source: '/a', target: '/b', readonly: false } as const

describe('assertValidSpec()', () => {
  test.each([
    [{}],
    [{ resources: { memoryBytes: 64 << 20 }, ulimits: [{ name: 'nofile', soft: 10, hard: -1 }] }],
    [{ sysctls: { 'net.ipv4.ip_forward': '1', 'net/ipv4/conf/eth0.100/forwarding': '1', 'kernel.shmmax': '1' } }],
    [{ sysctls: { 'fs.mqueue.msg_max': '8', 'kernel.domainname': 'x', 'net.ipv4.conf.eth0/100.forwarding': '1' } }],
    [{ mounts: [mount], devices: [{ hostPath: '/dev/null', path: '/dev/x', access: 'rw' }] }],
    [{ capAdd: ['net_admin'], capDrop: ['ALL'], securityOpt: ['no-new-privileges', 'seccomp:unconfined'] }],
  ] as Partial<ContainerSpec>[][])('takes %j', spec => {
    expect(check(spec ?? {})).not.toThrow()
  })

  test.each([
    [{ resources: { memoryBytes: 1000 } }, '--memory'],
    [{ resources: { cpus: -1 } }, '--cpus'],
    [{ resources: { cpusetCpus: '0-' } }, '--cpuset-cpus'],
    [{ ulimits: [{ name: 'files', soft: 1, hard: 1 }] }, 'there is no ulimit "files"'],
    [{ ulimits: [{ name: 'nofile', soft: 2, hard: 1 }] }, 'soft limit is above'],
    [{ ulimits: [{ name: 'nofile', soft: 0.5, hard: 1 }] }, '--ulimit'],
    [{ capAdd: ['ROOT'] }, 'there is no such capability'],
    [{ securityOpt: ['seccmp=unconfined'] }, 'seccmp=unconfined'],
    [{ securityOpt: ['label=colour:red'] }, 'label=colour:red'],
    [{ securityOpt: ['mask=relative'] }, 'mask=relative'],
    [{ securityOpt: ['unmask=/proc/../etc'] }, 'unmask=/proc/../etc'],
    [{ devices: [{ hostPath: 'dev/null', path: '/dev/x', access: 'r' }] }, 'invalid device'],
    [{ devices: [{ hostPath: '/dev/null', path: '/dev/x', access: 'rx' }] }, 'invalid device'],
    [{ mounts: [{ ...mount, target: 'b' }] }, 'not an absolute path'],
    [{ mounts: [{ ...mount, target: '/./' }] }, 'the root of the container'],
    [{ mounts: [{ ...mount, target: '/b\0c' }] }, 'not an absolute path'],
    [{ mounts: [{ ...mount, source: 'a' }] }, 'the source "a"'],
    [{ mounts: [{ ...mount, type: 'cluster' }] }, 'there is no type "cluster"'],
    [{ mounts: [{ ...mount, propagation: 'loud' }] }, 'there is no propagation "loud"'],
    [{ networks: [{ network: 'a', aliases: ['a b'] }] }, 'it is no host name'],
    [{ networks: [{ network: 'a', aliases: ['x'.repeat(64)] }] }, 'it is no host name'],
    [{ networks: [{ network: 'a', mac: '03:00:00:00:00:01' }] }, 'it means a group'],
    [{ networks: [{ network: 'a', mac: '02:00' }] }, 'it is none'],
    [{ networks: [{ network: 'a', ip6: '10.0.0.1' }] }, 'it is no IPv6 address'],
    [{ networks: [{ network: 'a', linkLocalIps: ['10.0.0.1'] }] }, 'it is not link-local'],
    [{ networks: [{ network: 'a', gwPriority: 'high' }] }, 'it is no whole number'],
    [{ dns: ['resolver'] }, 'it is no IP address'],
    [{ dnsSearch: ['a\nnameserver 192.0.2.1'] }, 'it is no domain'],
    [{ dnsOptions: ['ndots:1\n'] }, 'it is no option'],
    [{ shmSizeBytes: -1 }, '--shm-size'],
    [{ oomScoreAdj: 1001 }, '--oom-score-adj'],
  ] as unknown as [Partial<ContainerSpec>, string][])('refuses %j', (spec, reason) => {
    expect(check(spec)).toThrow(TsrunError)
    expect(check(spec)).toThrow(reason)
  })

  // What a name means is decided by its first separator, so each of these would leave the namespaced part of /proc/sys.
  test.each([
    'kernel.panic',
    'vm.overcommit_memory',
    'kernel/panic',
    'net/../kernel/panic',
    'net.//.kernel.panic',
    'net..kernel.panic',
    'net/./ipv4/ip_forward',
    'fs.mqueue',
    'kernel.shmmax.x',
    'kernel.hostname',
    'netx.ipv4',
    '/net/ipv4/ip_forward',
    '../net',
    '',
    'net/ipv4/ip_forward\0',
  ])('refuses the sysctl %j', name => {
    expect(check({ sysctls: { [name]: '1' } })).toThrow(/cannot set sysctl/)
  })

  test.each([
    [{ networks: [{ network: 'host' }] }, 'net.ipv4.ip_forward'],
    [{ ipcMode: 'host' }, 'kernel.shmmax'],
    [{ utsMode: 'host' }, 'kernel.domainname'],
  ] as [Partial<ContainerSpec>, string][])('refuses a sysctl of a namespace that is the host’s: %j', (spec, name) => {
    expect(check({ ...spec, sysctls: { [name]: '1' } })).toThrow('it would change the host')
  })
})

describe('parseSecurityOptions()', () => {
  test('reads docker’s words and podman’s', () => {
    const options = [
      'no-new-privileges:true',
      'apparmor=mine',
      'label=type:svirt_t',
      'label=level:s0:c1,c2',
      'mask=/a:/b',
    ]
    expect(parseSecurityOptions([...options, 'unmask=/proc/acpi:/sys/*', 'seccomp=/x.json'])).toEqual({
      noNewPrivileges: true,
      seccomp: '/x.json',
      apparmor: 'mine',
      label: { type: 'svirt_t', level: 's0:c1,c2' },
      mask: ['/a', '/b'],
      unmask: ['/proc/acpi', '/sys/*'],
    })
    expect(parseSecurityOptions(['label=disable']).label).toBe('disable')
    for (const all of ['systempaths=unconfined', 'unmask=ALL', 'unmask=all'])
      expect(parseSecurityOptions([all]).unmask).toBe('all')
  })

  test('remainingPaths() leaves out what is named', () => {
    expect(remainingPaths(['/proc/acpi', '/sys/a', '/sys/b'], ['/proc/acpi', '/sys/*'])).toEqual([])
    expect(remainingPaths(['/proc/acpi', '/sys/a'], ['/proc/ac'])).toEqual(['/proc/acpi', '/sys/a'])
    expect(remainingPaths(['/proc/acpi'], 'all')).toEqual([])
  })
})
