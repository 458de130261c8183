import { expect, test } from 'vitest'
import { parseExpose, parsePublish } from '../../src/cli/parse-ports.ts'
import { TsrunError } from '../../src/model/errors.ts'
import fc from '../helpers/property.ts'

/** `hostIp:hostPort->containerPort/protocol`, one a mapping. */
const shown = (text: string) =>
  parsePublish(text).map(port => `${port.hostIp}:${port.hostPort}->${port.containerPort}/${port.protocol}`)

test.each([
  ['80', [':0->80/tcp']],
  ['8080:80', [':8080->80/tcp']],
  ['8080:80/tcp', [':8080->80/tcp']],
  ['53:53/udp', [':53->53/udp']],
  ['53:53/UDP', [':53->53/udp']],
  ['9:9/sctp', [':9->9/sctp']],
  ['0:80', [':0->80/tcp']],
  [':80', [':0->80/tcp']],
  ['127.0.0.1:8080:80', ['127.0.0.1:8080->80/tcp']],
  ['127.0.0.1::80', ['127.0.0.1:0->80/tcp']],
  ['0.0.0.0:80:80', ['0.0.0.0:80->80/tcp']],
  ['[::1]:8080:80', ['::1:8080->80/tcp']],
  ['[::]:53:53/udp', [':::53->53/udp']],
  ['[::1]::80', ['::1:0->80/tcp']],
  ['[FD00:0:0::1]:80:80', ['fd00::1:80->80/tcp']],
  ['65535:65535', [':65535->65535/tcp']],
  ['1:1', [':1->1/tcp']],
])('parsePublish("%s") is %j', (text, mappings) => {
  expect(shown(text)).toEqual(mappings)
})

test.each([
  ['8000-8002:80-82', [':8000->80/tcp', ':8001->81/tcp', ':8002->82/tcp']],
  ['80-81', [':0->80/tcp', ':0->81/tcp']],
  ['127.0.0.1:8000-8001:80-81/udp', ['127.0.0.1:8000->80/udp', '127.0.0.1:8001->81/udp']],
  ['[::1]:8000-8001:80-81', ['::1:8000->80/tcp', '::1:8001->81/tcp']],
  ['80-80:80-80', [':80->80/tcp']],
])('parsePublish("%s") is one mapping a port', (text, mappings) => {
  expect(shown(text)).toEqual(mappings)
})

test('parsePublish() takes the whole range of ports', () => {
  const mappings = parsePublish('1-65535:1-65535')

  expect(mappings).toHaveLength(65535)
  expect(mappings.at(-1)).toEqual({ protocol: 'tcp', hostIp: '', hostPort: 65535, containerPort: 65535 })
})

test.each([
  ['', /is no port/],
  ['abc', /"abc" is no port/],
  ['80:', /"" is no port/],
  ['0', /"0" is no port/],
  ['8080:0', /"0" is no port/],
  ['65536', /"65536" is no port/],
  ['8080:70000', /"70000" is no port/],
  ['99999:80', /"99999" is no port/],
  ['-80', /is no port/],
  ['80-', /is no port/],
  ['1e2:80', /"1e2" is no port/],
  ['0x50:80', /is no port/],
  [' 80', /is no port/],
  ['8080 : 80', /is no port/],
  ['٨٠', /is no port/],
  ['80\n', /is no port/],
  ['90-80', /the range 90-80 runs backwards/],
  ['8000-8001:80-82', /2 host ports do not fit 3 container ports/],
  ['8080:80-81', /1 host ports do not fit 2 container ports/],
  ['80/', /"" is no protocol/],
  ['80/icmp', /"icmp" is no protocol/],
  ['80/tcp/udp', /is no port/],
  ['localhost:80:80', /"localhost" is no IP address/],
  ['1.2.3:80:80', /"1.2.3" is no IP address/],
  ['1.2.3.4.5:80:80', /is no IP address/],
  ['::1:80:80', /too many colons/],
  ['1:2:3:4', /too many colons/],
  ['[::1]', /after \[ADDRESS\] comes :HOSTPORT:CONTAINERPORT/],
  ['[::1]8080:80', /after \[ADDRESS\] comes/],
  ['[::1:8080:80', /the bracket is not closed/],
  ['[]:8080:80', /there is no address in the brackets/],
  ['[::1]:80', /after \[ADDRESS\] comes/],
  ['[::1]:80:80:80', /after \[ADDRESS\] comes/],
  ['[::g]:80:80', /"::g" is no IP address/],
  ['[fe80::1%eth0]:80:80', /is no IP address/],
])('parsePublish(%j) is refused and says why', (text, reason) => {
  expect(() => parsePublish(text)).toThrow(
    expect.objectContaining({
      kind: 'invalid',
      code: 'publish',
      message: expect.stringMatching(reason),
      hint: expect.stringContaining('-p 8080:80'),
    }),
  )
  expect(() => parsePublish(text)).toThrow(`cannot publish "${text}": `)
})

