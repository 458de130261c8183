// The containers of RUN steps. A label says which build's one is: its value is the build's staging folder, held as long as that lives.

import { isStagingHeld } from '../../drivers/image/staging.ts'
import type { Container } from '../../model/container.ts'

const BUILD_LABEL = 'run.tsrun.build'

/** What marks the containers of a build. @param folder its staging folder */
export function labelsOfStep(folder: string): Readonly<Record<string, string>> {
  return { [BUILD_LABEL]: folder }
}

/** Whether a build still needs this container, which may not have begun, or have ended already; undefined for one of no build. */
export function isStepUnderWay({ spec }: Pick<Container, 'spec'>): boolean | undefined {
  const folder = spec.labels?.[BUILD_LABEL]
  return folder === undefined ? undefined : isStagingHeld(folder)
}
