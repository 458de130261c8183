// Layers and archives: the reader, and the unpacker into a folder that has something to lose beside it.

import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { unpackLayer } from '../../../src/drivers/image/unpack-layer.ts'
import { type TarEntry, TarFormatError } from '../../../src/lib/tar-entry.ts'
import { TarReader } from '../../../src/lib/tar-reader.ts'
import type { FuzzTarget } from '../fuzzer.ts'
import { assert, isForUsers } from '../target.ts'
import { temporaryFolder } from '../temporary.ts'

/** Whole, and cut in two anywhere: the answer is the same, and no more data comes out than went in. */
const tarReader: FuzzTarget = {
  name: 'tar-reader',
  kind: 'bytes',
  run: input => {
    const whole = readTar([input])
    const at = (input[0] ?? 0) + (input.length >> 1)
    const parts = readTar([input.subarray(0, at), input.subarray(at)])
    assert(whole.text === parts.text, `${whole.text} in one piece, ${parts.text} in two`)
    if (whole.error !== undefined) throw whole.error
    return whole.types
  },
  refuses: error => error instanceof TarFormatError,
}

function readTar(chunks: readonly Buffer[]): { text: string; types: string; error: unknown } {
  const seen: TarEntry[] = []
  let data = 0
  let open = 0
  const reader = new TarReader({
    entry: entry => {
      seen.push(entry)
      open++
    },
    data: bytes => {
      data += bytes.length
    },
    end: () => {
      open--
    },
  })
  let error: unknown
  try {
    for (const chunk of chunks) reader.write(chunk)
    reader.end()
    assert(open === 0, 'an entry has no end')
  } catch (thrown) {
    error = thrown
  }
  assert(data <= chunks.reduce((sum, chunk) => sum + chunk.length, 0), 'more data than there are bytes')
  const names = seen.map(({ type, name, size }) => `${type} ${name} ${size}`).join(', ')
  return { text: `${names}; ${data}; ${error}`, types: [...new Set(seen.map(({ type }) => type))].join(' '), error }
}

/** What stands in the folder of `place` but for the layer: it must be what it was. */
const canary = 'untouched'

let place: string | undefined

/** One folder for the whole run; removed by whoever started it. */
function workplace(): string {
  if (place !== undefined) return place
  const made = temporaryFolder()
  place = made
  mkdirSync(join(made, 'lower', 'etc'), { recursive: true })
  writeFileSync(join(made, 'lower', 'etc', 'passwd'), 'root')
  writeFileSync(join(made, 'canary'), canary, { mode: 0o640 })
  return made
}

const unpacker: FuzzTarget = {
  name: 'tar-unpack',
  kind: 'bytes',
  run: async input => {
    const folder = workplace()
    const layer = join(folder, 'layer')
    mkdirSync(layer)
    const limits = { maxBytes: 1 << 20, maxEntries: 200 }
    try {
      const half = input.length >> 1
      const source = [input.subarray(0, half), input.subarray(half)].filter(part => part.length > 0)
      const { entries } = await unpackLayer({
        source: (async function* () {
          yield* source
        })(),
        directory: layer,
        lowerDirectories: [join(folder, 'lower')],
        limits,
      })
      return `${entries} entries`
    } finally {
      rmSync(layer, { recursive: true })
      assert(readdirSync(folder).sort().join() === 'canary,lower', `beside the layer is ${readdirSync(folder)}`)
      assert(readFileSync(join(folder, 'canary'), 'utf8') === canary, 'the file beside the layer has changed')
      assert((statSync(join(folder, 'canary')).mode & 0o7777) === 0o640, 'its mode has changed')
      assert(readFileSync(join(folder, 'lower/etc/passwd'), 'utf8') === 'root', 'the layer below has changed')
    }
  },
  refuses: isForUsers,
}

export const archiveTargets: readonly FuzzTarget[] = [tarReader, unpacker]
