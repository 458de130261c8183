// Writes docs/api.md from the declarations that the compiler makes of src/index.ts and of what it exports; called by
// scripts/gen-docs. Fails where something public has no docstring, or where a signature names a type that is not exported.

import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Declaration, type Member, parseDeclarations } from './parse-declarations.ts'

/** Something that src/index.ts exports. */
interface Exported {
  /** As it is exported, and as it is declared. */
  readonly name: string
  readonly file: string
  readonly declaration: Declaration
}

const library = 'dist/lib'
const target = 'docs/api.md'
const problems: string[] = []

/** In this order; what fits none comes under the last. */
const chapters: readonly { readonly title: string; readonly files: RegExp }[] = [
  { title: 'The engine', files: /engine\/(engine|doctor|explain|prune|prune-filter|system-info|disk-usage|boot)\./ },
  { title: 'Containers', files: /engine\/(container\/|commit-container)/ },
  { title: 'Files of containers', files: /engine\/files\// },
  { title: 'Images', files: /engine\/(image|build)\/|model\/image/ },
  { title: 'Networks', files: /engine\/(network|dns)\/|model\/network/ },
  { title: 'Volumes', files: /engine\/volume\// },
  { title: 'Events', files: /engine\/events/ },
  { title: 'Errors', files: /errors|rollback/ },
  { title: 'What a container is', files: /model\// },
  { title: 'Further', files: /./ },
]

const { values } = parseArgs({ options: { check: { type: 'boolean' } } })
const text = render(readExports())
if (problems.length > 0) {
  process.stderr.write(
    `${problems.join('\n')}\n${problems.length} problems: say in a docstring what the types cannot say\n`,
  )
  process.exitCode = 1
} else if (values.check !== true) writeFileSync(target, text)
else if (readFileSync(target, 'utf8') !== text) {
  process.stderr.write(`${target} is not in step with the docstrings: run scripts/build && scripts/gen-docs\n`)
  process.exitCode = 1
}

function readExports(): Exported[] {
  const index = join(library, 'index.d.ts')
  const lines = [...readFileSync(index, 'utf8').matchAll(/^export (?:type )?(\*|\{[^}]*\}) from '([^']+)';/gm)]
  return lines.flatMap(([, names = '', from = '']) => {
    const file = resolve(index, from)
    if (names === '*')
      return declarationsIn(file)
        .filter(each => each.isExported)
        .map(declaration => toExported(declaration.name, file, declaration))
    return namesIn(names).flatMap(({ name, as }) => {
      const found = findDeclaration(file, name)
      if (found === undefined) problems.push(`${file}: no declaration of ${name}`)
      return found === undefined ? [] : [toExported(as, found.file, found.declaration)]
    })
  })
}

function toExported(name: string, file: string, declaration: Declaration): Exported {
  return { name, file, declaration }
}

/** Also through modules that only pass it on. */
function findDeclaration(file: string, name: string): { file: string; declaration: Declaration } | undefined {
  const declaration = declarationsIn(file).find(each => each.name === name)
  if (declaration !== undefined) return { file, declaration }
  for (const [, names = '', from = ''] of readFileSync(file, 'utf8').matchAll(
    /^export (?:type )?(\{[^}]*\}) from '([^']+)';/gm,
  )) {
    const passed = namesIn(names).find(each => each.as === name)
    if (passed !== undefined) return findDeclaration(resolve(file, from), passed.name)
  }
  return undefined
}

function namesIn(braces: string): { name: string; as: string }[] {
  return braces
    .slice(1, -1)
    .split(',')
    .map(each => each.trim().replace(/^type /, ''))
    .filter(Boolean)
    .map(each => {
      const [name = '', as = name] = each.split(' as ')
      return { name, as }
    })
}

function declarationsIn(file: string): Declaration[] {
  return parseDeclarations(readFileSync(file, 'utf8'))
}

function resolve(from: string, module: string): string {
  return join(dirname(from), module.replace(/\.ts$/, '.d.ts'))
}

