// `tsrun container ls` is `tsrun ps`: docker's management groups are names for the same verbs. Pure.

/** Group -> word behind it -> the verb, with what it always has. */
const groups: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  container: {
    ...same(
      'attach commit cp create diff exec export kill logs pause port rename restart rm run start stats stop top unpause update wait',
    ),
    inspect: ['inspect', '--type', 'container'],
    ls: ['ps'],
    list: ['ps'],
    ps: ['ps'],
    prune: ['container-prune'],
  },
  image: {
    ...same('build history import load pull push save tag'),
    inspect: ['inspect', '--type', 'image'],
    ls: ['images'],
    list: ['images'],
    rm: ['rmi'],
    remove: ['rmi'],
    prune: ['image-prune'],
  },
}

/** The words with a management group replaced by the verb it means; as they are where there is none. */
export function expandGroup(words: readonly string[]): readonly string[] {
  const [group = '', member = '', ...rest] = words
  const verb = Object.hasOwn(groups, group) ? groups[group]?.[member] : undefined
  return verb === undefined ? words : [...verb, ...rest]
}

/** What `tsrun container` and `tsrun container --help` print; undefined where `words` name no group, or a member of one. */
export function groupHelp(words: readonly string[]): string | undefined {
  const [group = ''] = words
  const members = Object.hasOwn(groups, group) ? groups[group] : undefined
  if (members === undefined) return undefined
  const lines = Object.entries(members)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([member, [verb = '', ...flags]]) => `  ${member.padEnd(10)} ${describe(verb, flags)}`)
  return `Usage: tsrun ${group} COMMAND\n\nCommands, and the verbs they stand for:\n${lines.join('\n')}\n\nExample:\n  tsrun ${group} ls\n`
}

/** The groups that only hold names for verbs. */
export function groupNames(): string[] {
  return Object.keys(groups)
}

/** The words that may stand behind a group. */
export function groupMembers(group: string): string[] {
  return Object.keys((Object.hasOwn(groups, group) ? groups[group] : undefined) ?? {})
}

function describe(verb: string, flags: readonly string[]): string {
  return verb.endsWith('-prune') ? 'remove what is not used' : ['tsrun', verb, ...flags].join(' ')
}

function same(verbs: string): Record<string, readonly string[]> {
  return Object.fromEntries(verbs.split(' ').map(verb => [verb, [verb]]))
}
