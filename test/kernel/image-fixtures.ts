// What the image tests share: temporary folders, archives out of a few words, and trees as text, read by find(1) and getfattr-like
// calls of the system, never by our own readers.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type UnpackRequest, unpackLayer } from '../../src/drivers/image/unpack-layer.ts'
import { encodeTarFile, encodeTarHeader, type TarEntryInit, tarEnd, tarEntry } from '../../src/lib/tar-writer.ts'

/** A folder that goes away with the test. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tsrun-image-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** An entry with its content. */
export type Member = TarEntryInit & { readonly content?: string | Buffer }

/** The bytes of an archive. */
export function archive(...members: readonly Member[]): Buffer {
  const parts = members.map(({ content, ...entry }) =>
    content === undefined ? encodeTarHeader(tarEntry(entry)) : encodeTarFile(entry, Buffer.from(content)),
  )
  return Buffer.concat([...parts, tarEnd])
}

export function file(name: string, content = `content of ${name}`, rest: Partial<Member> = {}): Member {
  return { type: 'file', name, content, ...rest }
}

export function directory(name: string, rest: Partial<Member> = {}): Member {
  return { type: 'directory', name: `${name}/`, ...rest }
}

export function symlink(name: string, linkName: string): Member {
  return { type: 'symlink', name, linkName, mode: 0o777 }
}

export function hardlink(name: string, linkName: string): Member {
  return { type: 'hardlink', name, linkName }
}

/** Unpacks archives one above the other. Returns their directories, bottom first. */
export async function unpackAll(root: string, ...archives: readonly Buffer[]): Promise<string[]> {
  const directories: string[] = []
  for (const [index, bytes] of archives.entries()) {
    const directory = join(root, `layer-${index}`)
    await unpackInto(directory, bytes, { lowerDirectories: [...directories].reverse() })
    directories.push(directory)
  }
  return directories
}

/** Unpacks one archive into a new directory. */
export async function unpackInto(
  directory: string,
  bytes: Buffer,
  request: Partial<UnpackRequest> = {},
): Promise<void> {
  mkdirSync(directory)
  await unpackLayer({ source: chunks(bytes), directory, lowerDirectories: [], ...request })
}

/** The bytes in pieces of a length that no block has. */
export async function* chunks(bytes: Buffer, size = 7919): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** Everything below a directory as find(1) sees it, one line each, by name. */
export function tree(path: string, format = '%P %y %m %U %G %s %T@ %l %n'): string[] {
  // A directory's own size is the file system's affair.
  const output = execFileSync(
    'find',
    [
      path,
      '-mindepth',
      '1',
      '-type',
      'd',
      '-printf',
      `${format.replace('%s', '-')}\\0`,
      '-o',
      '-printf',
      `${format}\\0`,
    ],
    {
      maxBuffer: 1 << 28,
    },
  )
  return output.toString('latin1').split('\0').filter(Boolean).sort()
}

/** A shell command's output. */
export function sh(script: string, cwd?: string): string {
  return execFileSync('sh', ['-c', script], {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
