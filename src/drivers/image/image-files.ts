// Where everything of the image store lies. `images` is an OCI image layout; what tsrun adds to it lies beside.
//
//   images/oci-layout, index.json, blobs/sha256/<hex>   for other tools; index.json is derived from names
//   images/names/<registry+repository>/<tag>            which manifest a name means (the truth)
//   images/records/<manifest hex>.json                  the complete images
//   layers/<chain id hex>/{fs,layer.json}               one unpacked copy of each layer
//   layers/<chain id hex>/merged                        it and all below it, for images with very many layers
//   images/partial/<hex>                                blobs that are being downloaded, or were when a pull was cut off
//   staging/<id>/                                       work in progress, locked by the process whose it is

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Digest, digestHex } from '../../model/image.ts'

export class ImageFiles {
  readonly root: string
  readonly images: string
  readonly blobs: string
  readonly names: string
  readonly records: string
  readonly layers: string
  readonly staging: string

  constructor(root: string) {
    this.root = root
    this.images = join(root, 'images')
    this.blobs = join(this.images, 'blobs', 'sha256')
    this.names = join(this.images, 'names')
    this.records = join(this.images, 'records')
    this.layers = join(root, 'layers')
    this.staging = join(root, 'staging')
  }

  /** Makes the folders. Layers hold what is root's and setuid, so nobody else may come near. */
  create(): void {
    for (const path of [this.layers, this.staging, this.blobs, this.names, this.records]) {
      mkdirSync(path, { recursive: true, mode: 0o700 })
    }
  }

  blob(digest: Digest): string {
    return join(this.blobs, digestHex(digest))
  }

  record(manifest: Digest): string {
    return join(this.records, `${digestHex(manifest)}.json`)
  }

  layer(chainId: Digest): string {
    return join(this.layers, digestHex(chainId))
  }

  /** The directory that overlayfs takes. */
  layerTree(chainId: Digest): string {
    return join(this.layer(chainId), 'fs')
  }

  /** All layers up to this one as one directory, where there are too many for overlayfs; derived, and dies with the layer. */
  mergedTree(chainId: Digest): string {
    return join(this.layer(chainId), 'merged')
  }

  /** Downloads that are not complete; see registry/partial-blob.ts. */
  get partial(): string {
    return join(this.images, 'partial')
  }

  /** Locked by whoever must not see images vanish (shared) or makes them vanish (exclusive). */
  get lock(): string {
    return join(this.images, 'lock')
  }
}

let boot: string | undefined

/** Which boot of the machine this is. */
export function currentBoot(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return boot
}

/** Whether the unpacked copy of a layer has its place; says nothing on whether it is sound. */
export function hasLayer(files: ImageFiles, chainId: Digest): boolean {
  return existsSync(files.layerTree(chainId))
}
