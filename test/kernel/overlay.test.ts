// Looking at layers without mounting them for anybody else to see.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { mostOverlayLayers, OverlayView } from '../../src/kernel/overlay.ts'
import { probeOverlay } from '../../src/kernel/overlay-probe.ts'
import { temporaryFolder } from './image-fixtures.ts'

/** Directories, the topmost first; each has a file of its own, and `top` with its number. */
function layers(folder: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const path = join(folder, `layer with: a, colon ${index}`)
    mkdirSync(path)
    writeFileSync(join(path, `file-${index}`), '')
    writeFileSync(join(path, 'top'), String(index))
    return path
  })
}

/** Of all file systems that are mounted here, the overlays: what else there is belongs to tests that run beside this one. */
const mounts = (): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(line => line.includes(' - overlay '))

describe('OverlayView', () => {
  test.each([
    ['detached', 2],
    ['detached', 499],
    ['briefly', 2],
    ['briefly', 200],
  ] as const)('mounted %s shows %i layers as one, and nothing of it anywhere else', (way, count) => {
    const folder = temporaryFolder()
    const before = mounts()
    const view = new OverlayView(layers(folder, count), undefined, way)
    try {
      expect(readFileSync(join(view.path, 'top'), 'utf8')).toBe('0')
      expect(readdirSync(view.path)).toHaveLength(count + 1)
      expect(() => writeFileSync(join(view.path, 'new'), '')).toThrow('EROFS')
      expect(mounts()).toEqual(before)
    } finally {
      view.close()
    }
  })

  test.each(['detached', 'briefly'] as const)('mounted %s with an upper directory writes to that', way => {
    const folder = temporaryFolder()
    const [upperDir, workDir] = [join(folder, 'upper'), join(folder, 'work')]
    for (const path of [upperDir, workDir]) mkdirSync(path)
    const view = new OverlayView(layers(folder, 20), { upperDir, workDir }, way)
    writeFileSync(join(view.path, 'new'), 'content')
    view.close()
    expect(readdirSync(upperDir)).toEqual(['new'])
  })
})

test('mostOverlayLayers() is what the kernel says when it is tried', () => {
  const folder = temporaryFolder()
  const many = layers(folder, mostOverlayLayers() + 1)
  expect(() => new OverlayView(many)).toThrow(/EINVAL|ENAMETOOLONG/)
  new OverlayView(many.slice(1)).close()
})

test('probeOverlay() looks at the nearest folder that is there, and leaves nothing', () => {
  const folder = temporaryFolder()
  expect(probeOverlay(join(folder, 'not', 'there'))).toEqual({ folder })
  expect(readdirSync(folder)).toEqual([])
})
