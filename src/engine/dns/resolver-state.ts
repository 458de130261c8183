// Is there a resolver, and is it alive? Asked by every command, so it is two system calls at most.

import { existsSync } from 'node:fs'
import { hasHolderDied } from '../../kernel/life-lock.ts'
import type { EngineContext } from '../context.ts'

/** Whether a resolver was started and has died, or is just ending with its last container. */
export function isResolverLost(context: EngineContext): boolean {
  return existsSync(context.paths.resolver) && hasHolderDied(context.paths.resolver)
}
