// Tar headers as bytes: POSIX ustar, with a PAX header in front where a value does not fit into it. The same entry always
// gives the same bytes, so that a layer written twice has one digest.

import type { TarEntry, TarTime } from './tar-entry.ts'
import { BLOCK, encodePaxRecord, formatPaxTime } from './tar-header.ts'

/** What ends an archive. */
export const tarEnd: Buffer = Buffer.alloc(2 * BLOCK)

const flags: Readonly<Record<TarEntry['type'], string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
}

/** The fewest words for an entry; all else is root's, empty, of time zero. */
export type TarEntryInit = Pick<TarEntry, 'type' | 'name'> & Partial<TarEntry>

/** A whole entry from its beginnings. */
export function tarEntry(init: TarEntryInit): TarEntry {
  return {
    linkName: '',
    mode: init.type === 'directory' ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: { seconds: 0, nanoseconds: 0 },
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: new Map(),
    isSparse: false,
    ...init,
  }
}

/** The header of `entry`; its `size` bytes of data and tarPadding() follow. */
export function encodeTarHeader(entry: TarEntry): Buffer {
  const name = entry.type === 'directory' && !entry.name.endsWith('/') ? `${entry.name}/` : entry.name
  const records: Buffer[] = []
  const record = (key: string, value: string | Buffer): void => {
    records.push(encodePaxRecord(key, typeof value === 'string' ? Buffer.from(value, 'latin1') : value))
  }
  const split = splitName(name)
  if (split === undefined) record('path', name)
  if (entry.linkName.length > 100 || !isAscii(entry.linkName)) record('linkpath', entry.linkName)
  if (entry.size >= 8 ** 11) record('size', String(entry.size))
  if (entry.uid >= 8 ** 7) record('uid', String(entry.uid))
  if (entry.gid >= 8 ** 7) record('gid', String(entry.gid))
  if (needsPaxTime(entry.mtime)) record('mtime', formatPaxTime(entry.mtime))
  if (entry.atime !== undefined) record('atime', formatPaxTime(entry.atime))
  for (const key of [...entry.xattrs.keys()].sort()) {
    record(`SCHILY.xattr.${key}`, entry.xattrs.get(key) ?? Buffer.alloc(0))
  }
  const header = encodeBlock(entry, split ?? { prefix: '', name: cut(name) })
  if (records.length === 0) return header
  const body = Buffer.concat(records)
  const announce = tarEntry({ type: 'file', name: 'PaxHeaders.0/entry', size: body.length })
  const paxBlock = encodeBlock(announce, { prefix: '', name: announce.name }, 'x')
  return Buffer.concat([paxBlock, body, tarPadding(body.length), header])
}

/** What fills up `size` bytes of data to whole blocks. */
export function tarPadding(size: number): Buffer {
  return tarEnd.subarray(0, (BLOCK - (size % BLOCK)) % BLOCK)
}

/** A whole small member: header, content, padding. */
export function encodeTarFile(init: TarEntryInit, content: Buffer): Buffer {
  const entry = tarEntry({ ...init, size: content.length })
  return Buffer.concat([encodeTarHeader(entry), content, tarPadding(content.length)])
}

function encodeBlock(entry: TarEntry, { prefix, name }: { prefix: string; name: string }, flag?: string): Buffer {
  const block = Buffer.alloc(BLOCK)
  block.write(name, 0, 'latin1')
  octal(block, 100, 8, entry.mode)
  octal(block, 108, 8, entry.uid < 8 ** 7 ? entry.uid : 0)
  octal(block, 116, 8, entry.gid < 8 ** 7 ? entry.gid : 0)
  octal(block, 124, 12, entry.size < 8 ** 11 ? entry.size : 0)
  octal(block, 136, 12, Math.min(Math.max(0, entry.mtime.seconds), 8 ** 11 - 1))
  block.write('        ', 148, 'latin1')
  block.write(flag ?? flags[entry.type], 156, 'latin1')
  block.write(entry.linkName.slice(0, 100), 157, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  octal(block, 329, 8, entry.deviceMajor)
  octal(block, 337, 8, entry.deviceMinor)
  block.write(prefix, 345, 'latin1')
  let sum = 0
  for (const byte of block) sum += byte
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** The two fields of a ustar name: up to 155 bytes, a slash, up to 100 bytes. Undefined where PAX must have it. */
function splitName(name: string): { prefix: string; name: string } | undefined {
  if (!isAscii(name)) return undefined
  if (name.length <= 100) return { prefix: '', name }
  const slash = name.indexOf('/', name.length - 101)
  if (slash <= 0 || slash > 155 || slash === name.length - 1) return undefined
  return { prefix: name.slice(0, slash), name: name.slice(slash + 1) }
}

function cut(name: string): string {
  return name.slice(0, 100)
}

function needsPaxTime({ seconds, nanoseconds }: TarTime): boolean {
  return nanoseconds !== 0 || seconds < 0 || seconds >= 8 ** 11
}

function octal(block: Buffer, start: number, length: number, value: number): void {
  const text = value.toString(8).padStart(length - 1, '0')
  if (text.length >= length) throw new RangeError(`${value} does not fit into a tar header`)
  block.write(text, start, 'latin1')
}

function isAscii(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is meant from the first character on
  return /^[\x00-\x7f]*$/.test(text)
}
