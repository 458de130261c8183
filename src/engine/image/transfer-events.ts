// What pull and push take, and what they tell while they are at work: the faces turn that into bars and lines.

import type { Digest, Platform } from '../../model/image.ts'

export type TransferState =
  /** Pull: the store has it. Push: the registry has it. */
  | 'exists'
  | 'waiting'
  | 'downloading'
  | 'downloaded'
  | 'extracting'
  /** Pull: it is unpacked. */
  | 'complete'
  | 'compressing'
  | 'pushing'
  | 'pushed'
  /** Push: taken from another repository of the registry. */
  | 'mounted'

export type TransferEvent =
  | {
      readonly kind: 'begin'
      /** Short form of the image's name. */
      readonly reference: string
      /** Tag, or digest. */
      readonly name: string
      /** Registry and repository in full. */
      readonly repository: string
    }
  | {
      readonly kind: 'layer'
      readonly digest: Digest
      readonly state: TransferState
      /** Bytes so far. */
      readonly current?: number
      readonly total?: number
      /** `mounted`: from which repository. */
      readonly from?: string
    }

export type OnTransfer = (event: TransferEvent) => void

export interface TransferOptions {
  readonly signal?: AbortSignal
  /** Told of every layer and every chunk; it must be quick. */
  readonly onProgress?: OnTransfer
}

/** When the registry is asked for an image. */
export type PullPolicy = 'always' | 'missing' | 'never'

export interface PullImageOptions extends TransferOptions {
  /** `missing`: what the store has is good enough. `never`: nothing else is. Default `always`. */
  readonly policy?: PullPolicy
  /** Default: this machine's. */
  readonly platform?: Platform
}
