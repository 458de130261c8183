// Archives that want out, or want too much. Each test names the attack; outside the root there must be no trace of it.

import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { removeTree } from '../../src/drivers/image/staging.ts'
import { encodeTarHeader, tarEnd, tarEntry } from '../../src/lib/tar-writer.ts'
import {
  archive,
  chunks,
  directory,
  file,
  hardlink,
  type Member,
  symlink,
  temporaryFolder,
  tree,
  unpackAll,
  unpackInto,
} from './image-fixtures.ts'

/** A folder with a secret in it, and the root to unpack into beside it. */
function victim(): { root: string; outside: string; secret: string; untouched: () => void } {
  const folder = temporaryFolder()
  const outside = join(folder, 'outside')
  mkdirSync(outside)
  const secret = join(outside, 'secret')
  writeFileSync(secret, 'secret')
  const before = tree(outside)
  return {
    root: join(folder, 'root'),
    outside,
    secret,
    untouched: () => {
      expect(tree(outside)).toEqual(before)
      expect(readFileSync(secret, 'utf8')).toBe('secret')
    },
  }
}

describe('an archive stays inside its root', () => {
  test.each(['../outside/new', 'a/../../outside/new', '..', 'a/..', './../outside/secret'])(
    'when a name has "..": %s',
    async name => {
      const { root, untouched } = victim()
      await expect(unpackInto(root, archive(file(name)))).rejects.toMatchObject({
        kind: 'invalid',
        code: 'layer-escape',
      })
      untouched()
    },
  )

  test('when a name is absolute', async () => {
    const { root, outside, untouched } = victim()
    await unpackInto(root, archive(file(`${outside}/new`), file('//double')))
    untouched()
    expect(existsSync(join(root, outside, 'new'))).toBe(true)
    expect(existsSync(join(root, 'double'))).toBe(true)
  })

  test.each(['absolute', 'relative'])('when it writes through an %s symbolic link of its own', async kind => {
    const { root, outside, untouched } = victim()
    const target = kind === 'absolute' ? outside : '../outside'
    await unpackInto(root, archive(symlink('link', target), file('link/secret', 'overwritten'), file('link/new')))
    untouched()
    expect(readlinkSync(join(root, 'link'))).toBe(target)
    const inside = join(root, kind === 'absolute' ? outside : 'outside')
    expect(readFileSync(join(inside, 'secret'), 'utf8')).toBe('overwritten')
  })

  test('when a file takes the name of a symbolic link to a file outside', async () => {
    const { root, secret, untouched } = victim()
    await unpackInto(root, archive(symlink('link', secret), file('link', 'overwritten')))
    untouched()
    expect(lstatSync(join(root, 'link')).isFile()).toBe(true)
  })

  test('when a directory takes the name of a symbolic link to a directory outside', async () => {
    const { root, outside, untouched } = victim()
    await unpackInto(
      root,
      archive(symlink('link', outside), directory('link', { mode: 0o700, uid: 5 }), file('link/secret', 'x')),
    )
    untouched()
    expect(lstatSync(join(root, 'link')).isDirectory()).toBe(true)
  })

  test('when a link is exchanged while its directory is in use', async () => {
    const { root, outside, untouched } = victim()
    await unpackInto(
      root,
      archive(
        directory('real'),
        symlink('a', 'real'),
        file('a/one'),
        symlink('a', outside),
        file('a/secret', 'x'),
        file('a/two'),
      ),
    )
    untouched()
    expect(existsSync(join(root, 'real/one'))).toBe(true)
    expect(existsSync(join(root, 'real/two'))).toBe(false)
  })

  test('when a chain of links leads out', async () => {
    const { root, untouched } = victim()
    await unpackInto(
      root,
      archive(symlink('a', 'b'), symlink('b', 'c/..'), symlink('c', '../../..'), file('a/outside/secret', 'x')),
    )
    untouched()
  })

  test('when a hard link wants a file outside, and writes to it', async () => {
    for (const target of ['../outside/secret', 'SECRET']) {
      const { root, secret, untouched } = victim()
      const linkName = target === 'SECRET' ? secret : target
      await expect(unpackInto(root, archive(hardlink('mine', linkName), file('mine', 'x')))).rejects.toMatchObject({
        kind: 'invalid',
      })
      untouched()
      expect(lstatSync(secret).nlink).toBe(1)
    }
  })

  test('when a hard link goes through a symbolic link', async () => {
    const { root, outside, secret, untouched } = victim()
    await expect(
      unpackInto(root, archive(symlink('dir', outside), hardlink('mine', 'dir/secret'))),
    ).rejects.toMatchObject({ kind: 'invalid' })
    untouched()
    expect(lstatSync(secret).nlink).toBe(1)
  })

  test('when a hard link is made to a symbolic link to outside, and written', async () => {
    const { root, secret, untouched } = victim()
    await unpackInto(
      root,
      archive(symlink('link', secret), hardlink('mine', 'link'), file('mine', 'x'), file('link', 'y')),
    )
    untouched()
  })

  test('when modes, owners, times and attributes are set on a link', async () => {
    const { root, secret, untouched } = victim()
    const entry: Member = {
      ...symlink('link', secret),
      mode: 0o4777,
      uid: 7,
      gid: 7,
      mtime: { seconds: 1, nanoseconds: 0 },
    }
    await unpackInto(root, archive(entry))
    untouched()
    expect(lstatSync(join(root, 'link'))).toMatchObject({ uid: 7, gid: 7, mtimeMs: 1000 })
  })

  test('when a whiteout removes what is outside', async () => {
    const { root, outside, untouched } = victim()
    mkdirSync(root)
    const lower = archive(symlink('dir', outside), file('base'))
    await unpackAll(root, lower, archive(file('dir/.wh.secret', ''), file('.wh.base', '')))
    untouched()
    for (const name of ['.wh..', '.wh...', '.wh.']) {
      const other = victim()
      mkdirSync(other.root)
      await expect(unpackAll(other.root, lower, archive(file(name, '')))).rejects.toMatchObject({ kind: 'invalid' })
      other.untouched()
    }
  })

  test('when /proc/self magic links are in its path', async () => {
    const { root, untouched } = victim()
    await unpackInto(root, archive(symlink('p', '/proc/self/cwd'), file('p/new')))
    untouched()
    expect(existsSync(join(process.cwd(), 'new'))).toBe(false)
    expect(existsSync(join(root, 'proc/self/cwd/new'))).toBe(true)
  })

  test('when a lower layer has the link', async () => {
    const { root, outside, untouched } = victim()
    mkdirSync(root)
    const [, upper] = await unpackAll(root, archive(symlink('link', outside)), archive(file('link/secret', 'x')))
    untouched()
    expect(existsSync(join(upper ?? '', outside, 'secret'))).toBe(true)
  })
})

