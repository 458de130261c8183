import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import { decompress, detectCompression } from '../../src/drivers/image/decompress.ts'
import { decompressByProgram } from '../../src/drivers/image/decompress-program.ts'

const path = process.env.PATH
afterEach(() => {
  process.env.PATH = path
})

const content = Buffer.concat([randomBytes(300_000), Buffer.alloc(3_000_000, 'text ')])
const compressed = (program: string, bytes = content): Buffer =>
  execFileSync(program, ['-c'], { input: bytes, maxBuffer: 1 << 26 })

async function* inPieces(bytes: Buffer, size = 10_007): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function whole(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Programs of that name among our children. */
function children(name: string): string[] {
  return readdirSync('/proc').filter(pid => {
    try {
      const [, command, rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
      return command === name && rest.split(' ')[1] === String(process.pid)
    } catch {
      return false
    }
  })
}

describe('decompress()', () => {
  test.each(['gzip', 'xz', 'bzip2'])('reads what %s has written, in small pieces too', async program => {
    const bytes = compressed(program)

    expect(detectCompression(bytes)).toBe(program)
    expect((await whole(decompress(inPieces(bytes)))).equals(content)).toBe(true)
  })

  test('gives back what is plain, however short and whatever it begins with', async () => {
    for (const text of ['', 'B', 'BZh1-notes.txt', 'BZh91', '\xfd7zX'])
      expect((await whole(decompress(inPieces(Buffer.from(text, 'latin1'), 1)))).toString('latin1')).toBe(text)
  })

  test('names the compression of what is damaged or cut off', async () => {
    for (const program of ['gzip', 'xz', 'bzip2']) {
      const bytes = compressed(program)
      await expect(whole(decompress(inPieces(bytes.subarray(0, 100_000))))).rejects.toMatchObject({
        code: 'corrupt-archive',
        message: expect.stringContaining(program),
      })
    }
  })

  test('of a layer takes only what registries have', async () => {
    for (const program of ['xz', 'bzip2'])
      await expect(whole(decompress(inPieces(compressed(program)), 'layer'))).rejects.toMatchObject({
        kind: 'unsupported',
        message: expect.stringContaining(`compressed with ${program}`),
      })
    expect((await whole(decompress(inPieces(compressed('gzip')), 'layer'))).equals(content)).toBe(true)
  })
})

describe('decompressByProgram()', () => {
  test('reads zstd for a Node that does not', async () => {
    expect((await whole(decompressByProgram('zstd', inPieces(compressed('zstd'))))).equals(content)).toBe(true)
  })

  test('says what to install where the program is not there', async () => {
    const bytes = compressed('xz')
    process.env.PATH = '/nonexistent'

    await expect(whole(decompressByProgram('xz', inPieces(bytes)))).rejects.toMatchObject({
      kind: 'unsupported',
      message: expect.stringContaining('there is no program "xz"'),
      hint: expect.stringContaining('xz-utils'),
    })
  })

  test('leaves no process behind when nobody reads on, or the source fails', async () => {
    for await (const chunk of decompressByProgram('xz', inPieces(compressed('xz')))) {
      expect(chunk.length).toBeGreaterThan(0)
      break
    }
    expect(children('xz')).toEqual([])
    async function* broken(): AsyncGenerator<Buffer> {
      yield compressed('xz').subarray(0, 50_000)
      throw new Error('the pipe broke')
    }
    await expect(whole(decompressByProgram('xz', broken()))).rejects.toThrow('the pipe broke')
    expect(children('xz')).toEqual([])
  })

  test('refuses an archive that asks for more memory than is reasonable', async () => {
    // Only the header says so: 512 MiB of dictionary, for one byte.
    const bytes = execFileSync('xz', ['-c', '--lzma2=dict=512MiB,mode=fast,mf=hc3,nice=4'], { input: 'x' })
    await expect(whole(decompressByProgram('xz', inPieces(bytes)))).rejects.toMatchObject({ code: 'corrupt-archive' })
  })
})
