// What an image is: a reference names a manifest, a manifest names a config and layers, a config says how to run it.
// The JSON shapes are those of the OCI image specification v1.1 (docker's schema 2 reads the same), as far as we use them.

/** `sha256:` and 64 hex digits. */
export type Digest = string & { readonly __brand: 'Digest' }

const digestPattern = /^sha256:[0-9a-f]{64}$/

/** Whether `text` is a digest that we can verify. */
export function isDigest(text: string): text is Digest {
  return digestPattern.test(text)
}

/** The 64 hex digits of a digest. @throws Error when it is none: it becomes a file name */
export function digestHex(digest: Digest): string {
  if (!isDigest(digest)) throw new Error(`"${digest}" is not a digest`)
  return digest.slice(7)
}

/** The name of an image, normalised: `busybox` is docker.io, library/busybox, latest. */
export interface ImageReference {
  /** Host and optional port, e.g. `docker.io`, `localhost:5000`. */
  readonly registry: string
  readonly repository: string
  /** Absent only where a digest is given instead. */
  readonly tag?: string
  readonly digest?: Digest
}

/** Points to a blob. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly platform?: Platform
  readonly annotations?: Readonly<Record<string, string>>
  /** Where else a layer may be fetched from (foreign layers). */
  readonly urls?: readonly string[]
  /** OCI 1.1: what kind of artifact a manifest in an index is. */
  readonly artifactType?: string
}

/** What an image runs on, in the words of OCI: `linux`, `amd64`. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

/** An image manifest, OCI or docker schema 2. */
export interface ImageManifest {
  readonly schemaVersion: 2
  readonly mediaType?: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  readonly annotations?: Readonly<Record<string, string>>
}

/** An image index, or docker's manifest list. */
export interface ImageIndex {
  readonly schemaVersion: 2
  readonly mediaType?: string
  readonly manifests: readonly Descriptor[]
  readonly annotations?: Readonly<Record<string, string>>
}

/** How a container's health is asked for; times in nanoseconds. */
export interface Healthcheck {
  readonly Test?: readonly string[]
  readonly Interval?: number
  readonly Timeout?: number
  readonly StartPeriod?: number
  readonly StartInterval?: number
  readonly Retries?: number
}

/** The defaults an image brings for containers made of it. */
export interface ContainerDefaults {
  readonly User?: string
  readonly Env?: readonly string[]
  readonly Cmd?: readonly string[] | null
  readonly Entrypoint?: readonly string[] | null
  readonly WorkingDir?: string
  readonly ExposedPorts?: Readonly<Record<string, object>> | null
  readonly Volumes?: Readonly<Record<string, object>> | null
  readonly Labels?: Readonly<Record<string, string>> | null
  readonly StopSignal?: string
  /** Seconds; docker's addition. */
  readonly StopTimeout?: number
  readonly Healthcheck?: Healthcheck
  readonly Shell?: readonly string[] | null
  readonly OnBuild?: readonly string[] | null
}

/** One line of an image's history. */
export interface HistoryEntry {
  readonly created?: string
  readonly created_by?: string
  readonly author?: string
  readonly comment?: string
  /** This step made no layer. */
  readonly empty_layer?: boolean
}

/** The config blob of an image. Its digest is the image's id. */
export interface ImageConfig extends Platform {
  readonly created?: string
  readonly author?: string
  readonly config?: ContainerDefaults
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly Digest[] }
  readonly history?: readonly HistoryEntry[]
}

/** One layer of an image in the store, bottom first in lists. */
export interface Layer {
  /** Digest of the blob as it is transferred. */
  readonly digest: Digest
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest
  /** Names this layer on top of all below it: the key of the unpacked copy. */
  readonly chainId: Digest
  readonly mediaType: string
  /** Of the blob, in bytes. */
  readonly size: number
  /** Bytes of the files in the unpacked copy. */
  readonly unpackedSize: number
}

/** A complete image in the store: every blob and every unpacked layer of it is there. */
export interface Image {
  /** Digest of the config. */
  readonly id: Digest
  readonly manifest: Descriptor
  readonly config: ImageConfig
  /** Bottom first. */
  readonly layers: readonly Layer[]
  /** RFC 3339: when it came into this store. */
  readonly storedAt: string
}

export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const

/** Whether a descriptor of this type points to an index (a list of manifests). */
export function isIndexType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerIndex
}

/** Whether a descriptor of this type points to an image manifest. */
export function isManifestType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociManifest || mediaType === mediaTypes.dockerManifest
}