function render(all: readonly Exported[]): string {
  const names = new Set(all.map(each => each.declaration.name))
  for (const each of all) check(each, names)
  const left = new Set(all)
  const sections = chapters.flatMap(({ title, files }) => {
    const own = [...left].filter(each => files.test(each.file))
    for (const each of own) left.delete(each)
    const classesFirst = [...own].sort((a, b) => rank(a) - rank(b))
    return own.length === 0 ? [] : [`## ${title}\n\n${classesFirst.map(section).join('\n')}`]
  })
  const intro = /\/\*\*([\s\S]*?)\*\//.exec(readFileSync(join(library, 'index.d.ts'), 'utf8'))?.[1] ?? ''
  const example = intro.split('@example')[1] ?? ''
  return `# The library

Made by \`scripts/gen-docs\` from the docstrings of what \`src/index.ts\` exports; a test fails where it is out of step.

\`\`\`ts
${example.replace(/^ \* ?/gm, '').trim()}
\`\`\`

Everything that the command line does is a method of an \`Engine\`. What can wait takes an \`AbortSignal\`; logs, events and
stats are async iterables; what holds something can be used with \`await using\`. Whatever a user can do wrong or run into is
a \`TsrunError\` with a \`kind\`, a \`code\` and a \`hint\`. [examples/](../examples/) has programs to start from.

${sections.join('\n')}`
}

function rank({ declaration: { kind } }: Exported): number {
  return ['class', 'function', 'const', 'interface', 'type'].indexOf(kind)
}

function check({ file, declaration }: Exported, exported: ReadonlySet<string>): void {
  const source = readFileSync(file, 'utf8')
  const complain = (what: string, problem: string) => problems.push(`${file}: ${what} ${problem}`)
  if (declaration.doc === '') complain(declaration.name, 'has no docstring')
  for (const member of publicMembers(declaration)) {
    const isWellKnown = member.text.startsWith('[Symbol.')
    const needsDoc = declaration.kind === 'class' && !isWellKnown
    if (member.doc === '' && needsDoc) complain(`${declaration.name}.${member.name}`, 'has no docstring')
    for (const name of ownTypesIn(member.text, source))
      if (!exported.has(name)) complain(`${declaration.name}.${member.name}`, `names ${name}, which is not exported`)
  }
  if (declaration.members.length === 0)
    for (const name of ownTypesIn(declaration.head, source))
      if (!exported.has(name)) complain(declaration.name, `names ${name}, which is not exported`)
}

/** Types of this project in a signature: those that the file declares or imports from beside it. */
function ownTypesIn(signature: string, source: string): string[] {
  const imported = [...source.matchAll(/^import .*?\{([^}]*)\} from '\.[^']+';/gm)].flatMap(([, names = '']) =>
    namesIn(`{${names}}`).map(each => each.as),
  )
  const declared = [...source.matchAll(/^(?:export )?(?:declare )?(?:interface|type|class) (\w+)/gm)].map(
    m => m[1] ?? '',
  )
  const own = new Set([...imported, ...declared])
  const words = signature.replace(/'[^']*'/g, '').match(/\b[A-Z]\w+\b/g) ?? []
  return [...new Set(words)].filter(word => own.has(word))
}

function publicMembers({ members }: Declaration): Member[] {
  return members.filter(({ doc, text }) => !doc.includes('@internal') && !/^(#private|private |protected )/.test(text))
}

function section({ name, declaration }: Exported): string {
  const title = `### ${name}\n\n${prose(declaration.doc)}\n`
  const own = publicMembers(declaration)
  if (declaration.kind !== 'class')
    return `${title}\n${code([declaration.head, ...fields(declaration, own)].join('\n'))}\n`
  const members = own.map(member => `${code(member.text)}\n${member.doc === '' ? '' : `\n${prose(member.doc)}\n`}`)
  return `${title}\n${members.join('\n')}\n`
}

function fields({ kind }: Declaration, members: readonly Member[]): string[] {
  if (kind !== 'interface') return []
  const lines = members.flatMap(({ doc, text }) => {
    const comment = doc === '' ? [] : doc.split('\n').map(line => `  // ${line}`.trimEnd())
    return [...comment, ...text.split('\n').map(line => `  ${line}`)]
  })
  return [...lines, '}']
}

/** A docstring as a paragraph, and its tags as a list. */
function prose(doc: string): string {
  const [text = '', ...tags] = doc.replace(/(^|\s)@(param|returns|throws)\b/g, '\n@$2').split(/\n(?=@)/)
  const list = tags.map(tag => {
    const [, kind = '', rest = ''] = /^@(\w+)\s*([\s\S]*)$/.exec(tag) ?? []
    const flat = rest.replace(/\s+/g, ' ').trim()
    const [, parameter, about] = /^(\w+) (.*)$/.exec(flat) ?? []
    return kind === 'param' ? `- \`${parameter ?? flat}\`: ${about ?? ''}` : `- ${kind} ${flat}`
  })
  return [text.replace(/\s+/g, ' ').trim(), list.join('\n')].filter(Boolean).join('\n\n')
}

function code(signature: string): string {
  return `\`\`\`ts\n${signature}\n\`\`\``
}
