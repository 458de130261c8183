// Images with more layers than one overlay takes, and file systems that take no overlay.

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { execute } from '../helpers/command.ts'
import { writeManyLayers } from '../helpers/many-layers.ts'
import { Home, listOrEmpty } from '../helpers/registry.ts'
import { faceCommand } from '../helpers/world.ts'

let home: Home

beforeEach(() => {
  home = new Home({ timeoutMs: 120_000 })
})
afterEach(() => home.remove())

async function load(count: number): Promise<string> {
  const directory = join(home.dir, `layout-${count}`)
  writeManyLayers(directory, `many:${count}`, count)
  await home.ok('load', '-q', '-i', directory)
  return `many:${count}`
}

/** Folders into which layers were merged. */
const merged = (): string[] => {
  const layers = join(home.root, 'layers')
  return listOrEmpty(layers).filter(name => existsSync(join(layers, name, 'merged')))
}

const look = 'cat latest; ls n | wc -l; ls gone; stat -c %a:%h / n/7'

describe('an image', () => {
  test('of 130 layers shows what the top ones have left of the lower ones', async () => {
    const image = await load(130)

    expect(await home.run(image, 'sh', '-c', look)).toBe('130\n130\n130\n755:1\n644:1')
    expect(merged()).toHaveLength(0)
  })

  test('of 600 layers, too: more than fit are merged, whoever kills the first to do it', {
    timeout: 120_000,
  }, async () => {
    const image = await load(600)
    const killed = await home.tsrun(['run', '--rm', '--net', 'none', image, 'true'], {
      env: { ...home.env, TSRUN_FAULT: 'image layers merged:kill' },
    })
    expect(killed.signal).toBe('SIGKILL')

    const all = await Promise.all(Array.from({ length: 3 }, () => home.run(image, 'sh', '-c', look)))
    expect(new Set(all)).toEqual(new Set(['600\n600\n600\n755:1\n644:1']))
    expect(merged()).toHaveLength(1)

    await writeCopyCompare(image)
    // One layer more is cut at the same place.
    expect(await home.run('more:1', 'sh', '-c', 'cat latest n/outside; ls n | wc -l')).toBe('new\nfrom outside\n600')
    expect(merged()).toHaveLength(1)

    // Another image with the topmost merged layer was unpacked again after a power cut, and what was derived went with the old one.
    for (const name of merged()) rmSync(join(home.root, 'layers', name, 'merged'), { recursive: true })
    expect(await home.ok('start', '-a', 'c')).toBe('600')

    // The container holds what it needs of an image that is taken away by force.
    await home.ok('rmi', '-f', image, 'more:1')
    expect(await home.ok('start', '-a', 'c')).toBe('600')
    await home.ok('rm', 'c')
    await home.ok('image', 'prune', '-f')
    for (const folder of ['layers', 'staging']) expect(listOrEmpty(join(home.root, folder))).toEqual([])
  })
})

/** With a container `c` of the image, of which `more:1` is made. */
async function writeCopyCompare(image: string): Promise<void> {
  const script = 'echo new > latest; rm -f n/3; cat n/600'
  await home.ok('create', '--name', 'c', '--net', 'none', image, 'sh', '-c', script)
  writeFileSync(join(home.dir, 'file'), 'from outside\n')
  await home.ok('cp', join(home.dir, 'file'), 'c:/n/outside')
  expect(await home.ok('start', '-a', 'c')).toBe('600')
  expect((await home.ok('diff', 'c')).split('\n').sort()).toEqual(['A /n/outside', 'C /latest', 'C /n', 'D /n/3'])
  await home.ok('commit', 'c', 'more:1')
}

describe('a root directory on another overlay', () => {
  /** Runs a shell command where $TSRUN_ROOT is on an overlay. */
  const there = (command: string) => {
    const place = join(home.dir, 'place')
    mkdirSync(place)
    const script = `cd ${place} && mkdir low up work on && mount -t overlay none -o lowerdir=low,upperdir=up,workdir=work on
      export TSRUN_ROOT=${place}/on/root; ${command}`
    return execute(['unshare', '--mount', 'sh', '-c', script], { env: home.env })
  }
  const tsrun = faceCommand().join(' ')

  test('is refused by the kernel, and the error says where to go', async () => {
    // On tmpfs or ext4 the overlay itself is fine; one on top of it can be read but not written.
    const { code, stderr } = await there(`${tsrun} run --rm --net none busybox true`)

    expect(code).toBe(125)
    expect(stderr).toMatch(
      /cannot start ".*": mount the overlay on .*: overlay: .*upper.* \(rootfs: EINVAL\)\n {2}hint: .*--root/,
    )
  })

  test('is what doctor finds before', async () => {
    const bad = await there(`${tsrun} doctor; find ${join(home.dir, 'place/on')} -mindepth 1`)
    expect(bad.stdout).toMatch(/FAIL {2}root directory: .*\/on: .*not good for that \(EINVAL\)\n {6}-> .*--root/)
    expect(bad.stdout).toMatch(/tsrun cannot run here yet\.\n$/)

    expect((await home.tsrun(['doctor'])).stdout).toMatch(
      /ok {4}root directory: .*: its file system is good for overlayfs/,
    )
    expect(existsSync(home.root)).toBe(false)
  })
})
