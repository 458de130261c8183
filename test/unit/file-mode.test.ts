import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseFileMode } from '../../src/lib/file-mode.ts'

test('parseFileMode() does what chmod does', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tsrun-mode-'))
  const [file, folder] = [join(dir, 'file'), join(dir, 'folder')]
  writeFileSync(file, '')
  mkdirSync(folder)
  const texts = [
    ...['755', '0644', '7', '1777', '01777', 'a+rX', 'u=rwX,go=rX', 'go-w', '+x', 'u+s,g+s', '+t', '-t'],
    ...['g=u', 'o=', 'u=rw,g=r,o=', 'a=r', 'ug+x,o-rwx', 'u+x-w', 'g-s', '=rw', 'a-st', 'u=s', 'o+s', 'a+X'],
  ]
  try {
    for (const before of [0o644, 0o755, 0o600, 0o4711, 0o2770, 0o1777, 0, 0o7777]) {
      for (const text of texts) {
        for (const path of [file, folder]) {
          // GNU chmod keeps setuid and setgid of folders for octal modes, which is not what a Dockerfile's author means.
          if (path === folder && /^\d/.test(text)) continue
          chmodSync(path, before)
          // The umask counts where nobody is named; in a build there is none.
          execFileSync('sh', ['-c', 'umask 0; exec chmod "$0" "$1"', text, path])
          const after = statSync(path).mode & 0o7777
          const case_ = `${before.toString(8)} ${text} ${path === folder ? 'folder' : 'file'}`
          const ours = parseFileMode(text)?.(before, path === folder) ?? -1
          expect(`${case_}: ${ours.toString(8)}`).toBe(`${case_}: ${after.toString(8)}`)
        }
      }
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test.each(['', '8', '77777', 'x', 'u', 'u~x', 'u+y', 'u+x,', 'rwxr-xr-x', 'u+rg'])(
  'parseFileMode() knows no "%s"',
  text => expect(parseFileMode(text)).toBeUndefined(),
)
