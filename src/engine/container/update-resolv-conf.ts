// Keeps a running container's /etc/resolv.conf in step with what the servers of its networks say.

import { writeFileSync } from 'node:fs'
import { readTextIfThere } from '../../lib/if-there.ts'
import type { Container } from '../../model/container.ts'
import type { Endpoint } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { usesResolver } from '../dns/uses-resolver.ts'
import { resolvConfFor } from './etc-dir.ts'

/** In place, since the file is bound into the container; one that the container has changed is its own. Idempotent. */
export function updateResolvConf(
  { paths }: Pick<EngineContext, 'paths'>,
  container: Container,
  before: readonly Endpoint[],
  after: readonly Endpoint[],
): void {
  const hasResolver = usesResolver({ paths }, container.id)
  const wanted = resolvConfFor(container, hasResolver, after)
  const written = resolvConfFor(container, hasResolver, before)
  const path = paths.runFile(container.id, 'resolv.conf')
  if (wanted !== written && readTextIfThere(path) === written) writeFileSync(path, wanted)
}
