import { expect, test } from 'vitest'
import { mergedCount } from '../../src/engine/image/merge-layers.ts'

test.each([
  [1, 499, 0],
  [499, 499, 0],
  [500, 499, 249],
  [747, 499, 249],
  [748, 499, 498],
  [1100, 499, 747],
  [1101, 499, 747],
  [200, 199, 99],
  [600, 199, 495],
])('mergedCount(%i, %i) is %i', (layers, limit, expected) => {
  const count = mergedCount(layers, limit)
  expect(count).toBe(expected)
  expect(layers - count + (count > 0 ? 1 : 0)).toBeLessThanOrEqual(limit)
})
