// /etc/passwd and /etc/group as data. The texts come from images, so anything may be in them: what is no entry is skipped.
// Pure.

export interface PasswdEntry {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}

export interface GroupEntry {
  readonly name: string
  readonly gid: number
  readonly members: readonly string[]
}

/** -1 means "leave it" to the system calls, so it is no id. */
export const maxId = 0xfffffffe

/** The id in `text`, or undefined when it is none: digits only, no sign, at most 4294967294. */
export function parseId(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined
  const id = Number(text)
  return id <= maxId ? id : undefined
}

/** The first entry that `accepts`. Lines are looked at one by one: a hostile file costs one pass and no list. */
export function findPasswd(text: string, accepts: (entry: PasswdEntry) => boolean): PasswdEntry | undefined {
  for (const line of lines(text)) {
    const [name = '', , uidText = '', gidText = '', , home = ''] = line.split(':', 7)
    const [uid, gid] = [parseId(uidText), parseId(gidText)]
    if (name === '' || uid === undefined || gid === undefined) continue
    const entry = { name, uid, gid, home }
    if (accepts(entry)) return entry
  }
  return undefined
}

/** Every group that `accepts`. */
export function findGroups(text: string, accepts: (entry: GroupEntry) => boolean): GroupEntry[] {
  const found: GroupEntry[] = []
  for (const line of lines(text)) {
    const [name = '', , gidText = '', members = ''] = line.split(':', 4)
    const gid = parseId(gidText)
    if (name === '' || gid === undefined) continue
    const entry = { name, gid, members: members === '' ? [] : members.split(',').map(member => member.trim()) }
    if (accepts(entry)) found.push(entry)
  }
  return found
}

function* lines(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const feed = text.indexOf('\n', start)
    const end = feed < 0 ? text.length : feed
    const line = text.slice(start, end).trim()
    start = end + 1
    if (line !== '' && !line.startsWith('#')) yield line
  }
}
