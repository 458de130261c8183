// The file system of a container from outside: of a running one through its first process, mounts and all; of another one as
// an overlay that is mounted nowhere, with its binds and volumes reached where they are.

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { OverlayView } from '../../kernel/overlay.ts'
import { byteString } from '../../lib/tar-entry.ts'
import type { Container } from '../../model/container.ts'
import { TsrunError } from '../../model/errors.ts'
import type { IdMaps } from '../../model/id-maps.ts'
import { isAlive } from '../container/container-store.ts'
import type { EngineContext } from '../context.ts'
import { volumeName } from '../volume/volume-service.ts'
import { FileTree } from './file-tree.ts'

/** A path in a tree, as somebody has typed it. */
export interface Place {
  readonly tree: FileTree
  /** In the tree. */
  readonly path: string
  /** Its users, where the host knows them by other ids. */
  readonly idMaps?: IdMaps | undefined
  /** What to call it in messages. */
  readonly label: string
  close(): void
}

/** A path on the host; a relative one starts where this process stands. */
export function openHost(path: string): Place {
  const tree = FileTree.host()
  // resolve() eats what says how the path is meant.
  const ending = /\/\.?$/.exec(path)?.[0] ?? ''
  return { tree, path: byteString(`${resolve(path)}${ending}`), label: `"${path}"`, close: () => tree.close() }
}

/** A path in a container; it starts at its root. @throws TsrunError denied (read-only root) */
export function openContainer(
  context: EngineContext,
  container: Container,
  path: string,
  access: 'read' | 'write',
): Place {
  const label = `"${container.name}:${path}"`
  const run = context.store.liveRun(container.id)
  if (run !== undefined) {
    const tree = FileTree.within(`/proc/${run.pid}/root`)
    // The pid may have gone to somebody else between looking and opening.
    if (isAlive(run))
      return { tree, path: byteString(path), idMaps: container.idMaps, label, close: () => tree.close() }
    tree.close()
  }
  const mounted = openMounted(context, container, path)
  if (mounted !== undefined) return { ...mounted, label, close: () => mounted.tree.close() }
  const { view, tree } = openOverlay(context, container, access)
  return {
    tree,
    path: byteString(path),
    label,
    close: () => {
      tree.close()
      view.close()
    },
  }
}

/** The tar of the whole file system; where something is mounted in a running container, its empty place. */
export async function* exportTree(context: EngineContext, container: Container): AsyncGenerator<Buffer> {
  const { packDirectory } = await import('../../drivers/image/layer-packer.ts')
  const view = new OverlayView([context.paths.containerFile(container.id, 'upper'), ...container.image.layerDirs])
  try {
    yield* packDirectory(view.path, { kind: 'tree' })
  } finally {
    view.close()
  }
}

/**
 * No lock is held while files are copied, since the other end may be a person: a start in the meantime mounts the same
 * directories a second time, which the kernel allows, and then may not see what is copied at that moment.
 */
function openOverlay(
  context: EngineContext,
  container: Container,
  access: 'read' | 'write',
): { view: OverlayView; tree: FileTree } {
  const upperDir = context.paths.containerFile(container.id, 'upper')
  const workDir = context.paths.containerFile(container.id, 'work')
  if (access === 'write' && container.spec.readonlyRootfs === true)
    throw new TsrunError('denied', 'read-only', `cannot copy to "${container.name}": its root is read-only`)
  const view =
    access === 'read'
      ? new OverlayView([upperDir, ...container.image.layerDirs])
      : new OverlayView(container.image.layerDirs, { upperDir, workDir })
  return { view, tree: FileTree.within(view.path) }
}

/** The bind or volume that the path leads into by its words; links into one are not followed. */
function openMounted(
  context: EngineContext,
  container: Container,
  path: string,
): { tree: FileTree; path: string } | undefined {
  const wanted = resolve('/', path)
  const mount = [...(container.spec.mounts ?? [])]
    .filter(({ target, type }) => type !== 'tmpfs' && (wanted === target || wanted.startsWith(`${target}/`)))
    .sort((a, b) => b.target.length - a.target.length)[0]
  if (mount === undefined) return undefined
  const source = mount.type === 'bind' ? mount.source : context.volumes.get(volumeName(container.id, mount))?.mountpoint
  if (source === undefined) return undefined
  const ending = /\/\.?$/.exec(path)?.[0] ?? ''
  const inside = `${wanted.slice(mount.target.length)}${ending}`
  // A single file is reached through its folder, which is the host's.
  if (statSync(source, { throwIfNoEntry: false })?.isFile()) return { tree: FileTree.host(), path: byteString(source) }
  return { tree: FileTree.within(source), path: inside === '' ? '/' : byteString(inside) }
}
