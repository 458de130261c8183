// What pull and push take, and what they tell while they are at work: the faces turn that into bars and lines.

import type { Digest, Platform } from '../../model/image.ts'

/** How far one layer is. */
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

/** How far a pull or a push is. */
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

/** Called as layers come and go. */
export type OnTransfer = (event: TransferEvent) => void

/** What pull and push have in common. */
export interface TransferOptions {
  readonly signal?: AbortSignal
  /** Told of every layer and every chunk; it must be quick. */
  readonly onProgress?: OnTransfer
}

/** When the registry is asked for an image. */
export type PullPolicy = 'always' | 'missing' | 'never'

/** How an image is pulled. */
export interface PullImageOptions extends TransferOptions {
  /** `missing`: what the store has is good enough. `never`: nothing else is. Default `always`. */
  readonly policy?: PullPolicy
  /** Default: this machine's. */
  readonly platform?: Platform
}
