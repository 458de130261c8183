// What is read of a container is all of it only while the container is there. Nobody holds its lock meanwhile, since who takes what is
// read may be slow; so a removal is noticed: it takes the record away before the files.

import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { EngineContext } from '../context.ts'

type Store = Pick<EngineContext, 'store'>

/** @throws TsrunError conflict `removed-meanwhile`; else what `read` throws */
export async function whileThere<T>(context: Store, container: Container, read: () => Promise<T> | T): Promise<T> {
  try {
    const result = await read()
    assertThere(context, container)
    return result
  } catch (error) {
    assertThere(context, container, error)
    throw error
  }
}

/** The same for a stream. Its last chunk comes only when all of it was there: an archive lacks its end otherwise. */
export async function* streamWhileThere(
  context: Store,
  container: Container,
  read: () => AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  let last: Buffer | undefined
  try {
    for await (const chunk of read()) {
      if (last !== undefined) yield last
      last = chunk
    }
  } catch (error) {
    assertThere(context, container, error)
    throw error
  }
  assertThere(context, container)
  if (last !== undefined) yield last
}

function assertThere({ store }: Store, { id, name }: Container, cause?: unknown): void {
  if (store.read(id) !== undefined) return
  if (cause instanceof TsrunError && cause.code === 'removed-meanwhile') throw cause
  throw new TsrunError('conflict', 'removed-meanwhile', `cannot read all of "${name}": it was removed meanwhile`, {
    ...(cause === undefined ? {} : { cause }),
  })
}
