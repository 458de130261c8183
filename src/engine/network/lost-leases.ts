// Which leases have lost their keeper. Asked by every command: where there are none, that is one system call.

import { hasHolderDied } from '../../kernel/life-lock.ts'
import { namesIfThere } from '../../lib/if-there.ts'
import type { EngineContext } from '../context.ts'

/** The endpoints whose keeper has died, or is just ending with its container. */
export function lostLeases({ paths }: Pick<EngineContext, 'paths'>): string[] {
  return namesIfThere(paths.leases).filter(endpointId => hasHolderDied(`${paths.leases}/${endpointId}`))
}
