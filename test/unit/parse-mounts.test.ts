import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { parseMount, parseTmpfs, parseVolume } from '../../src/cli/parse-mounts.ts'
import { TsrunError } from '../../src/model/errors.ts'
import fc from '../helpers/property.ts'

test.each([
  ['/host:/box', { type: 'bind', source: '/host', target: '/box', readonly: false, createSource: true }],
  ['/host:/box:ro', { type: 'bind', source: '/host', target: '/box', readonly: true, createSource: true }],
  ['/host:/box:rw', { type: 'bind', source: '/host', target: '/box', readonly: false, createSource: true }],
  [
    '/host:/box:ro,Z',
    { type: 'bind', source: '/host', target: '/box', readonly: true, relabel: 'private', createSource: true },
  ],
  [
    'data:/box:z,U',
    { type: 'volume', source: 'data', target: '/box', readonly: false, relabel: 'shared', chown: true },
  ],
  [
    '/host:/box:rslave,ro',
    { type: 'bind', source: '/host', target: '/box', readonly: true, propagation: 'rslave', createSource: true },
  ],
  ['/a/../b:/box', { type: 'bind', source: '/b', target: '/box', readonly: false, createSource: true }],
  ['./here:/box', { type: 'bind', source: resolve('here'), target: '/box', readonly: false, createSource: true }],
  ['.:/box', { type: 'bind', source: resolve('.'), target: '/box', readonly: false, createSource: true }],
  ['data:/box', { type: 'volume', source: 'data', target: '/box', readonly: false }],
  ['data:/box:ro,nocopy', { type: 'volume', source: 'data', target: '/box', readonly: true, noCopy: true }],
  ['data:/box:', { type: 'volume', source: 'data', target: '/box', readonly: false }],
  ['/box', { type: 'volume', source: '', target: '/box', readonly: false }],
  ['data:/./box/./deep/.', { type: 'volume', source: 'data', target: '/box/deep', readonly: false }],
  ['data://box//deep/', { type: 'volume', source: 'data', target: '/box/deep', readonly: false }],
])('parseVolume("%s") is %j', (text, mount) => {
  expect(parseVolume(text)).toEqual(mount)
})

test.each([
  ['', /the container path "" is not absolute/],
  ['box', /the container path "box" is not absolute/],
  ['/a:box', /the container path "box" is not absolute/],
  ['/a:', /the container path "" is not absolute/],
  [':/box', /the part before the colon is empty/],
  ['/a:/', /cannot be "\/"/],
  ['/a:///', /cannot be "\/"/],
  ['/', /cannot be "\/"/],
  ['/a:/b/../c', /holds "\.\."/],
  ['/a:/.', /cannot be "\/"/],
  ['/a:/./', /cannot be "\/"/],
  ['/a://.//.', /cannot be "\/"/],
  ['/a:/b\0c', /holds a NUL/],
  ['/a:/b:ro,rw', /either "ro" or "rw"/],
  ['/a:/..', /holds "\.\."/],
  ['/a:/b:ro:x', /too many colons/],
  ['/a:/b:readonly', /there is no option "readonly"/],
  ['/a:/b:RO', /there is no option "RO"/],
])('parseVolume("%s") is refused and says why', (text, reason) => {
  expect(() => parseVolume(text)).toThrow(refusal(reason, '-v /host/path'))
})

