import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const script = fileURLToPath(new URL('../../../scripts/check-layers.mjs', import.meta.url))

/** What the script says of a src folder with these files. */
function checkLayers(files: Record<string, string>): { code: number | null; errors: string[] } {
  const src = mkdtempSync(join(tmpdir(), 'layers-'))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(src, name)), { recursive: true })
      writeFileSync(join(src, name), text)
    }
    const { status, stderr } = spawnSync(process.execPath, [script, src], { encoding: 'utf8' })
    return { code: status, errors: stderr.split('\n').filter(line => line !== '') }
  } finally {
    rmSync(src, { recursive: true })
  }
}

test('check-layers passes imports that go down', () => {
  const result = checkLayers({
    'cli/main.ts': "import { engine } from '../engine/engine.ts'\nimport type { A } from '../model/a.ts'",
    'engine/engine.ts': "import '../drivers/a/one.ts'\nimport '../drivers/b/one.ts'",
    'drivers/a/one.ts': "import '../../kernel/k.ts'",
    'drivers/b/one.ts': "// import '../../cli/main.ts'\nconst address = 'http://x'",
    'kernel/k.ts': "import '../ffi/f.ts'",
    'ffi/f.ts': "import koffi from 'koffi'",
    'model/a.ts': '',
    'index.ts': "export { engine } from './engine/engine.ts'",
  })

  expect(result).toEqual({ code: 0, errors: [] })
})

test.each<[string, Record<string, string>, RegExp]>([
  [
    'upward',
    { 'kernel/k.ts': "import '../engine/e.ts'", 'engine/e.ts': '' },
    /src\/kernel\/k\.ts:1 .*kernel may import/,
  ],
  ['upward, for a type', { 'lib/l.ts': "\nimport type { M } from '../model/m.ts'", 'model/m.ts': '' }, /l\.ts:2/],
  ['upward, dynamic', { 'engine/e.ts': "await import('../cli/c.ts')", 'cli/c.ts': '' }, /src\/engine\/e\.ts:1/],
  [
    'from a face to a driver',
    { 'cli/c.ts': "import '../drivers/a/d.ts'", 'drivers/a/d.ts': '' },
    /cli may import engine/,
  ],
  ['from face to face', { 'index.ts': "export * from './cli/c.ts'", 'cli/c.ts': '' }, /sdk may import/],
  [
    'between drivers of two kinds',
    { 'drivers/a/x.ts': "import '../b/y.ts'", 'drivers/b/y.ts': '' },
    /a and b drivers know nothing of each other/,
  ],
  ['of the FFI package', { 'kernel/k.ts': "import koffi from 'koffi'" }, /only src\/ffi knows/],
  ['of a file that is not there', { 'lib/l.ts': "import './gone.ts'" }, /there is no such file/],
  ['out of src', { 'lib/l.ts': "import '../../test/x.ts'" }, /outside src/],
  [
    'in a circle',
    { 'lib/a.ts': "import './b.ts'", 'lib/b.ts': "import './c.ts'", 'lib/c.ts': "import './a.ts'" },
    /circle of imports: src\/lib\/a\.ts -> src\/lib\/b\.ts -> src\/lib\/c\.ts -> src\/lib\/a\.ts/,
  ],
])('check-layers fails on an import %s', (_, files, message) => {
  const { code, errors } = checkLayers(files)

  expect(code).toBe(1)
  expect(errors[0]).toMatch(message)
})
