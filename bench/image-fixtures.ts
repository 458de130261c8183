// Images to move around: as many bytes in as many layers as wanted, in files of many sizes that compress to about half.

import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** One image in every form that is loaded. */
export interface ImageFixture {
  readonly title: string
  /** An OCI layout with gzip layers, and the plain tar of each of its layers, bottom first. */
  readonly layout: string
  readonly tars: readonly string[]
  readonly gzips: readonly string[]
  /** `docker save`'s form, layers plain. */
  readonly archive: string
}

const filesPerMegabyte = 45

/** Makes an image of `megabytes` in `layers` layers of about the same size below `folder`. Takes seconds. */
export function makeImage(folder: string, megabytes: number, layers: number): ImageFixture {
  const layout = join(folder, 'layout')
  const blobs = join(layout, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const put = (mediaType: string, bytes: Buffer): { mediaType: string; digest: string; size: number } => {
    const hex = createHash('sha256').update(bytes).digest('hex')
    writeFileSync(join(blobs, hex), bytes)
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length }
  }
  const json = (mediaType: string, document: object) => put(mediaType, Buffer.from(JSON.stringify(document)))
  const tars: string[] = []
  const descriptors = Array.from({ length: layers }, (_, index) => {
    const tar = join(folder, `layer-${index}.tar`)
    makeLayer(tar, join(folder, 'tree'), { index, bytes: (megabytes * 2 ** 20) / layers })
    tars.push(tar)
    return put('application/vnd.oci.image.layer.v1.tar+gzip', execFileSync('gzip', ['-nc', tar], bigOutput))
  })
  const diffIds = tars.map(tar => `sha256:${createHash('sha256').update(readFileSync(tar)).digest('hex')}`)
  const config = json('application/vnd.oci.image.config.v1+json', {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: ['/none'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
  })
  const type = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = json(type, { schemaVersion: 2, mediaType: type, config, layers: descriptors })
  const annotations = { 'org.opencontainers.image.ref.name': 'bench' }
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(
    join(layout, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  )
  const archive = join(folder, 'archive.tar')
  execFileSync('skopeo', ['copy', '-q', `oci:${layout}:bench`, `docker-archive:${archive}:bench:latest`])
  const gzips = descriptors.map(({ digest }) => join(blobs, digest.slice(7)))
  return { title: `${megabytes} MB in ${layers} layer${layers > 1 ? 's' : ''}`, layout, tars, gzips, archive }
}

const bigOutput = { maxBuffer: 2 ** 30 } as const

/** Half of each file is noise, half repeats itself; one in twenty is large. */
function makeLayer(tar: string, tree: string, { index, bytes }: { index: number; bytes: number }): void {
  const top = join(tree, `layer-${index}`)
  let left = bytes
  const average = 2 ** 20 / filesPerMegabyte
  for (let number = 0; left > 0; number++) {
    const size = Math.min(left, Math.ceil(number % 20 === 0 ? average * 10 : average * (0.1 + (number % 10) / 10)))
    const folder = join(top, `folder-${Math.floor(number / 40)}`)
    if (number % 40 === 0) mkdirSync(folder, { recursive: true })
    const noise = randomBytes(Math.ceil(size / 2))
    const pattern = Buffer.alloc(size - noise.length, `file ${number} of layer ${index}\n`)
    writeFileSync(join(folder, `file-${number}`), Buffer.concat([noise, pattern]))
    left -= size
  }
  execFileSync('tar', ['--sort=name', '--numeric-owner', '-cf', tar, '-C', tree, ...readdirSync(tree)])
  rmSync(tree, { recursive: true })
}

/** Bytes of some files. */
export function totalSize(files: readonly string[]): number {
  return files.reduce((total, file) => total + statSync(file).size, 0)
}