test.each([
  ['type=bind,source=/a,target=/b', { type: 'bind', source: '/a', target: '/b', readonly: false }],
  ['type=bind,src=/a,dst=/b,readonly', { type: 'bind', source: '/a', target: '/b', readonly: true }],
  ['type=bind,src=/a,destination=/b,ro=true', { type: 'bind', source: '/a', target: '/b', readonly: true }],
  ['type=bind,src=/a,dst=/b,readonly=1', { type: 'bind', source: '/a', target: '/b', readonly: true }],
  ['type=bind,src=/a,dst=/b,readonly=false', { type: 'bind', source: '/a', target: '/b', readonly: false }],
  ['TYPE=bind,Source=/a=b,TARGET=/b', { type: 'bind', source: '/a=b', target: '/b', readonly: false }],
  [
    'type=bind,src=/a,dst=/b,bind-propagation=rshared',
    { type: 'bind', source: '/a', target: '/b', readonly: false, propagation: 'rshared' },
  ],
  ['type=volume,source=data,target=/b', { type: 'volume', source: 'data', target: '/b', readonly: false }],
  ['source=data,target=/b', { type: 'volume', source: 'data', target: '/b', readonly: false }],
  ['target=/b', { type: 'volume', source: '', target: '/b', readonly: false }],
  ['src=data,dst=/b,volume-nocopy', { type: 'volume', source: 'data', target: '/b', readonly: false, noCopy: true }],
  ['type=tmpfs,target=/b', { type: 'tmpfs', source: '', target: '/b', readonly: false, data: '' }],
  [
    'type=tmpfs,target=/b,tmpfs-size=64m,tmpfs-mode=1777',
    { type: 'tmpfs', source: '', target: '/b', readonly: false, data: 'size=67108864,mode=1777' },
  ],
  [
    'type=tmpfs,target=/b,tmpfs-size=1.5g,tmpfs-mode=0700',
    { type: 'tmpfs', source: '', target: '/b', readonly: false, data: 'size=1610612736,mode=0700' },
  ],
  ['src=data,dst=/b,volume-nocopy=false', { type: 'volume', source: 'data', target: '/b', readonly: false }],
  ['src=data,dst=/b,volume-nocopy=1', { type: 'volume', source: 'data', target: '/b', readonly: false, noCopy: true }],
  ['type=bind,src=/a,dst=/b,consistency=cached', { type: 'bind', source: '/a', target: '/b', readonly: false }],
  ['type=bind,"src=/a,b",dst=/b', { type: 'bind', source: '/a,b', target: '/b', readonly: false }],
  ['type=bind,"src=/a ""b""","dst=/b"', { type: 'bind', source: '/a "b"', target: '/b', readonly: false }],
])('parseMount("%s") is %j', (text, mount) => {
  expect(parseMount(text)).toEqual(mount)
})

test.each([
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map(truth => [truth, true] as const),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map(lie => [lie, false] as const),
])('parseMount() reads readonly=%s as docker does', (text, readonly) => {
  expect(parseMount(`type=bind,src=/a,dst=/b,readonly=${text}`).readonly).toBe(readonly)
  expect(parseMount(`type=bind,src=/a,dst=/b,ro=${text}`).readonly).toBe(readonly)
})

test.each(['', '0x10', '-1', '64q', '٦٤m', '1e3', '9'.repeat(30), '64m\n', '64m\0'])(
  'tmpfs-size=%j is refused',
  size => {
    expect(() => parseMount(`type=tmpfs,target=/b,tmpfs-size=${size}`)).toThrow(TsrunError)
    expect(() => parseMount(`type=tmpfs,target=/b,tmpfs-size=${size}`)).toThrow(`"${size}" for --mount tmpfs-size`)
  },
)

test.each([
  ['parseVolume()', () => parseVolume('~/x:/b')],
  ['parseVolume()', () => parseVolume('~:/b')],
  ['parseMount()', () => parseMount('type=bind,source=~/x,target=/b')],
])('%s leaves ~ to the shell and says so', (_, parse) => {
  expect(parse).toThrow(
    expect.objectContaining({
      kind: 'invalid',
      code: 'mount',
      message: expect.stringContaining('"~" is for the shell to expand, and it did not'),
      hint: expect.stringMatching(/only unquoted and at the start of a word.*\$HOME/),
    }),
  )
})

test('parseMount() does not make the source of a bind, as docker', () => {
  expect(parseMount('type=bind,source=/a,target=/b')).not.toHaveProperty('createSource')
})

