import { describe, expect, test } from 'vitest'
import {
  familiarName,
  familiarReference,
  formatReference,
  parseReference,
} from '../../src/engine/image/image-reference.ts'

const hex = 'a'.repeat(64)

describe('parseReference()', () => {
  test.each([
    ['busybox', 'docker.io/library/busybox:latest', 'busybox:latest'],
    ['busybox:1.36', 'docker.io/library/busybox:1.36', 'busybox:1.36'],
    ['library/busybox:1.36', 'docker.io/library/busybox:1.36', 'busybox:1.36'],
    ['docker.io/busybox', 'docker.io/library/busybox:latest', 'busybox:latest'],
    ['index.docker.io/me/x', 'docker.io/me/x:latest', 'me/x:latest'],
    ['me/tool', 'docker.io/me/tool:latest', 'me/tool:latest'],
    ['localhost/x', 'localhost/x:latest', 'localhost/x:latest'],
    ['localhost:5000/x:y', 'localhost:5000/x:y', 'localhost:5000/x:y'],
    ['ghcr.io/a/b/c', 'ghcr.io/a/b/c:latest', 'ghcr.io/a/b/c:latest'],
    ['[::1]:5000/x', '[::1]:5000/x:latest', '[::1]:5000/x:latest'],
    ['Upper/x', 'Upper/x:latest', 'Upper/x:latest'],
    [`ghcr.io/a/b@sha256:${hex}`, `ghcr.io/a/b@sha256:${hex}`, `ghcr.io/a/b@sha256:${hex}`],
    [`busybox:1@sha256:${hex}`, `docker.io/library/busybox:1@sha256:${hex}`, `busybox:1@sha256:${hex}`],
    ['a__b--c.d/x_y', 'docker.io/a__b--c.d/x_y:latest', undefined],
  ])('%s is %s', (text, full, short) => {
    if (text.startsWith('a__b')) {
      // A dot in the first part makes it a registry, and a host has no "_".
      expect(() => parseReference(text)).toThrow(/not a registry host/)
      return
    }
    const reference = parseReference(text)
    expect(formatReference(reference)).toBe(full)
    expect(familiarReference(reference)).toBe(short)
    expect(parseReference(full)).toEqual(reference)
    expect(parseReference(short ?? '')).toEqual(reference)
  })

  test.each([
    ['', /empty/],
    ['Busybox', /"Busybox".*repository name/],
    ['a//b', /part of the repository name is empty/],
    ['a/', /empty/],
    ['-a', /"-a"/],
    ['a:', /"" is not a tag/],
    ['a:b c', /"b c" is not a tag/],
    [`a:${'x'.repeat(129)}`, /not a tag/],
    ['a@sha256:12', /not a digest/],
    ['a@md5:00', /not a digest/],
    ['ex ample.com/a', /cannot be part|not a registry/],
    [hex, /64 hex digits/],
    [`${'a'.repeat(250)}/b`, /longer than 255/],
    ['a/../b', /"\.\."/],
  ])('%j is refused with a reason', (text, reason) => {
    expect(() => parseReference(text)).toThrow(reason)
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ kind: 'invalid', code: 'invalid-reference' }))
  })

  test('familiarName() has no tag', () => {
    expect(familiarName(parseReference('docker.io/library/busybox:1'))).toBe('busybox')
  })
})
