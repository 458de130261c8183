// How containers of RUN steps go.

import { isNoSuchContainer } from '../../model/errors.ts'
import type { BuildParts } from './build-parts.ts'
import { isStepUnderWay } from './step-label.ts'

type Parts = Pick<BuildParts, 'context' | 'containers'>

/** Removes a container of a build as far as it is there: another command may have begun with that, or be done. */
export async function removeStepContainer({ containers }: Pick<Parts, 'containers'>, id: string): Promise<void> {
  try {
    await containers.remove(id, { force: true, volumes: true })
  } catch (error) {
    if (!isNoSuchContainer(error)) throw error
  }
}

/** Removes the containers of builds that were killed. */
export async function removeLostContainers(parts: Parts): Promise<void> {
  for (const container of parts.context.store.list())
    if (isStepUnderWay(container) === false) await removeStepContainer(parts, container.id)
}
