import { afterEach, expect, test } from 'vitest'
import { setExplainer } from '../../src/kernel/explain.ts'
import { runInNetns } from '../../src/kernel/netns.ts'
import { formatSysctlName, readSysctl, writeSysctl } from '../../src/kernel/sysctl.ts'
import { describeInNetns, newBox, run } from './netlink-world.ts'

const forwarding = ['net', 'ipv4', 'ip_forward'] as const

describeInNetns('sysctl', () => {
  afterEach(() => setExplainer(undefined))

  test('writeSysctl() writes what differs and returns what was before', () => {
    expect(readSysctl(forwarding)).toBe('0')
    expect(writeSysctl(forwarding, '1')).toBe('0')
    expect(run('cat /proc/sys/net/ipv4/ip_forward').trim()).toBe('1')
    expect(writeSysctl(forwarding, '1')).toBeUndefined()
  })

  test('writeSysctl() takes an interface name with dots, and prints a command that sysctl takes', () => {
    run('ip link add name br.10 type bridge')
    const commands: string[] = []
    setExplainer(command => void commands.push(command))

    writeSysctl(['net', 'ipv4', 'conf', 'br.10', 'route_localnet'], '1')

    expect(commands).toEqual(['sysctl -w net/ipv4/conf/br.10/route_localnet=1'])
    expect(run('cat /proc/sys/net/ipv4/conf/br.10/route_localnet').trim()).toBe('1')
    run(commands[0]?.replace('=1', '=0') ?? 'false')
    expect(readSysctl(['net', 'ipv4', 'conf', 'br.10', 'route_localnet'])).toBe('0')
  })

  test('settings are those of the namespace that the thread is in', () => {
    const box = newBox()

    runInNetns(box.fd, () => writeSysctl(forwarding, '1'))

    expect(readSysctl(forwarding)).toBe('0')
    expect(run('cat /proc/sys/net/ipv4/ip_forward', box).trim()).toBe('1')
  })

  test('a setting that is not there reads as undefined and cannot be written', () => {
    const name = ['net', 'ipv4', 'conf', 'nope', 'forwarding']

    expect(readSysctl(name)).toBeUndefined()
    expect(() => writeSysctl(name, '1')).toThrow('cannot set sysctl net.ipv4.conf.nope.forwarding (open: ENOENT)')
  })

  test('a value that the kernel refuses is a SyscallError with the name', () => {
    expect(() => writeSysctl(forwarding, 'nonsense')).toThrow('cannot set sysctl net.ipv4.ip_forward (write: EINVAL)')
  })

  test.each([[['net', '..', 'kernel']], [['net', 'a/b']], [['net', '']]])('%j is no name', name => {
    expect(() => readSysctl(name)).toThrow('not a sysctl name')
  })

  test('formatSysctlName() uses slashes only where dots would not do', () => {
    expect(formatSysctlName(forwarding)).toBe('net.ipv4.ip_forward')
    expect(formatSysctlName(['net', 'ipv4', 'conf', 'a.b', 'forwarding'])).toBe('net/ipv4/conf/a.b/forwarding')
  })
})