test('parsePublish() takes a range of host ports for one of the container as a choice', () => {
  const chosen = { hostPort: 0, hostPortRange: [8000, 8010], containerPort: 80 }
  expect(parsePublish('8000-8010:80')).toEqual([{ protocol: 'tcp', hostIp: '', ...chosen }])
  expect(parsePublish('127.0.0.1:8000-8010:80/udp')).toEqual([{ protocol: 'udp', hostIp: '127.0.0.1', ...chosen }])
  expect(() => parsePublish('0-10:80')).toThrow('"0" is no port')
})

test.each([
  ['80', ['80/tcp']],
  ['53/UDP', ['53/udp']],
  ['80-82/tcp', ['80/tcp', '81/tcp', '82/tcp']],
])('parseExpose("%s") is %j', (text, ports) => {
  expect(parseExpose(text)).toEqual(ports)
})

test.each(['', '0', '65536', 'x', '80/', '80/icmp', '82-80', '80:80', '80\n', '-1'])(
  'parseExpose(%j) is refused',
  text => {
    expect(() => parseExpose(text)).toThrow(`invalid value "${text}" for --expose`)
  },
)

const port = fc.integer({ min: 1, max: 65535 })

test('parsePublish() gives back what was put together', () => {
  const address = fc.oneof(
    fc.ipV4().map(ip => ({ written: `${ip}:`, hostIp: ip })),
    fc.constantFrom({ written: '', hostIp: '' }, { written: '[fd00::1]:', hostIp: 'fd00::1' }),
  )

  fc.assert(
    fc.property(
      address,
      port,
      port,
      fc.constantFrom('tcp', 'udp', 'sctp'),
      ({ written, hostIp }, host, container, protocol) => {
        expect(parsePublish(`${written}${host}:${container}/${protocol}`)).toEqual([
          { protocol, hostIp, hostPort: host, containerPort: container },
        ])
      },
    ),
  )
})

test('parsePublish() answers any text with ports in range or a TsrunError', () => {
  const piece = fc.constantFrom(
    '80',
    '0',
    '-',
    ':',
    '::',
    '/',
    '[',
    ']',
    'tcp',
    'udp',
    '1.2.3.4',
    '::1',
    '65536',
    ' ',
    'a',
  )
  const text = fc.oneof(
    fc.array(piece, { maxLength: 8 }).map(pieces => pieces.join('')),
    fc.string(),
  )

  fc.assert(
    fc.property(text, input => {
      try {
        for (const mapping of parsePublish(input)) {
          expect(mapping.containerPort).toSatisfy((n: number) => Number.isInteger(n) && n >= 1 && n <= 65535)
          expect(mapping.hostPort).toSatisfy((n: number) => Number.isInteger(n) && n >= 0 && n <= 65535)
        }
      } catch (error) {
        if (!(error instanceof TsrunError)) throw error
      }
    }),
    { numRuns: 1000 },
  )
})
