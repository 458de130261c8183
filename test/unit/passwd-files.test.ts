import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readFileInLayers, readFileInRoot } from '../../src/kernel/rootfs-file.ts'

let dir = ''
const layer = (name: string) => join(dir, name)
const put = (path: string, text: string) => {
  mkdirSync(join(dir, path, '..'), { recursive: true })
  writeFileSync(join(dir, path), text)
}
const read = (layers: string[], path = '/etc/passwd') => readFileInLayers(layers.map(layer), path, 1000)?.toString()

// Whiteouts are device nodes and opaque marks trusted attributes: both need root.
describe.skipIf(process.geteuid?.() !== 0)('rootfs-file', () => {
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'tsrun-layers-'))
    for (const name of ['top', 'middle', 'base']) mkdirSync(layer(name))
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  test('readFileInLayers() takes the topmost file', () => {
    put('base/etc/passwd', 'base')
    put('middle/etc/passwd', 'middle')
    mkdirSync(layer('top/etc'))

    expect(read(['top', 'middle', 'base'])).toBe('middle')
    expect(read(['top'])).toBeUndefined()
  })

  test('readFileInLayers() honours whiteouts of the file and of its directory', () => {
    put('base/etc/passwd', 'base')
    mkdirSync(layer('middle/etc'))
    execFileSync('mknod', [layer('middle/etc/passwd'), 'c', '0', '0'])
    execFileSync('mknod', [layer('top/etc'), 'c', '0', '0'])

    expect(read(['middle', 'base'])).toBeUndefined()
    expect(read(['top', 'base'])).toBeUndefined()
    expect(read(['base'])).toBe('base')
  })

  test('readFileInLayers() stops at an opaque directory', () => {
    put('base/etc/passwd', 'base')
    mkdirSync(layer('top/etc'))
    setOpaque(layer('top/etc'))

    expect(read(['top', 'base'])).toBeUndefined()
  })

  test('readFileInLayers() follows symlinks across layers and never out of them', () => {
    put('base/usr/share/accounts', 'accounts')
    put('outside', 'secret')
    mkdirSync(layer('top/etc'))
    symlinkSync('/usr/share/accounts', layer('top/etc/passwd'))
    symlinkSync('../../../../usr/./share/accounts', layer('top/etc/relative'))
    symlinkSync(join(dir, 'outside'), layer('top/etc/escape'))
    symlinkSync(`${'../'.repeat(20)}${dir}/outside`, layer('top/etc/escape2'))
    symlinkSync('loop', layer('top/etc/loop'))

    expect(read(['top', 'base'])).toBe('accounts')
    expect(read(['top', 'base'], '/etc/relative')).toBe('accounts')
    expect(read(['top', 'base'], '/etc/escape')).toBeUndefined()
    expect(read(['top', 'base'], '/etc/escape2')).toBeUndefined()
    expect(read(['top', 'base'], '/etc/loop')).toBeUndefined()
  })

  test('readFileInRoot() keeps symlinks inside, and opens no fifo and no device', () => {
    put('outside', 'secret')
    put('top/etc/group', 'group')
    symlinkSync('/etc/group', layer('top/etc/link'))
    symlinkSync('../../outside', layer('top/etc/escape'))
    execFileSync('mkfifo', [layer('top/etc/fifo')])
    execFileSync('mknod', [layer('top/etc/zero'), 'c', '1', '5'])
    const inRoot = (path: string) => readFileInRoot(layer('top'), path, 1000)?.toString()

    expect(inRoot('/etc/link')).toBe('group')
    expect(inRoot('/etc/escape')).toBeUndefined()
    expect(inRoot('/etc/fifo')).toBeUndefined()
    expect(inRoot('/etc/zero')).toBeUndefined()
    expect(inRoot('/etc')).toBeUndefined()
    expect(inRoot('/none')).toBeUndefined()
  })

  test('readFileInRoot() refuses a file that is too large', () => {
    put('top/etc/passwd', 'x'.repeat(1001))

    expect(() => readFileInRoot(layer('top'), '/etc/passwd', 1000)).toThrow('it is larger than 1000 bytes')
    expect(readFileInRoot(layer('top'), '/etc/passwd', 1001)).toHaveLength(1001)
  })
})

function setOpaque(path: string): void {
  execFileSync('python3', ['-c', `import os,sys; os.setxattr(sys.argv[1], "trusted.overlay.opaque", b"y")`, path])
}