describe('an archive that makes no sense is an error that names the entry', () => {
  test('a device as a directory', async () => {
    const { root } = victim()
    const device: Member = { type: 'character-device', name: 'null', deviceMajor: 1, deviceMinor: 3 }
    await expect(unpackInto(root, archive(device, file('null/file')))).rejects.toThrow(/cannot unpack "null\/file"/)
  })

  test('a cycle of symbolic links', async () => {
    const { root } = victim()
    await expect(unpackInto(root, archive(symlink('a', 'b'), symlink('b', 'a'), file('a/file')))).rejects.toThrow(
      /"a\/file".*ELOOP/,
    )
  })

  test('a cycle of symbolic links over two layers', async () => {
    const { root } = victim()
    mkdirSync(root)
    const layers = [archive(symlink('a', 'b')), archive(symlink('b', 'a'), file('a/file'))]
    await expect(unpackAll(root, ...layers)).rejects.toMatchObject({ kind: 'invalid' })
  })

  test('a NUL in a name', async () => {
    const { root } = victim()
    await expect(unpackInto(root, archive(file(`${'x'.repeat(101)}\0y`)))).rejects.toThrow(/NUL/)
  })

  test('a newline and any other byte in a name are fine', async () => {
    const { root } = victim()
    await unpackInto(root, archive(file('a\nb'), file('\xff\xfe\x01'), file(' ')))
    expect(tree(root, '%P')).toEqual([' ', 'a\nb', '\xff\xfe\x01'])
  })

  test('a hard link to nothing, to itself before it is there, to a directory', async () => {
    for (const members of [[hardlink('a', 'nothing')], [hardlink('a', 'a')], [directory('d'), hardlink('a', 'd')]]) {
      await expect(unpackInto(victim().root, archive(...members))).rejects.toMatchObject({ kind: 'invalid' })
    }
  })

  test('a file or link in the place of the root', async () => {
    for (const member of [file('.'), symlink('./', '/tmp'), hardlink('/', 'x')]) {
      await expect(unpackInto(victim().root, archive(member))).rejects.toMatchObject({ kind: 'invalid' })
    }
  })

  test('an archive that is cut off, or is none', async () => {
    const whole = archive(file('a', 'x'.repeat(5000)))
    for (const bytes of [
      whole.subarray(0, 3000),
      whole.subarray(0, 100),
      Buffer.from('no archive at all'.repeat(100)),
    ]) {
      await expect(unpackInto(victim().root, bytes)).rejects.toMatchObject({ kind: 'invalid' })
    }
  })

  test('a wrong checksum of gzip, and gzip that is cut off', async () => {
    const packed = gzipSync(archive(file('a', 'x'.repeat(5000))))
    const broken = Buffer.from(packed)
    broken[broken.length - 6] = (broken[broken.length - 6] ?? 0) ^ 0xff
    for (const bytes of [broken, packed.subarray(0, packed.length - 20)]) {
      await expect(unpackInto(victim().root, bytes)).rejects.toMatchObject({ kind: 'invalid', code: 'corrupt-archive' })
    }
  })

  test('content that is not what the image says', async () => {
    const diffId = `sha256:${'0'.repeat(64)}` as never
    await expect(unpackInto(victim().root, archive(file('a')), { diffId })).rejects.toMatchObject({
      code: 'digest-mismatch',
    })
  })

  test('attributes of overlayfs are not taken from an archive', async () => {
    const { root } = victim()
    const xattrs = new Map([
      ['trusted.overlay.redirect', Buffer.from('/etc')],
      ['user.fine', Buffer.from([0, 255, 128])],
    ])
    await unpackInto(root, archive(directory('d', { xattrs }), file('f', 'x', { xattrs })))
    const python = 'import os,sys\nfor p in sys.argv[1:]: print(sorted(os.listxattr(p)), os.getxattr(p, "user.fine"))'
    const output = execFileSync('python3', ['-c', python, join(root, 'd'), join(root, 'f')], { encoding: 'utf8' })
    expect(output).toBe("['user.fine'] b'\\x00\\xff\\x80'\n".repeat(2))
  })
})

