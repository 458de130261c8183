// The declarations of one .d.ts file as the compiler prints them: one a line at the margin, members by four blanks.
// No parser of TypeScript: it reads what tsc writes, which always has this shape.

/** One member of a class or an interface. */
export interface Member {
  readonly name: string
  /** Without the stars; empty where there is none. */
  readonly doc: string
  /** Without its semicolon. */
  readonly text: string
}

/** One declaration at the margin of the file. */
export interface Declaration {
  readonly name: string
  readonly kind: 'class' | 'interface' | 'type' | 'function' | 'const'
  readonly isExported: boolean
  readonly doc: string
  /** The line itself; of a class or an interface up to its brace. */
  readonly head: string
  readonly members: readonly Member[]
}

const start = /^(export )?(?:declare )?(?:abstract )?(class|interface|type|function|const) (\w+)/

/** All of them, in their order; overloads of a function are one each. */
export function parseDeclarations(source: string): Declaration[] {
  const lines = source.split('\n')
  const found: Declaration[] = []
  let doc = ''
  for (let index = 0; index < lines.length; ) {
    const line = lines[index] ?? ''
    if (line.startsWith('/**')) {
      const { text, next } = takeDoc(lines, index)
      doc = text
      index = next
      continue
    }
    const match = start.exec(line)
    if (match === null) {
      doc = ''
      index += 1
      continue
    }
    const [, exported, kind = '', name = ''] = match
    const hasBody = (kind === 'class' || kind === 'interface') && line.endsWith('{')
    const end = hasBody ? lines.indexOf('}', index) : endOfStatement(lines, index)
    found.push({
      name,
      kind: kind as Declaration['kind'],
      isExported: exported !== undefined,
      doc,
      head: (hasBody ? line : lines.slice(index, end + 1).join('\n'))
        .replace(/^export (declare )?/, '')
        .replace(/;$/, ''),
      members: hasBody ? parseMembers(lines.slice(index + 1, end).map(each => each.replace(/^ {4}/, ''))) : [],
    })
    doc = ''
    index = end + 1
  }
  return found
}

function parseMembers(lines: readonly string[]): Member[] {
  const members: Member[] = []
  let doc = ''
  for (let index = 0; index < lines.length; ) {
    if (lines[index]?.startsWith('/**') === true) {
      const { text, next } = takeDoc(lines, index)
      doc = text
      index = next
      continue
    }
    const end = endOfStatement(lines, index)
    const text = lines
      .slice(index, end + 1)
      .join('\n')
      .replace(/;$/, '')
    const name = /^(?:readonly |static |async |get |set |private |protected )*(\[?[#\w.]+)/.exec(text)?.[1] ?? text
    members.push({ name, doc, text })
    doc = ''
    index = end + 1
  }
  return members
}

/** The line that ends with a semicolon at the margin, or the file's last. */
function endOfStatement(lines: readonly string[], from: number): number {
  for (let index = from; index < lines.length; index += 1) {
    const line = lines[index] ?? ''
    const isAtMargin = index === from || !line.startsWith(' ') || / ?\| /.test(line.slice(0, 3))
    if (isAtMargin && line.endsWith(';')) return index
  }
  return lines.length - 1
}

function takeDoc(lines: readonly string[], from: number): { text: string; next: number } {
  let end = from
  while (end < lines.length && lines[end]?.includes('*/') !== true) end += 1
  const text = lines
    .slice(from, end + 1)
    .map(line => line.replace(/^\s*\/?\*+\/? ?/, '').replace(/\s*\*\/$/, ''))
    .join('\n')
    .trim()
  return { text, next: end + 1 }
}
