// Names that the user gave another meaning: `--build-context NAME=..`. Pure.

import type { BuildOptions } from './build-types.ts'

/** What `--build-context` says of a name; case does not count, as with stages. */
export function namedContext(
  { namedContexts = {} }: Pick<BuildOptions, 'namedContexts'>,
  name: string,
): NonNullable<BuildOptions['namedContexts']>[string] | undefined {
  return Object.entries(namedContexts).find(([each]) => each.toLowerCase() === name.toLowerCase())?.[1]
}
