// A published port with its defaults, and what is refused.

import { describe, expect, test } from 'vitest'
import { type PortRequest, toPortMapping } from '../../src/model/port-request.ts'

test('only the port of the container has to be said', () => {
  expect(toPortMapping({ containerPort: 80 })).toEqual({ containerPort: 80, hostPort: 0, hostIp: '', protocol: 'tcp' })
})

test('what is said stays', () => {
  const whole = { containerPort: 53, hostPort: 5353, hostIp: '::1', protocol: 'udp', publishMode: 'proxy' } as const
  expect(toPortMapping(whole)).toEqual(whole)
})

describe('refuses', () => {
  const refused: readonly (readonly [string, Record<string, unknown>, RegExp])[] = [
    ['port 0 of a container', { containerPort: 0 }, /0 is no port of a container/],
    ['a port that is too large', { containerPort: 80, hostPort: 65536 }, /65536 is no host port/],
    ['half a port', { containerPort: 80.5 }, /80\.5 is no port/],
    ['a port in words', { containerPort: 'http' }, /http is no port/],
    ['a name for an address', { containerPort: 80, hostIp: 'localhost' }, /"localhost" is no address/],
    ['a protocol nobody carries', { containerPort: 80, protocol: 'icmp' }, /"icmp" is no protocol/],
  ]
  test.each(refused)('%s', (_, request, message) => {
    expect(() => toPortMapping(request as unknown as PortRequest)).toThrow(message)
  })
})
