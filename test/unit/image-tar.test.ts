// The tar codec against tar-stream, and itself.

import { extract, pack } from 'tar-stream'
import { describe, expect, test } from 'vitest'
import { type TarEntry, TarFormatError } from '../../src/lib/tar-entry.ts'
import { formatPaxTime, parsePaxTime } from '../../src/lib/tar-header.ts'
import { TarReader } from '../../src/lib/tar-reader.ts'
import { encodeTarFile, encodeTarHeader, tarEnd, tarEntry } from '../../src/lib/tar-writer.ts'
import fc from '../helpers/property.ts'

function read(bytes: Buffer, step = 1000): { entry: TarEntry; content: string }[] {
  const found: { entry: TarEntry; content: string }[] = []
  const reader = new TarReader({
    entry: entry => void found.push({ entry, content: '' }),
    data: data => {
      const last = found.at(-1)
      if (last) last.content += data.toString('latin1')
    },
    end: () => {},
  })
  for (let at = 0; at < bytes.length; at += step) reader.write(bytes.subarray(at, at + step))
  reader.end()
  return found
}

const bytes = (max: number) =>
  fc.uint8Array({ minLength: 1, maxLength: max }).map(b => Buffer.from(b).toString('latin1').replaceAll('\0', 'x'))
const entries = fc.record({
  type: fc.constantFrom(
    'file' as const,
    'symlink' as const,
    'hardlink' as const,
    'directory' as const,
    'fifo' as const,
  ),
  name: bytes(300).filter(name => !name.endsWith('/')),
  linkName: bytes(300),
  mode: fc.nat(0o7777),
  uid: fc.nat(2 ** 31),
  gid: fc.nat(2 ** 31),
  mtime: fc.record({ seconds: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), nanoseconds: fc.nat(999_999_999) }),
  xattrs: fc
    .dictionary(
      fc.stringMatching(/^user\.[a-z]{1,9}$/),
      fc.uint8Array({ maxLength: 99 }).map(b => Buffer.from(b)),
    )
    .map(o => new Map(Object.entries(o))),
})

test('what is written is read again, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.array(entries, { maxLength: 5 }), fc.integer({ min: 1, max: 3000 }), (list, step) => {
      const written = list.map(one => tarEntry({ ...one, linkName: one.type.endsWith('link') ? one.linkName : '' }))
      const archive = Buffer.concat([...written.map(encodeTarHeader), tarEnd])
      const expected = written.map(one => (one.type === 'directory' ? { ...one, name: `${one.name}/` } : one))
      expect(read(archive, step).map(({ entry }) => entry)).toEqual(expected)
    }),
  )
})

test('tar-stream reads what is written', async () => {
  const archive = Buffer.concat([
    encodeTarFile({ type: 'file', name: `${'d/'.repeat(90)}file`, mode: 0o640, uid: 5 }, Buffer.from('hello')),
    encodeTarHeader(tarEntry({ type: 'symlink', name: 'link', linkName: 'x'.repeat(200) })),
    tarEnd,
  ])
  const found: unknown[] = []
  const stream = extract()
  stream.on('entry', (header, body, next) => {
    found.push([header.name, header.type, header.size, header.linkname])
    body.resume().on('end', next)
  })
  await new Promise((resolve, reject) =>
    stream
      .on('finish', () => resolve(undefined))
      .on('error', reject)
      .end(archive),
  )
  expect(found).toEqual([
    [`${'d/'.repeat(90)}file`, 'file', 5, null],
    ['link', 'symlink', 0, 'x'.repeat(200)],
  ])
})

test('what tar-stream writes is read', async () => {
  const writer = pack()
  writer.entry(
    { name: 'ä'.repeat(80), mode: 0o4711, mtime: new Date(5000), pax: { 'SCHILY.xattr.user.a': 'b' } },
    'content',
  )
  writer.entry({ name: 'dir', type: 'directory' })
  writer.finalize()
  const parts: Buffer[] = []
  for await (const part of writer) parts.push(part as Buffer)
  const [one, two] = read(Buffer.concat(parts))
  expect(one).toMatchObject({ content: 'content', entry: { mode: 0o4711, mtime: { seconds: 5, nanoseconds: 0 } } })
  expect(Buffer.from(one?.entry.name ?? '', 'latin1').toString()).toBe('ä'.repeat(80))
  expect(one?.entry.xattrs.get('user.a')?.toString()).toBe('b')
  expect(two?.entry.type).toBe('directory')
})

describe('a broken archive is an error', () => {
  const whole = Buffer.concat([encodeTarFile({ type: 'file', name: 'a' }, Buffer.from('x'.repeat(600))), tarEnd])
  test.each([
    ['no checksum', () => Buffer.alloc(512, 1)],
    ['cut in a header', () => whole.subarray(0, 300)],
    ['cut in the data', () => whole.subarray(0, 1000)],
    ['something behind one zero block', () => Buffer.concat([whole.subarray(0, -512), whole])],
  ])('%s', (_, archive) => {
    expect(() => read(archive())).toThrow(TarFormatError)
  })

  test('any bytes at all end in an error or in entries, never in anything else', () => {
    fc.assert(
      fc.property(fc.nat(1200), fc.nat(255), (at, value) => {
        const broken = Buffer.from(whole)
        broken[at] = value
        try {
          read(broken)
        } catch (error) {
          expect(error).toBeInstanceOf(TarFormatError)
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('without the end mark it is whole all the same', () => {
    expect(read(whole.subarray(0, -1024))).toHaveLength(1)
  })
})

test('PAX times go there and back, before 1970 too', () => {
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), fc.nat(999_999_999), (seconds, nanoseconds) => {
      expect(parsePaxTime(formatPaxTime({ seconds, nanoseconds }), 0)).toEqual({ seconds, nanoseconds })
    }),
  )
  expect(parsePaxTime('-1.5', 0)).toEqual({ seconds: -2, nanoseconds: 500_000_000 })
  expect(() => parsePaxTime('1e5', 0)).toThrow(TarFormatError)
})
