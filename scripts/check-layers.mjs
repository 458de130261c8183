// Fails on an import in src/ that goes up or sideways between layers, or round in a circle.
// Usage: node scripts/check-layers.mjs [SRC]

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '../src'))

// Which layers each layer may import besides itself.
const below = {
  lib: [],
  model: ['lib'],
  ffi: ['model', 'lib'],
  kernel: ['ffi', 'model', 'lib'],
  drivers: ['kernel', 'ffi', 'model', 'lib'],
  engine: ['drivers', 'kernel', 'ffi', 'model', 'lib'],
  cli: ['engine', 'model', 'lib'],
  sdk: ['engine', 'model', 'lib'],
}

const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts'))
  .sort()
const imports = new Map(files.map(file => [file, importsOf(file)]))
const problems = [...layerProblems(), ...ffiProblems(), ...circleProblems()]

for (const problem of problems) console.error(`layers: ${problem}`)
if (problems.length > 0) {
  console.error(`layers: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'} (see ARCHITECTURE.md)`)
  process.exitCode = 1
} else {
  console.log(`layers: ${files.length} files, all imports go down`)
}

/** The files of src/ that `file` imports, statically, dynamically or for their types, with the line of each. */
function importsOf(file) {
  const text = withoutComments(readFileSync(join(root, file), 'utf8'))
  const pattern = /(?:\bfrom\s*|\bimport\s*\(\s*|\bimport\s+)(['"])(\.{1,2}\/[^'"]+)\1/g
  return [...text.matchAll(pattern)].map(match => ({
    target: relative(root, resolve(root, dirname(file), match[2])),
    line: text.slice(0, match.index).split('\n').length,
  }))
}

/** Blanks comments and keeps their line breaks. A `//` inside a string, as in an address, stays. */
function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\/|(?<=^|[\s;{}()])\/\/[^\n]*/g, comment => comment.replace(/[^\n]/g, ' '))
}

function layerProblems() {
  return [...imports].flatMap(([file, list]) =>
    list.flatMap(({ target, line }) => {
      const reason = forbidden(file, target)
      return reason === undefined ? [] : [`src/${file}:${line} imports src/${target}: ${reason}`]
    }),
  )
}

/** Only ffi/ knows the FFI package. */
function ffiProblems() {
  return files
    .filter(file => layerOf(file) !== 'ffi' && /(['"])koffi(\/[^'"]*)?\1/.test(readFileSync(join(root, file), 'utf8')))
    .map(file => `src/${file} imports koffi: only src/ffi knows the FFI package`)
}

/** Why `file` may not import `target`, or undefined where it may. */
function forbidden(file, target) {
  if (target.startsWith('..')) return 'it is outside src'
  if (!imports.has(target)) return 'there is no such file'
  const [from, to] = [layerOf(file), layerOf(target)]
  const allowed = below[from]
  if (allowed === undefined) return `"${from}" is not a layer; the layers are ${Object.keys(below).join(', ')}`
  if (from !== to) {
    if (allowed.includes(to)) return undefined
    return allowed.length === 0 ? `${from} imports nothing else` : `${from} may import ${allowed.join(', ')}`
  }
  const [kind, otherKind] = [driverKind(file), driverKind(target)]
  if (kind !== undefined && otherKind !== undefined && kind !== otherKind) {
    return `${kind} and ${otherKind} drivers know nothing of each other; the engine ties them`
  }
  return undefined
}

/** The first folder; src/index.ts and src/sdk/ are the library's face. */
function layerOf(file) {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : 'sdk'
}

/** `network`, `firewall`, `ipam` ... for a file inside a folder of drivers/. */
function driverKind(file) {
  const [layer, kind, ...rest] = file.split('/')
  return layer === 'drivers' && rest.length > 0 ? kind : undefined
}

/** Each circle of imports once, found by depth-first search. */
function circleProblems() {
  const state = new Map()
  const circles = []
  const visit = (file, path) => {
    if (state.get(file) === 'done') return
    if (state.get(file) === 'open') {
      circles.push([...path.slice(path.indexOf(file)), file].map(name => `src/${name}`).join(' -> '))
      return
    }
    state.set(file, 'open')
    for (const { target } of imports.get(file) ?? []) visit(target, [...path, file])
    state.set(file, 'done')
  }
  for (const file of files) visit(file, [])
  return circles.map(circle => `circle of imports: ${circle}`)
}
