// How much an archive may ask for. A layer of ten megabytes can hold ten gigabytes of zeros or a million names;
// these bounds end that with an error that names the bound, before the disk is full.

import { TsrunError } from '../../model/errors.ts'

export interface UnpackLimits {
  /** Members of one archive. */
  readonly maxEntries: number
  /** Uncompressed bytes of one archive. */
  readonly maxBytes: number
  /** Bytes of one name. The kernel's own bound on a path is 4096. */
  readonly maxPathBytes: number
  /** Uncompressed bytes for each compressed one; not asked before `ratioFromBytes` are out. */
  readonly maxRatio: number
  readonly ratioFromBytes: number
}

export const defaultUnpackLimits: UnpackLimits = {
  maxEntries: 2_000_000,
  maxBytes: 64 * 2 ** 30,
  maxPathBytes: 4096,
  maxRatio: 250,
  ratioFromBytes: 2 ** 30,
}

/** @throws TsrunError invalid */
export function refuseBeyond(limit: keyof UnpackLimits, value: number, limits: UnpackLimits): void {
  if (value <= limits[limit]) return
  throw new TsrunError('invalid', 'layer-limit', `cannot unpack layer: ${subjects[limit]} than ${limits[limit]}`, {
    hint: `if you trust this image, raise the limit "${limit}"`,
  })
}

const subjects: Readonly<Record<keyof UnpackLimits, string>> = {
  maxEntries: 'it has more entries',
  maxBytes: 'it has more bytes',
  maxPathBytes: 'a name in it has more bytes',
  maxRatio: 'its uncompressed size is more times the compressed one',
  ratioFromBytes: 'it has more bytes',
}
