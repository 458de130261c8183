// What tar can say is kept: random trees packed by GNU tar and unpacked by us and by it are the same; and what it takes to lay
// layers one above the other, seen through a real overlay mount.

import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test } from 'vitest'
import fc from '../helpers/property.ts'
import {
  archive,
  directory,
  file,
  hardlink,
  type Member,
  sh,
  symlink,
  temporaryFolder,
  tree,
  unpackAll,
  unpackInto,
} from './image-fixtures.ts'

/** Mounts layers (bottom first) and returns the merged directory. */
function mountLayers(root: string, layers: readonly string[]): string {
  const [merged, upper, work] = ['merged', 'upper', 'work'].map(name => join(root, name)) as [string, string, string]
  for (const path of [merged, upper, work]) mkdirSync(path)
  const lower = [...layers].reverse().join(':')
  execFileSync('mount', [
    '-t',
    'overlay',
    'overlay',
    '-o',
    `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
    merged,
  ])
  onTestFinished(() => void execFileSync('umount', [merged]))
  return merged
}

describe('unpacking agrees with GNU tar', () => {
  const name = fc
    .stringMatching(/^[a-zA-Z0-9 \n.äß漢*'"\\-]{1,40}$/)
    .filter(text => text !== '.' && text !== '..' && !text.startsWith('.wh.'))
  const time = fc.record({
    seconds: fc.integer({ min: -1e9, max: 4e9 }),
    nanoseconds: fc.integer({ min: 0, max: 999_999_999 }),
  })
  const meta = { mode: fc.integer({ min: 0, max: 0o7777 }), uid: fc.nat(3_000_000), gid: fc.nat(100_000), mtime: time }
  const path = fc
    .array(name, { minLength: 1, maxLength: 4 })
    .map(parts => Buffer.from(parts.join('/')).toString('latin1'))
  const member: fc.Arbitrary<Member> = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        type: fc.constant('file' as const),
        name: path,
        content: fc.uint8Array({ maxLength: 3000 }).map(b => Buffer.from(b)),
        ...meta,
      }),
    },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('directory' as const), name: path, ...meta }) },
    fc.record({
      type: fc.constant('symlink' as const),
      name: path,
      linkName: name.map(n => Buffer.from(n).toString('latin1')),
      uid: meta.uid,
      gid: meta.gid,
      mtime: time,
    }),
    fc.record({ type: fc.constant('fifo' as const), name: path, ...meta }),
    fc.record({
      type: fc.constant('character-device' as const),
      name: path,
      deviceMajor: fc.integer({ min: 1, max: 500 }),
      deviceMinor: fc.nat(300),
      ...meta,
    }),
    fc.record({
      type: fc.constant('block-device' as const),
      name: path,
      deviceMajor: fc.integer({ min: 1, max: 500 }),
      deviceMinor: fc.nat(300),
      ...meta,
    }),
  )
  const sortKey = (name: string) => name.replaceAll('/', '\0')
  /** Names once, no name below another one that is no directory, every parent there; some hard links to the files. */
  const consistent = fc.array(member, { maxLength: 25 }).chain(members => {
    const kept = new Map<string, Member>()
    for (const one of members) {
      const parents = one.name
        .split('/')
        .slice(0, -1)
        .map((_, i, all) => all.slice(0, i + 1).join('/'))
      if (kept.has(one.name) || parents.some(p => (kept.get(p)?.type ?? 'directory') !== 'directory')) continue
      for (const parent of parents) {
        if (!kept.has(parent))
          kept.set(parent, { type: 'directory', name: parent, mtime: { seconds: 5, nanoseconds: 0 } })
      }
      kept.set(one.name, one)
    }
    const files = [...kept.values()].filter(one => one.type === 'file')
    // All of a directory together: GNU tar gives a directory its time when it has left it, and loses it when more comes later.
    const inOrder = [...kept.values()].sort((a, b) => (sortKey(a.name) < sortKey(b.name) ? -1 : 1))
    return fc.subarray(files).map(linked =>
      [
        ...inOrder,
        ...linked.map(
          (one, i): Member => ({
            ...one,
            type: 'hardlink',
            name: `link ${i}`,
            linkName: one.name,
            content: undefined as never,
          }),
        ),
      ].map(({ content, ...rest }) => (content === undefined ? rest : { ...rest, content })),
    )
  })

  test('for random archives of our own writer', async () => {
    await fc.assert(
      fc.asyncProperty(consistent, async members => {
        const folder = temporaryFolder()
        const bytes = archive(...members)
        const theirs = join(folder, 'theirs')
        mkdirSync(theirs)
        execFileSync('tar', ['--numeric-owner', '-xpf', '-', '-C', theirs], {
          input: bytes,
          stdio: ['pipe', 'pipe', 'ignore'],
        })
        const ours = join(folder, 'ours')
        await unpackInto(ours, bytes)
        expect(tree(ours)).toEqual(tree(theirs))
        expect(sh('find . -type f -print0 | sort -z | xargs -0r sha256sum', ours)).toBe(
          sh('find . -type f -print0 | sort -z | xargs -0r sha256sum', theirs),
        )
      }),
      { numRuns: 60 },
    )
  }, 120_000)

  test.each(['gnu', 'posix', 'ustar', 'v7', 'oldgnu'])('for a tree packed as %s', async format => {
    const folder = temporaryFolder()
    sh(
      `mkdir -p src/dir/sub && cd src && echo hello > dir/file && ln dir/file dir/hard && ln -s ../x dir/link && chmod 4755 dir/file
       chmod 1777 dir/sub && printf x > dir/sub/empty && : > dir/sub/zero && chown 12:34 dir/sub/zero && touch -d @1234567890 dir
       ${format === 'v7' ? '' : 'mkfifo dir/fifo && mknod dir/dev c 1 3'}
       ${format === 'gnu' || format === 'posix' ? 'n=$(printf "%0200d" 1); mkdir -p $n/$n && echo long > $n/$n/f && ln -s $n$n $n/l && ln $n/$n/f $n/h' : ''}`,
      folder,
    )
    const bytes = execFileSync('tar', ['--format', format, '-cf', '-', '-C', join(folder, 'src'), '.'], {
      maxBuffer: 1 << 28,
    })
    sh('mkdir theirs && tar -xpf - -C theirs < /dev/stdin || true', folder)
    execFileSync('tar', ['-xpf', '-', '-C', join(folder, 'theirs')], { input: bytes })
    const ours = join(folder, 'ours')
    await unpackInto(ours, gzipSync(bytes))
    expect(tree(ours)).toEqual(tree(join(folder, 'theirs')))
    expect(readFileSync(join(ours, 'dir/file'), 'utf8')).toBe('hello\n')
  })

  test.each([
    ['gnu', ''],
    ['posix', '--sparse-version=0.0'],
    ['posix', '--sparse-version=0.1'],
    ['posix', '--sparse-version=1.0'],
  ])('for files with holes, as %s %s', async (format, version) => {
    const folder = temporaryFolder()
    sh(
      `mkdir src && cd src && truncate -s 20M holes && for i in $(seq 60); do printf "part $i" | dd of=holes bs=1 seek=$((i * 300000)) conv=notrunc status=none; done
       truncate -s 5M empty && echo tail >> empty && truncate -s 1M all-hole`,
      folder,
    )
    sh(`tar --format=${format} ${version} -S -cf a.tar -C src .`, folder)
    const ours = join(folder, 'ours')
    await unpackInto(ours, readFileSync(join(folder, 'a.tar')))
    sh('diff -r src ours', folder)
    expect(statSync(join(ours, 'holes')).blocks * 512).toBeLessThan(2_000_000)
  })

  test('for capabilities, which are bytes and not text', async () => {
    const folder = temporaryFolder()
    sh(
      'mkdir src && cp /bin/true src/tool && setfattr -n user.note -v text src/tool 2>/dev/null; /sbin/setcap all=ep src/tool',
      folder,
    )
    sh('tar --xattrs --xattrs-include="*" -cf a.tar -C src .', folder)
    await unpackInto(join(folder, 'ours'), readFileSync(join(folder, 'a.tar')))
    expect(sh('/sbin/getcap -n ours/tool', folder)).toBe(
      sh('/sbin/getcap -n src/tool', folder).replaceAll('src/', 'ours/'),
    )
    expect(sh('/sbin/getcap ours/tool', folder)).toMatch(/=ep/)
  })
})

describe('layers one above the other', () => {
  test('whiteouts and opaque directories hide what is below, and nothing of their own layer', async () => {
    const root = temporaryFolder()
    const layers = await unpackAll(
      root,
      archive(
        directory('a'),
        file('a/one'),
        file('a/two'),
        directory('b'),
        file('b/old'),
        directory('c'),
        file('c/old'),
        file('gone'),
      ),
      archive(
        file('a/.wh.one', ''),
        directory('b'),
        file('b/new'),
        file('b/.wh..wh..opq', ''),
        file('.wh.c', ''),
        directory('c'),
        file('c/new'),
        file('.wh.gone', ''),
        file('.wh.never', ''),
      ),
    )
    const merged = mountLayers(root, layers)
    expect(tree(merged, '%P')).toEqual(['a', 'a/two', 'b', 'b/new', 'c', 'c/new'])
  })

  test('the order of a whiteout and its directory makes no difference', async () => {
    const root = temporaryFolder()
    const layers = await unpackAll(
      root,
      archive(directory('c'), file('c/old'), file('f', 'old')),
      archive(directory('c'), file('c/new'), file('.wh.c', ''), file('f', 'new'), file('.wh.f', '')),
    )
    const merged = mountLayers(root, layers)
    expect(tree(merged, '%P')).toEqual(['c', 'c/new', 'f'])
    expect(readFileSync(join(merged, 'f'), 'utf8')).toBe('new')
  })

  test('a whiteout of nothing leaves no broken device behind', async () => {
    const root = temporaryFolder()
    const layers = await unpackAll(
      root,
      archive(file('.wh.x', ''), file('base')),
      archive(directory('own'), file('own/.wh.x', ''), file('own/f'), file('nowhere/.wh.x', '')),
    )
    expect(tree(layers[0] ?? '', '%P')).toEqual(['base'])
    expect(tree(layers[1] ?? '', '%P')).toEqual(['own', 'own/f'])
  })

  test('a hard link to a file of a lower layer is one file in the merged tree', async () => {
    const root = temporaryFolder()
    const xattrs = new Map([['security.capability', Buffer.from('0100000200200080000000000000000000000000', 'hex')]])
    const layers = await unpackAll(
      root,
      archive(
        directory('d', { mode: 0o711, uid: 3 }),
        file('d/tool', 'x'.repeat(5000), {
          mode: 0o4755,
          uid: 7,
          gid: 8,
          xattrs,
          mtime: { seconds: 99, nanoseconds: 5 },
        }),
      ),
      archive(hardlink('link', 'd/tool')),
    )
    const merged = mountLayers(root, layers)
    const [one, two] = [lstatSync(join(merged, 'd/tool')), lstatSync(join(merged, 'link'))]
    expect(two.ino).toBe(one.ino)
    expect(lstatSync(join(layers[1] ?? '', 'd/tool'))).toMatchObject({
      mode: 0o104755,
      uid: 7,
      gid: 8,
      nlink: 2,
      size: 5000,
    })
    expect(lstatSync(join(merged, 'd'))).toMatchObject({ uid: 3, mode: 0o40711 })
    expect(sh('/sbin/getcap -n layer-1/link', root)).not.toBe('')
  })

  test('a directory that a layer does not bring is as the layers below have it', async () => {
    const root = temporaryFolder()
    const layers = await unpackAll(
      root,
      archive(
        directory('.', { mode: 0o755 }),
        directory('tmp', { mode: 0o1777, mtime: { seconds: 77, nanoseconds: 7 } }),
        directory('home/me', { mode: 0o700, uid: 1000, gid: 1000 }),
      ),
      archive(file('tmp/x'), file('home/me/y'), file('new/z')),
    )
    const merged = mountLayers(root, layers)
    expect(tree(merged, '%P %m %U')).toEqual([
      'home 755 0',
      'home/me 700 1000',
      'home/me/y 644 0',
      'new 755 0',
      'new/z 644 0',
      'tmp 1777 0',
      'tmp/x 644 0',
    ])
    expect(sh('stat -c %.9Y merged/tmp', root)).toBe('77.000000007\n')
  })

  test('a link of a lower layer is followed where the layer goes through it, and replaced where it brings a directory', async () => {
    const root = temporaryFolder()
    const base = archive(
      directory('usr/bin', { mode: 0o711 }),
      symlink('bin', 'usr/bin'),
      symlink('lib', '/usr/lib'),
      directory('usr/lib'),
    )
    const layers = await unpackAll(root, base, archive(file('bin/tool'), directory('lib'), file('lib/own')))
    const merged = mountLayers(root, layers)
    expect(tree(merged, '%P %y')).toEqual([
      'bin l',
      'lib d',
      'lib/own f',
      'usr d',
      'usr/bin d',
      'usr/bin/tool f',
      'usr/lib d',
    ])
    expect(lstatSync(join(merged, 'usr/bin')).mode & 0o777).toBe(0o711)
  })

  test('a directory that replaces a link of a lower layer after files went through it takes those that follow', async () => {
    const root = temporaryFolder()
    const base = archive(directory('real'), symlink('link', 'real'))
    const layers = await unpackAll(root, base, archive(file('link/one'), directory('link'), file('link/two')))
    const merged = mountLayers(root, layers)
    expect(tree(merged, '%P %y')).toEqual(['link d', 'link/two f', 'real d', 'real/one f'])
  })

  test('the root of the merged tree keeps its mode when an upper layer says nothing on it', async () => {
    const root = temporaryFolder()
    const layers = await unpackAll(root, archive(directory('.', { mode: 0o751, uid: 9 })), archive(file('x')))
    expect(lstatSync(layers[1] ?? '')).toMatchObject({ mode: 0o40751, uid: 9 })
  })
})
