// Compressions that the platform's library does not have, by the program that everybody has for them: xz, bzip2, and zstd under a
// Node without it. As a process of its own: what a hostile archive makes it take is not ours, and killing it ends it.

import { spawn } from 'node:child_process'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { hasCode } from '../../ffi/errno.ts'
import { TsrunError } from '../../model/errors.ts'

interface Program {
  readonly args: readonly string[]
  /** Debian's, for the hint. */
  readonly packageName: string
}

/** xz takes what an archive's header asks for, which may be gigabytes; `xz -9` needs 65 MiB. zstd has a limit of 128 MiB of its own. */
const programs = {
  xz: { args: ['-dcq', '--memlimit-decompress=256MiB'], packageName: 'xz-utils' },
  bzip2: { args: ['-dcq'], packageName: 'bzip2' },
  zstd: { args: ['-dcq', '--no-progress'], packageName: 'zstd' },
} as const satisfies Record<string, Program>

/** What a program is asked for here. */
export type ProgramCompression = keyof typeof programs

const maxComplaint = 500

/**
 * The uncompressed chunks of `source`. The program has ended when this has, also when nobody reads to the end.
 * @throws TsrunError invalid (corrupt), unsupported (no such program); whatever `source` throws
 */
export async function* decompressByProgram(
  name: ProgramCompression,
  source: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  const { args, packageName } = programs[name]
  // Without the variables that carry options of their own (XZ_OPT, BZIP2, ZSTD_CLEVEL).
  const env = { PATH: process.env.PATH ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }
  const child = spawn(name, args, { stdio: ['pipe', 'pipe', 'pipe'], env })
  let spawnError: unknown
  const ended = new Promise<number | null>(resolve => {
    child.on('error', error => {
      spawnError = error
      resolve(null)
    })
    child.on('close', resolve)
  })
  let complaint = ''
  child.stderr.on('data', (chunk: Buffer) => {
    if (complaint.length < maxComplaint) complaint += chunk.toString('utf8')
  })
  let sourceError: unknown
  // Its own end says whether it read all that it wanted: a closed pipe does not.
  const feeding = pipeline(Readable.from(source, { objectMode: false }), child.stdin).catch((error: unknown) => {
    if (hasCode(error, 'EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED')) return
    sourceError = error
    child.kill('SIGKILL')
  })
  try {
    for await (const chunk of child.stdout) yield chunk as Buffer
    const code = await ended
    await feeding
    if (sourceError !== undefined) throw sourceError
    if (hasCode(spawnError, 'ENOENT', 'EACCES')) throw noProgram(name, packageName, spawnError)
    if (spawnError !== undefined) throw spawnError
    if (code === 0) return
    const reason = complaint.trim().split('\n')[0] || `it ended with ${code ?? 'a signal'}`
    throw new TsrunError('invalid', 'corrupt-archive', `cannot decompress (${name}): ${reason}`)
  } finally {
    child.kill('SIGKILL')
    child.stdout.destroy()
    await Promise.all([ended, feeding])
  }
}

function noProgram(name: ProgramCompression, packageName: string, cause: unknown): TsrunError {
  const why = name === 'zstd' ? 'this Node has no zstd, and there' : 'there'
  return new TsrunError(
    'unsupported',
    `no-${name}`,
    `cannot read what is compressed with ${name}: ${why} is no program "${name}"`,
    {
      cause,
      hint:
        name === 'zstd'
          ? `install it (apt install ${packageName}), or use the tsrun executable or Node 22.15 or later`
          : `install it (apt install ${packageName}), or compress with gzip or zstd`,
    },
  )
}