test.each([
  ['', /the container path "" is not absolute/],
  ['type=bind,src=/a,dst=/b,redonly', /there is no key "redonly": type, source, src, target/],
  ['type=bind,src=/a,dst=/b,', /there is no key ""/],
  [' type=bind,src=/a,dst=/b', /there is no key " type"/],
  ['type=bind,src=/a,dst=/b,constructor=1', /there is no key "constructor"/],
  ['type=bind,src=/a,dst', /"dst" needs a value: dst=\.\.\./],
  ['type=bind,src=/a,dst=/b,readonly=yes', /"yes" for readonly is neither true nor false/],
  ['type=bind,src=/a,dst=/b,ro=tRUE', /"tRUE" for readonly is neither/],
  ['type=bind,src=/a,dst=/b,ro=', /"" for readonly is neither/],
  ['src=data,dst=/b,volume-nocopy=maybe', /"maybe" for volume-nocopy is neither/],
  ['type=bind,src=/a,dst=/b,tmpfs-size=1', /"tmpfs-size" means nothing to the type "bind"/],
  ['type=bind,src=/a,dst=/b,volume-nocopy', /"volume-nocopy" means nothing to the type "bind"/],
  ['src=a,dst=/b,bind-propagation=shared', /"bind-propagation" means nothing to the type "volume"/],
  ['type=tmpfs,src=/a,dst=/b', /a tmpfs has no source/],
  ['type=tmpfs,dst=/b,tmpfs-mode=99', /"99" for tmpfs-mode is no octal mode/],
  ['type=tmpfs,dst=/b,tmpfs-mode=', /"" for tmpfs-mode is no octal mode/],
  ['type=tmpfs,dst=/b,tmpfs-mode=17777', /is no octal mode/],
  ['type=bind,src=/a"b,dst=/b', /the quotes do not fit/],
  ['type=bind,"src=/a,dst=/b', /the quotes do not fit/],
  ['type=bind,"src=/a"x,dst=/b', /the quotes do not fit/],
  ['type=bind,src=/a,dst=/.', /cannot be "\/"/],
  ['type=bind,src=/a\0,dst=/b', /the host path holds a NUL/],
  ['type=bind,source=/a', /the container path "" is not absolute/],
  ['type=bind,target=/b', /a bind needs source=HOSTPATH/],
  ['type=nfs,target=/b', /there is no type "nfs"/],
  ['type=bind,source=/a,target=b', /"b" is not absolute/],
  ['type=bind,source=/a,target=/', /cannot be "\/"/],
  ['type=bind,source=/a,target=/x/../..', /holds "\.\."/],
  ['type=bind,source=/a,target=/b,bind-propagation=up', /there is no propagation "up": private/],
])('parseMount("%s") is refused and says why', (text, reason) => {
  expect(() => parseMount(text)).toThrow(refusal(reason, 'type=bind|volume|tmpfs'))
})

test.each([
  ['/run', { data: '', readonly: false }],
  ['/run:size=64m,mode=1777', { data: 'size=64m,mode=1777', readonly: false }],
  ['/run:ro', { data: '', readonly: true }],
  ['/run:rw,noexec', { data: 'noexec', readonly: false }],
  ['/run:size=50%,uid=1000', { data: 'size=50%,uid=1000', readonly: false }],
  ['/run:', { data: '', readonly: false }],
])('parseTmpfs("%s") is %j', (text, rest) => {
  expect(parseTmpfs(text)).toEqual({ type: 'tmpfs', source: '', target: '/run', ...rest })
})

test.each([
  ['', /"" is not absolute/],
  ['run', /"run" is not absolute/],
  ['/', /cannot be "\/"/],
  ['/a/..', /holds "\.\."/],
  ['/.', /cannot be "\/"/],
  ['/a:size=', /"" is no size/],
  ['/a:size=much', /"much" is no size/],
  ['/a:mode=9', /"9" is no octal mode/],
  ['/a:uid=1\n2', /holds a control character/],
])('parseTmpfs("%s") is refused and says why', (text, reason) => {
  expect(() => parseTmpfs(text)).toThrow(refusal(reason, '--tmpfs /path'))
})

test('parseVolume(), parseMount() and parseTmpfs() never let a target out of the container', () => {
  const piece = fc.constantFrom(
    '/',
    '..',
    '.',
    '/a',
    ':',
    'b',
    ',',
    'target=',
    'source=',
    'type=bind',
    'ro',
    '\\',
    '//',
    '\n',
  )
  const text = fc.oneof(
    fc.array(piece, { maxLength: 10 }).map(pieces => pieces.join('')),
    fc.string(),
  )

  fc.assert(
    fc.property(text, fc.constantFrom(parseVolume, parseMount, parseTmpfs), (input, parse) => {
      try {
        const { target } = parse(input)
        expect(target.startsWith('/')).toBe(true)
        expect(target).not.toBe('/')
        expect(target.split('/')).not.toContain('..')
      } catch (error) {
        if (!(error instanceof TsrunError)) throw error
      }
    }),
    { numRuns: 1000 },
  )
})

function refusal(reason: RegExp, hint: string): unknown {
  return expect.objectContaining({
    kind: 'invalid',
    code: 'mount',
    message: expect.stringMatching(new RegExp(`^cannot mount ".*": .*${reason.source}`, 's')),
    hint: expect.stringContaining(hint),
  })
}
