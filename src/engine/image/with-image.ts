// The image of a container is pulled where it is not there, or always: the one decision that the library and the command line
// share. Nothing of pulling is loaded before it is needed.

import { TsrunError } from '../../model/errors.ts'
import { formatReference, parseReference } from './image-reference.ts'
import type { PullPolicy } from './transfer-events.ts'

export interface ImageSteps<T> {
  /** Makes use of the image. @throws TsrunError no-such-image where the store does not have it */
  readonly use: (image: string) => Promise<T>
  /** Brings it. @returns the name to use it by: another than the one given where it was found in another registry */
  readonly pull: (image: string) => Promise<string>
}

/** The name of a pulled image as it was written, unless it was found in another registry than the name alone says. */
export function nameToUse(written: string, { fullName }: { readonly fullName: string }): string {
  return formatReference(parseReference(written)) === fullName ? written : fullName
}

/** @throws TsrunError not-found (here, or in the registry), and whatever the steps throw */
export async function withImage<T>(image: string, policy: PullPolicy, { use, pull }: ImageSteps<T>): Promise<T> {
  if (policy === 'always') return use(await pull(image))
  try {
    return await use(image)
  } catch (error) {
    const isMissing = error instanceof TsrunError && error.code === 'no-such-image'
    // What looks like an id is in no registry.
    if (!isMissing || policy === 'never' || /^(sha256:)?[0-9a-f]{12,64}$/.test(image)) throw error
  }
  return use(await pull(image))
}
