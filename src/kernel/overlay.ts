// Looks at merged layers without mounting them anywhere: a detached mount lives as long as its descriptor, so that
// nothing is left on the host however we end. See fsopen(2), fsconfig(2), fsmount(2). A kernel before 6.7 takes few layers that way:
// there many are mounted with mount(2) for a moment.

import { closeSync, constants, mkdtempSync, openSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasCode } from '../ffi/errno.ts'
import { MNT_DETACH, mount, SYS, syscall, umount } from '../ffi/libc.ts'

const FSOPEN_CLOEXEC = 1
const FSCONFIG_SET_STRING = 1
const FSCONFIG_CMD_CREATE = 6
const FSMOUNT_CLOEXEC = 1
const MOUNT_ATTR_RDONLY = 1
const MS_RDONLY = 1
const O_PATH = 0o10000000
const RESOLVE_NO_MAGICLINKS = 0x02n
const RESOLVE_IN_ROOT = 0x10n
/** fsconfig(2) takes values of at most 256 bytes. */
const MAX_VALUE_BYTES = 255

/** OVL_MAX_STACK of fs/overlayfs/params.h. */
const MOST_LAYERS = 500
/** As many `/proc/self/fd/1234:` go into the page of options that mount(2) takes, with room for the rest. */
const MOST_LAYERS_IN_A_PAGE = 200

/** How many layers this kernel merges in one mount, those of native/rootfs.c included. Asks with two harmless calls. */
export function mostOverlayLayers(): number {
  return takesLayersOneByOne() ? MOST_LAYERS : MOST_LAYERS_IN_A_PAGE
}

/** Whether there is `lowerdir+` (Linux 6.7). Before 6.5 overlayfs takes any parameter and looks at it later: that is told apart. */
function takesLayersOneByOne(): boolean {
  const context = openContext()
  const isTaken = (key: string): boolean => {
    try {
      fsconfig(context, FSCONFIG_SET_STRING, key, '/')
      return true
    } catch (error) {
      if (hasCode(error, 'EINVAL')) return false
      throw error
    }
  }
  try {
    return isTaken('lowerdir+') && !isTaken('tsrun-probe')
  } finally {
    closeSync(context)
  }
}

/** The writable top of an overlay; both directories on one file system. */
export interface UpperLayer {
  readonly upperDir: string
  readonly workDir: string
}

/** A view of overlay layers, read-only unless there is an upper one. Owns its descriptors: close() it. */
export class OverlayView {
  readonly #root: number

  /**
   * @param layerDirs the topmost first
   * @param way how to mount many layers; for tests
   * @throws SyscallError
   */
  constructor(layerDirs: readonly string[], upper?: UpperLayer, way?: 'detached' | 'briefly') {
    const [only] = layerDirs
    if (only !== undefined && layerDirs.length === 1 && upper === undefined) {
      this.#root = openSync(only, O_PATH | constants.O_DIRECTORY)
      return
    }
    // Short names through descriptors: folder names may hold colons and be long.
    const opened: number[] = []
    const open = (directory: string): string => {
      const fd = openSync(directory, O_PATH | constants.O_DIRECTORY)
      opened.push(fd)
      return `/proc/self/fd/${fd}`
    }
    try {
      const top = upper === undefined ? undefined : { upperDir: open(upper.upperDir), workDir: open(upper.workDir) }
      const layers = layerDirs.map(open)
      const fits = layers.join(':').length <= MAX_VALUE_BYTES
      const isDetached = way === undefined ? fits || takesLayersOneByOne() : way === 'detached'
      this.#root = isDetached ? mountDetached(layers, top) : mountBriefly(layers, top)
    } finally {
      for (const fd of opened) closeSync(fd)
    }
  }

  /**
   * Opens the folder `path`, symlinks resolved inside the view.
   * @returns a descriptor of the caller's, or undefined where there is no folder
   */
  openDirectory(path: string): number | undefined {
    // struct open_how { __u64 flags; __u64 mode; __u64 resolve; } of linux/openat2.h
    const flags = BigInt(constants.O_RDONLY | constants.O_DIRECTORY | 0o2000000)
    const how = Buffer.from(new BigUint64Array([flags, 0n, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS]).buffer)
    try {
      return syscall('openat2', SYS.openat2, 'int, const char *, const void *, size_t', [
        this.#root,
        path,
        how,
        how.length,
      ])
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
      throw error
    }
  }

  /** The root as a path of this process, good until close(). */
  get path(): string {
    return `/proc/self/fd/${this.#root}/.`
  }

  close(): void {
    closeSync(this.#root)
  }
}

function openContext(): number {
  return syscall('fsopen', SYS.fsopen, 'const char *, unsigned int', ['overlay', FSOPEN_CLOEXEC])
}

/** With mount(2), on a folder of its own from which it is taken at once. */
function mountBriefly(layers: readonly string[], upper: UpperLayer | undefined): number {
  const top = upper === undefined ? '' : `,upperdir=${upper.upperDir},workdir=${upper.workDir}`
  const target = mkdtempSync(join(tmpdir(), 'tsrun-overlay-'))
  try {
    mount('overlay', target, 'overlay', upper === undefined ? MS_RDONLY : 0, `lowerdir=${layers.join(':')}${top}`)
    try {
      return openSync(target, O_PATH | constants.O_DIRECTORY)
    } finally {
      umount(target, MNT_DETACH)
    }
  } finally {
    rmdirSync(target)
  }
}

function mountDetached(layers: readonly string[], upper: UpperLayer | undefined): number {
  const context = openContext()
  try {
    const set = (key: string, value: string) => fsconfig(context, FSCONFIG_SET_STRING, key, value)
    const joined = layers.join(':')
    if (joined.length <= MAX_VALUE_BYTES) set('lowerdir', joined)
    else for (const layer of layers) set('lowerdir+', layer)
    if (upper !== undefined) {
      set('upperdir', upper.upperDir)
      set('workdir', upper.workDir)
    }
    fsconfig(context, FSCONFIG_CMD_CREATE, null, null)
    return syscall('fsmount', SYS.fsmount, 'int, unsigned int, unsigned int', [
      context,
      FSMOUNT_CLOEXEC,
      upper === undefined ? MOUNT_ATTR_RDONLY : 0,
    ])
  } finally {
    closeSync(context)
  }
}

function fsconfig(context: number, command: number, key: string | null, value: string | null): void {
  syscall(
    'fsconfig',
    SYS.fsconfig,
    'int, unsigned int, const char *, const char *, int',
    [context, command, key, value, 0],
    key ?? 'overlay',
  )
}
