// What one member of a tar archive says. Names are byte strings: one character per byte (latin1), because a file name
// on Linux is any bytes and a detour through UTF-8 would change some of them. `Buffer.from(name, 'latin1')` gives the bytes.

export type TarEntryType = 'file' | 'hardlink' | 'symlink' | 'character-device' | 'block-device' | 'directory' | 'fifo'

/** Seconds since 1970 and nanoseconds after them; nanoseconds are never negative. */
export interface TarTime {
  readonly seconds: number
  readonly nanoseconds: number
}

/** One member. */
export interface TarEntry {
  readonly type: TarEntryType
  readonly name: string
  /** Target of a symbolic or hard link, else empty. */
  readonly linkName: string
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Size of the file once unpacked, in bytes; holes of a sparse file included. */
  readonly size: number
  readonly mtime: TarTime
  readonly atime?: TarTime
  readonly deviceMajor: number
  readonly deviceMinor: number
  /** Extended attributes by full name, e.g. `security.capability`. */
  readonly xattrs: ReadonlyMap<string, Buffer>
  /** The file has holes: data comes only for its parts. */
  readonly isSparse: boolean
}

/** The archive is not what a tar archive may be. `offset` is the byte where that was seen. */
export class TarFormatError extends Error {
  readonly offset: number

  constructor(reason: string, offset: number) {
    super(`${reason} (at byte ${offset})`)
    this.name = 'TarFormatError'
    this.offset = offset
  }
}

/** A byte string from text, for names that come from our own side as UTF-8. */
export function byteString(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** Text for people from a byte string. */
export function displayName(name: string): string {
  return JSON.stringify(Buffer.from(name, 'latin1').toString('utf8')).slice(1, -1)
}
