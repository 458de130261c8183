// docs/security.md claims nothing without naming what proves it, and what it names is there.

import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const repository = new URL('../../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, repository), 'utf8')
const text = read('docs/security.md')

interface Proof {
  readonly claim: string
  readonly file: string
  readonly titles: readonly string[]
}

/** The rows of the table: what is defended against, and in the last column `FILE "TITLE", "TITLE"; FILE "TITLE"` below test/. */
const rows = text
  .split('\n')
  .filter(line => /^\| (?!against|---)/.test(line) && !line.startsWith('|---'))
  .map(line => line.slice(2, -2).split(' | '))

const proofs: readonly Proof[] = rows.flatMap(([claim = '', , proof = '']) =>
  [...proof.matchAll(/([\w/-]+) ("[^;]*")/g)].map(([, file = '', quoted = '']) => ({
    claim,
    file: `test/${file}.test.ts`,
    titles: [...quoted.matchAll(/"([^"]+)"/g)].map(([, title = '']) => title),
  })),
)

test('every defence names a test by file and title, or the script that checks it', () => {
  const bare = rows
    .filter(([claim, , proof = '']) => {
      const script = /^scripts\/[\w-]+$/.exec(proof)?.[0]
      if (script !== undefined) return !existsSync(new URL(script, repository))
      return !proofs.some(each => each.claim === claim)
    })
    .map(([claim]) => claim)

  expect(rows.length).toBeGreaterThan(30)
  expect(bare).toEqual([])
})

test.each(proofs.map(proof => [proof.file, proof] as const))('%s has the titles that are named', (file, { titles }) => {
  const source = read(file)

  expect(titles.filter(title => !isTitle(source, title))).toEqual([])
})

/** Whether a test or a group of tests is called so, or has these words in its name; `%s` stands for what a table puts there. */
function isTitle(source: string, words: string): boolean {
  return [...source.matchAll(/^ *(?:(?:test|describe)(?:\.\w+)*\(|\S.*\]\)\(|)\s*(['"`])(.*?)\1,/gm)]
    .concat([...source.matchAll(/(?:\)|test|describe)\(\s*(['"`])(.*?)\1,/g)])
    .some(([, , title = '']) => title.includes(words))
}

test('what is said of the supply chain is so', () => {
  const { packages } = JSON.parse(read('package-lock.json'))
  const installed = Object.entries<{ dev?: boolean; hasInstallScript?: boolean; integrity?: string }>(packages).filter(
    ([path, entry]) => path !== '' && entry.dev !== true,
  )
  const own = JSON.parse(read('package.json'))

  expect(Object.keys(own.dependencies).sort()).toEqual(['commander', 'ip-address', 'koffi'])
  for (const version of Object.values({ ...own.dependencies, ...own.devDependencies }))
    expect(version).toMatch(/^\d+\.\d+\.\d+$/)
  expect(installed.filter(([, { integrity }]) => !/^sha512-/.test(integrity ?? ''))).toEqual([])
  // koffi's builds the addon where no finished one fits; it is not run, nor any other.
  const withScript = installed.filter(([, entry]) => entry.hasInstallScript === true).map(([path]) => path)
  expect(withScript).toEqual(['node_modules/koffi'])
  expect(read('.npmrc')).toMatch(/^ignore-scripts=true$/m)
})
