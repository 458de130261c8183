// What a build is asked for, what it tells while it goes on, and what comes of it.

import type { ContainerSpec } from '../../model/container.ts'
import type { Digest, Platform } from '../../model/image.ts'
import type { TransferEvent } from '../image/transfer-events.ts'

/** A file or text that steps may read and no layer keeps. */
export interface BuildSecret {
  readonly id: string
  /** A file of the host, or the bytes. */
  readonly source: { readonly file: string } | { readonly value: string }
}

/** How an image is built. */
export interface BuildOptions {
  /** The directory that COPY takes from, or a tar archive of one, plain or compressed (gzip, zstd, xz, bzip2). */
  readonly context: string | AsyncIterable<Buffer>
  /** The Dockerfile: a path, relative to the context. Default `Dockerfile`. */
  readonly file?: string
  /** Its text, instead of a file. */
  readonly dockerfile?: string
  /** Names for the image. */
  readonly tags?: readonly string[]
  /** Values for ARG. */
  readonly buildArgs?: Readonly<Record<string, string>>
  /** Build up to this stage: its name or number. Default: the last one. */
  readonly target?: string
  /** Run every step, whatever the cache has. Default false. */
  readonly noCache?: boolean
  /** The same for these stages alone, by name or number. */
  readonly noCacheStages?: readonly string[]
  /** Ask the registries for base images even where the store has them. Default false. */
  readonly pull?: boolean
  /** Default: this machine's. Steps of another one need an emulator that the kernel knows (binfmt_misc). */
  readonly platform?: Platform
  readonly labels?: Readonly<Record<string, string>>
  /** Annotations of the manifest. */
  readonly annotations?: Readonly<Record<string, string>>
  /**
   * What names behind `FROM`, `--from=` and `from=` mean before stages and registries are asked: a directory of this machine (not
   * behind `FROM`), or an image.
   */
  readonly namedContexts?: Readonly<Record<string, { readonly directory: string } | { readonly image: string }>>
  readonly secrets?: readonly BuildSecret[]
  /** Network of the steps: `none`, `host`, or a network of tsrun. Default: the default network. */
  readonly network?: string
  /** `name:ip`, as --add-host of run. */
  readonly extraHosts?: readonly string[]
  /** Limits of the steps, as those of run. */
  readonly stepLimits?: Pick<ContainerSpec, 'shmSizeBytes' | 'ulimits' | 'cgroupParent'>
  /** Given the image's file system as a tar archive, before the image has its names. It must read all of it. */
  readonly onFiles?: (archive: AsyncIterable<Buffer>) => Promise<void>
  /**
   * Seconds since 1970 that stand for every later time, and for the time of the build: the same context then gives the same
   * digest. Default: the build argument SOURCE_DATE_EPOCH, where it is given.
   */
  readonly sourceDateEpoch?: number
  /** Ends the running steps; the promise rejects with its reason. */
  readonly signal?: AbortSignal
  /** Told of every step and of all that steps write; it must be quick. */
  readonly onEvent?: (event: BuildEvent) => void
}

/** How far one step of a build is. */
export type BuildStepState = 'running' | 'cached' | 'done' | 'failed' | 'canceled'

/** How far a build is. */
export type BuildEvent =
  | {
      readonly kind: 'step'
      /** From 1, in the order in which they began. */
      readonly id: number
      /** `[builder 2/5] RUN make`, or `load build definition from Dockerfile`. */
      readonly title: string
      readonly state: BuildStepState
      /** Since it began. */
      readonly elapsedMs: number
      /** `failed`: why. */
      readonly error?: string
    }
  | {
      /** What a step wrote, as it came. */
      readonly kind: 'output'
      readonly id: number
      readonly stream: 'stdout' | 'stderr'
      readonly bytes: Buffer
      readonly elapsedMs: number
    }
  | { readonly kind: 'pull'; readonly id: number; readonly event: TransferEvent }
  /** Something that the user should know and that stops nothing. */
  | { readonly kind: 'note'; readonly text: string }

/** What a build has made. */
export interface BuiltImage {
  /** Digest of the config. */
  readonly id: Digest
  /** Digest of the manifest. */
  readonly digest: Digest
  /** Short forms of its names. */
  readonly names: readonly string[]
}
