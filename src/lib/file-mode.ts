// A file's mode as chmod takes it: octal, or symbolic as `u=rwX,go-w`. Pure.

/** A file's mode -> its new one, both without the bits of the type. */
export type ModeChange = (mode: number, isDirectory: boolean) => number

const shifts: Readonly<Record<string, number>> = { u: 6, g: 3, o: 0 }
/** setuid, setgid, sticky. */
const specials: Readonly<Record<string, number>> = { u: 0o4000, g: 0o2000, o: 0o1000 }

/** @returns undefined for a text that is no mode */
export function parseFileMode(text: string): ModeChange | undefined {
  if (/^0*[0-7]{1,4}$/.test(text)) {
    const mode = Number.parseInt(text, 8)
    return () => mode
  }
  const clauses: ModeChange[] = []
  for (const clause of text.split(',')) {
    const [, who = '', actions = ''] = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(clause) ?? []
    if (actions === '') return undefined
    const classes = who === '' || who.includes('a') ? ['u', 'g', 'o'] : [...new Set(who)]
    for (const [, sign = '', what = ''] of actions.matchAll(/([-+=])([rwxXstugo]*)/g))
      clauses.push((mode, isDirectory) => applied(mode, isDirectory, { classes, sign, what }))
  }
  return (mode, isDirectory) => clauses.reduce((now, change) => change(now, isDirectory), mode)
}

interface Action {
  readonly classes: readonly string[]
  /** `+`, `-` or `=`. */
  readonly sign: string
  readonly what: string
}

function applied(mode: number, isDirectory: boolean, { classes, sign, what }: Action): number {
  let named = 0
  let reach = 0
  for (const each of classes) {
    const shift = shifts[each] ?? 0
    reach |= (0o7 << shift) | (specials[each] ?? 0)
    named |= permissions(mode, isDirectory, what) << shift
  }
  named |= ((what.includes('s') ? 0o6000 : 0) | (what.includes('t') ? 0o1000 : 0)) & reach
  if (sign === '+') return mode | named
  if (sign === '-') return mode & ~named
  // As chmod: "=" leaves setuid and setgid of directories alone unless they are named.
  return (mode & ~(isDirectory && !what.includes('s') ? reach & ~0o6000 : reach)) | named
}

/** Three bits of one class. */
function permissions(mode: number, isDirectory: boolean, what: string): number {
  const copied = shifts[what]
  if (copied !== undefined) return (mode >> copied) & 0o7
  const isExecutable = isDirectory || (mode & 0o111) !== 0
  return (
    (what.includes('r') ? 4 : 0) |
    (what.includes('w') ? 2 : 0) |
    (what.includes('x') || (what.includes('X') && isExecutable) ? 1 : 0)
  )
}