describe('an archive that asks for too much ends at a limit', () => {
  test('ten gigabytes of zeros out of ten megabytes', async () => {
    const { root } = victim()
    const header = encodeTarHeader(tarEntry({ type: 'file', name: 'zeros', size: 10 * 2 ** 30 }))
    const zeros = Buffer.alloc(64 * 2 ** 20)
    const packed = gzipSync(zeros, { level: 9 })
    async function* bomb(): AsyncGenerator<Buffer> {
      yield gzipSync(header)
      for (let i = 0; i < 160; i++) yield packed
    }
    const limits = { ratioFromBytes: 128 * 2 ** 20 }
    mkdirSync(root)
    const { unpackLayer } = await import('../../src/drivers/image/unpack-layer.ts')
    await expect(unpackLayer({ source: bomb(), directory: root, lowerDirectories: [], limits })).rejects.toMatchObject({
      code: 'layer-limit',
      hint: expect.stringContaining('maxRatio'),
    })
  })

  test('more bytes than allowed', async () => {
    const limits = { maxBytes: 100_000 }
    await expect(unpackInto(victim().root, archive(file('a', 'x'.repeat(200_000))), { limits })).rejects.toMatchObject({
      code: 'layer-limit',
    })
  })

  test('more entries than allowed', async () => {
    const { root } = victim()
    const limits = { maxEntries: 100_000 }
    async function* many(): AsyncGenerator<Buffer> {
      const one = encodeTarHeader(tarEntry({ type: 'symlink', name: 'same', linkName: 'x' }))
      const block = Buffer.concat(
        Array.from({ length: 1000 }, () => encodeTarHeader(tarEntry({ type: 'directory', name: 'd' }))),
      )
      for (let i = 0; i < 100; i++) yield block
      yield one
      yield tarEnd
    }
    mkdirSync(root)
    const { unpackLayer } = await import('../../src/drivers/image/unpack-layer.ts')
    await expect(unpackLayer({ source: many(), directory: root, lowerDirectories: [], limits })).rejects.toMatchObject({
      message: expect.stringContaining('more entries than 100000'),
    })
  })

  test('a name longer than a path may be', async () => {
    const name = Array.from({ length: 1000 }, () => 'long-part').join('/')
    await expect(unpackInto(victim().root, archive(file(name)))).rejects.toMatchObject({ code: 'layer-limit' })
    await expect(unpackInto(victim().root, archive(file('x'.repeat(300))))).rejects.toThrow(/ENAMETOOLONG/)
  })

  test('a PAX header that would fill the memory', async () => {
    const header = encodeTarHeader(tarEntry({ type: 'file', name: 'x', size: 2 ** 32 }))
    header[156] = 'x'.charCodeAt(0)
    let sum = 256
    for (const [i, byte] of header.entries()) sum += i >= 148 && i < 156 ? 0 : byte
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    await expect(unpackInto(victim().root, header)).rejects.toThrow(/PAX header/)
  })

  test('a directory two thousand deep is unpacked and can be removed', async () => {
    const { root } = victim()
    await unpackInto(root, archive(file(`${'d/'.repeat(2000)}f`)))
    expect(tree(root, '%y').filter(line => line === 'd')).toHaveLength(2000)
    removeTree(root)
    expect(existsSync(root)).toBe(false)
  })
})

test('the pieces an archive comes in make no difference', async () => {
  const bytes = archive(file('a', 'x'.repeat(3000)), directory('d'), file('d/b', 'y'.repeat(511)), symlink('s', 'd/b'))
  const expected = victim().root
  await unpackInto(expected, bytes)
  for (const size of [1, 511, 512, 513, 1 << 20]) {
    const { root } = victim()
    mkdirSync(root)
    const { unpackLayer } = await import('../../src/drivers/image/unpack-layer.ts')
    await unpackLayer({ source: chunks(bytes, size), directory: root, lowerDirectories: [] })
    expect(tree(root)).toEqual(tree(expected))
  }
})
