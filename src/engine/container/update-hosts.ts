// Keeps a running container's /etc/hosts in step with its addresses. Only the lines of addresses that come or go are touched:
// the container may have written others.

import { writeFileSync } from 'node:fs'
import { readTextIfThere } from '../../lib/if-there.ts'
import type { Container } from '../../model/container.ts'
import type { Endpoint } from '../../model/network.ts'
import type { EngineContext } from '../context.ts'
import { shortId } from '../ids.ts'
import { withoutPrefix } from '../network/address-text.ts'

/** Idempotent. Written in place, since the file is bound into the container. */
export function updateHosts(
  { paths }: Pick<EngineContext, 'paths'>,
  { id, spec }: Container,
  before: readonly Endpoint[],
  after: readonly Endpoint[],
): void {
  const hostname = spec.hostname ?? shortId(id)
  const linesOf = (endpoints: readonly Endpoint[]) =>
    endpoints.flatMap(({ addresses }) => addresses.map(address => `${withoutPrefix(address)}\t${hostname}`))
  const wanted = linesOf(after)
  const gone = linesOf(before).filter(line => !wanted.includes(line))
  const path = paths.runFile(id, 'hosts')
  const text = readTextIfThere(path) ?? ''
  if (text === '') return
  const lines = text
    .replace(/\n$/, '')
    .split('\n')
    .filter(line => !gone.includes(line))
  const changed = `${[...lines, ...wanted.filter(line => !lines.includes(line))].join('\n')}\n`
  if (changed !== text) writeFileSync(path, changed)
}
