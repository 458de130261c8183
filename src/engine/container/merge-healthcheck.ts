// The image's healthcheck and the user's, as one. Pure.

import type { Healthcheck } from '../../model/image.ts'

/** @returns undefined where there is nothing to check */
export function mergeHealthcheck(
  own: Healthcheck | undefined,
  image: Healthcheck | undefined,
): Healthcheck | undefined {
  // 0 and an empty test mean "not given", as in docker.
  const given = Object.fromEntries(
    Object.entries(own ?? {}).filter(([, value]) => value !== 0 && !(Array.isArray(value) && value.length === 0)),
  ) as Healthcheck
  const merged = { ...image, ...given }
  const kind = merged.Test?.[0]
  return kind === 'CMD' || kind === 'CMD-SHELL' ? merged : undefined
}
