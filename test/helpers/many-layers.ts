// An OCI layout with as many layers as a test wants: busybox below, and above it layers of one small file each, some of which
// change or remove what lower ones have.

import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodeTarFile, encodeTarHeader, tarEnd, tarEntry } from '../../src/lib/tar-writer.ts'

const layerType = 'application/vnd.oci.image.layer.v1.tar'

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

/**
 * Writes the layout to `directory`. Layer n (from 1) brings `/n/<n>` with its number, `/latest` with its number and
 * `/gone/<n>`, and takes `/gone/<n-1>` away.
 * @param count layers besides the lowest, which has busybox
 */
export function writeManyLayers(directory: string, name: string, count: number): void {
  const blobs = join(directory, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const put = (mediaType: string, bytes: Buffer): Descriptor => {
    const hex = createHash('sha256').update(bytes).digest('hex')
    writeFileSync(join(blobs, hex), bytes)
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length }
  }
  const json = (mediaType: string, document: object): Descriptor =>
    put(mediaType, Buffer.from(JSON.stringify(document)))

  const layers = [put(layerType, busyboxLayer())]
  for (let n = 1; n <= count; n++) layers.push(put(layerType, smallLayer(n)))
  const config = json('application/vnd.oci.image.config.v1+json', {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: ['sh'], Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: layers.map(layer => layer.digest) },
  })
  const manifest = json('application/vnd.oci.image.manifest.v1+json', { schemaVersion: 2, config, layers })
  const annotations = { 'org.opencontainers.image.ref.name': name }
  writeFileSync(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  writeFileSync(
    join(directory, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  )
}

function busyboxLayer(): Buffer {
  const applets = ['sh', 'cat', 'ls', 'wc', 'echo', 'rm', 'stat', 'true'].map(applet =>
    encodeTarHeader(tarEntry({ type: 'symlink', name: `bin/${applet}`, linkName: 'busybox', mode: 0o777 })),
  )
  const busybox = encodeTarFile({ type: 'file', name: 'bin/busybox', mode: 0o755 }, readFileSync('/bin/busybox'))
  const folders = ['bin/', 'etc/'].map(name => encodeTarHeader(tarEntry({ type: 'directory', name, mode: 0o755 })))
  return Buffer.concat([...folders, busybox, ...applets, tarEnd])
}

function smallLayer(n: number): Buffer {
  const text = Buffer.from(`${n}\n`)
  return Buffer.concat([
    encodeTarFile({ type: 'file', name: `n/${n}` }, text),
    encodeTarFile({ type: 'file', name: 'latest' }, text),
    encodeTarFile({ type: 'file', name: `gone/${n}` }, text),
    ...(n > 1 ? [encodeTarFile({ type: 'file', name: `gone/.wh.${n - 1}` }, Buffer.alloc(0))] : []),
    tarEnd,
  ])
}
