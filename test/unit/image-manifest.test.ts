import { describe, expect, test } from 'vitest'
import { applyChanges } from '../../src/engine/image/config-changes.ts'
import {
  formatPlatform,
  parseConfig,
  parseManifest,
  parsePlatform,
  selectManifests,
} from '../../src/engine/image/manifest.ts'
import { type Descriptor, type Digest, type ImageIndex, mediaTypes } from '../../src/model/image.ts'

function digest(digit: string): Digest {
  return `sha256:${digit.repeat(64)}` as Digest
}

function entry(digit: string, platform?: string, rest: Partial<Descriptor> = {}): Descriptor {
  const base = { mediaType: mediaTypes.ociManifest, digest: digest(digit), size: 1, ...rest }
  return platform === undefined ? base : { ...base, platform: parsePlatform(platform) }
}

function chosen(platform: string, ...manifests: Descriptor[]): string[] {
  const index: ImageIndex = { schemaVersion: 2, manifests }
  return selectManifests(index, parsePlatform(platform)).map(one => one.digest.slice(7, 8))
}

describe('selectManifests()', () => {
  test('takes the platform asked for, and no attestation', () => {
    const attestation = entry('c', 'linux/amd64', {
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
    })
    expect(chosen('linux/amd64', entry('a', 'linux/arm64'), attestation, entry('b', 'linux/amd64'))).toEqual(['b'])
    expect(chosen('linux/riscv64', entry('a', 'linux/arm64'))).toEqual([])
  })

  test('prefers the variant, then the newest older one', () => {
    const list = [entry('5', 'linux/arm/v5'), entry('7', 'linux/arm/v7'), entry('6', 'linux/arm/v6')]
    expect(chosen('linux/arm/v7', ...list)).toEqual(['7', '6', '5'])
    expect(chosen('linux/arm/v6', ...list)).toEqual(['6', '5'])
    expect(chosen('linux/arm64', entry('8', 'linux/arm64/v8'), entry('9', 'linux/arm64/v9'))).toEqual(['8'])
  })

  test('takes an entry that names no platform last', () => {
    expect(chosen('linux/amd64', entry('a'), entry('b', 'linux/amd64'))).toEqual(['b', 'a'])
  })
})

test('platforms are parsed with the names that people use', () => {
  expect(formatPlatform(parsePlatform('linux/x86_64'))).toBe('linux/amd64')
  expect(formatPlatform(parsePlatform('linux/aarch64/v8'))).toBe('linux/arm64/v8')
  expect(() => parsePlatform('a/b/c/d')).toThrow(/invalid platform/)
})

describe('documents from outside are checked', () => {
  const config = entry('a')
  test.each([
    ['schema 1', { schemaVersion: 1 }, /old format/],
    ['no config', { layers: [] }, /config has no/],
    ['no layers', { config }, /list of layers/],
    ['a path for a digest', { config, layers: [{ ...entry('b'), digest: 'sha256:../../etc/passwd' }] }, /layer has no/],
    ['a size below zero', { config, layers: [{ ...entry('b'), size: -1 }] }, /layer has no/],
    [
      'a foreign layer',
      { config, layers: [{ ...entry('b'), mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' }] },
      /foreign/,
    ],
    ['no object', [], /not a JSON object/],
  ])('manifest: %s', (_, document, reason) => {
    expect(() => parseManifest(Buffer.from(JSON.stringify(document)))).toThrow(reason)
  })

  test.each([
    ['no layer ids', {}, /layer ids/],
    ['windows', { os: 'windows', rootfs: { diff_ids: [] } }, /windows/],
    ['Env that is no list', { rootfs: { diff_ids: [] }, config: { Env: 'A=1' } }, /"Env"/],
  ])('config: %s', (_, document, reason) => {
    expect(() => parseConfig(Buffer.from(JSON.stringify(document)))).toThrow(reason)
  })
})

describe('applyChanges()', () => {
  test('knows the instructions that only change the config', () => {
    const changes = [
      'ENV A=1 B="x y" C=a\\ b',
      'env A 2 words',
      'CMD echo $A',
      'USER me',
      'WORKDIR /srv',
      'WORKDIR sub',
      'EXPOSE 80 53/udp',
      'VOLUME ["/a", "/b"]',
      'VOLUME /c',
      "LABEL one='1 1' two=2",
      'STOPSIGNAL SIGINT',
      'ONBUILD RUN x',
    ]
    expect(applyChanges({ Env: ['A=0', 'Z=1'] }, changes)).toEqual({
      Env: ['A=2 words', 'Z=1', 'B=x y', 'C=a b'],
      Cmd: ['/bin/sh', '-c', 'echo $A'],
      User: 'me',
      WorkingDir: '/srv/sub',
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      Volumes: { '/a': {}, '/b': {}, '/c': {} },
      Labels: { one: '1 1', two: '2' },
      StopSignal: 'SIGINT',
      OnBuild: ['RUN x'],
    })
  })

  test('a new entrypoint drops the command', () => {
    expect(applyChanges({ Cmd: ['x'] }, ['ENTRYPOINT ["a"]'])).toEqual({ Entrypoint: ['a'], Cmd: null })
  })

  test.each(['RUN x', 'CMD', 'LABEL x', 'SHELL sh'])('%s is refused', change => {
    expect(() => applyChanges({}, [change])).toThrow(/invalid change/)
  })
})
