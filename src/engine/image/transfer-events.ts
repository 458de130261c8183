// What pull and push tell while they are at work. The faces turn it into bars and lines.

import type { Digest } from '../../model/image.ts'

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
