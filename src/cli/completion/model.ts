// What can be typed where, read off the commander definitions of all verbs. The scripts for the shells are made of it.

import { type Argument, Command, type Option } from 'commander'
import { addExplainFlags } from '../explain-flags.ts'
import { expandGroup, groupHelp } from '../groups.ts'

/** What stands in a place: things to ask tsrun for, files, nothing known, or one of a few words. */
export type Kind =
  | 'container'
  | 'image'
  | 'network'
  | 'volume'
  | 'object'
  | 'copy'
  | 'file'
  | 'none'
  | readonly string[]

export interface Flag {
  /** `-p` and `--publish`, as far as there are both. */
  readonly names: readonly string[]
  /** What its value is; undefined where it takes none. */
  readonly value: Kind | undefined
  readonly description: string
}

export interface Word {
  readonly name: string
  readonly description: string
}

/** One place in the command line: behind `tsrun`, behind `tsrun network`, behind `tsrun network create`. */
export interface Place {
  /** `` for the top, `network create`; several where words have aliases. */
  readonly paths: readonly string[]
  readonly words: readonly Word[]
  readonly flags: readonly Flag[]
  /** The kinds of the operands in their order; the last one holds for all that follow if `isVariadic`. */
  readonly operands: readonly Kind[]
  readonly isVariadic: boolean
  /** Flags end at the first operand, and what follows is a command for somebody else. */
  readonly endsAtOperand: boolean
}

/** An entry of the registry, as far as it matters here: that one imports us. */
export interface Verb {
  readonly name: string
  readonly aliases?: readonly string[]
  readonly summary: string
  readonly hidden?: boolean
  readonly changesMachine?: boolean
  load(): Promise<{ register(program: Command, exit: (code: number) => void): Command }>
}

const managementGroups: readonly Word[] = [
  { name: 'container', description: 'manage containers' },
  { name: 'image', description: 'manage images' },
]

const help: Flag = { names: ['-h', '--help'], value: undefined, description: 'show help' }

/** All places, the top first. Loads the code of every verb. */
export async function readPlaces(verbs: readonly Verb[]): Promise<Place[]> {
  const places = new Map<string, Place[]>()
  for (const verb of verbs) {
    const { register } = await verb.load()
    const command = register(new Command('tsrun').enablePositionalOptions(), () => {})
    if (verb.changesMachine === true) addExplainFlags(command)
    places.set(verb.name, placesOf(command))
  }
  const visible = verbs.filter(verb => verb.hidden !== true)
  return [
    topPlace(visible),
    ...managementGroups.flatMap(({ name }) => groupPlaces(name, places)),
    ...visible.flatMap(({ name, aliases = [] }) => {
      const [first, ...inner] = places.get(name) ?? []
      return first === undefined ? [] : [{ ...first, paths: [...first.paths, ...aliases] }, ...inner]
    }),
  ]
}

function topPlace(verbs: readonly Verb[]): Place {
  const words = verbs.flatMap(({ name, aliases = [], summary }) =>
    [name, ...aliases].map(each => ({ name: each, description: summary })),
  )
  return {
    ...empty,
    paths: [''],
    words: [...words, ...managementGroups, { name: 'help', description: 'explain a command' }],
    flags: [
      { names: ['--root'], value: 'file', description: 'what must survive a reboot' },
      { names: ['--state'], value: 'file', description: 'what must not' },
      { names: ['--userns-remap'], value: 'none', description: 'map the users of new containers' },
      { names: ['--config'], value: 'file', description: 'where logins to registries are kept' },
      { names: ['-D', '--debug'], value: undefined, description: 'let helper processes say what goes wrong' },
      { names: ['-l', '--log-level'], value: 'none', description: 'docker compatibility' },
      { names: ['-c', '--context'], value: 'none', description: 'docker compatibility' },
      { names: ['-v', '--version'], value: undefined, description: 'show the version' },
      help,
    ],
  }
}

const empty: Omit<Place, 'paths'> = { words: [], flags: [help], operands: [], isVariadic: false, endsAtOperand: false }

/** `container ls` takes what `ps` takes. The members are those that the group's help names and that have a verb. */
function groupPlaces(group: string, places: ReadonlyMap<string, readonly Place[]>): Place[] {
  const members = (groupHelp([group]) ?? '').split('\n').flatMap(line => {
    const [, name, description = ''] = /^ {2}(\S+) +(.*)$/.exec(line) ?? []
    return name === undefined || name === 'tsrun' ? [] : [{ name, description }]
  })
  const found = members.flatMap(word => {
    const place = places.get(expandGroup([group, word.name])[0] ?? '')?.[0]
    return place === undefined ? [] : [{ word, place }]
  })
  const kind: Kind = group === 'image' ? 'image' : 'container'
  return [
    { ...empty, paths: [group], words: found.map(({ word }) => word) },
    ...found.map(({ word, place }) => ({
      ...place,
      paths: [`${group} ${word.name}`],
      operands: place.operands.map(each => (each === 'object' ? kind : each)),
    })),
  ]
}

/** The place of a verb, and those of its subcommands. */
function placesOf(verb: Command): Place[] {
  const inner = verb.commands.map(sub => ({ names: [sub.name(), ...sub.aliases()], sub }))
  const words = inner.flatMap(({ names, sub }) => names.map(name => ({ name, description: sub.description() })))
  return [
    toPlace(verb, [verb.name()], words),
    ...inner.map(({ names, sub }) =>
      toPlace(
        sub,
        names.map(name => `${verb.name()} ${name}`),
        [],
      ),
    ),
  ]
}

function toPlace(command: Command, paths: readonly string[], words: readonly Word[]): Place {
  const operands = command.registeredArguments
  return {
    paths,
    words,
    flags: command.createHelp().visibleOptions(command).map(toFlag),
    operands: operands.map((each, index) => operandKind(paths[0] ?? '', each, index)),
    isVariadic: operands.at(-1)?.variadic === true,
    endsAtOperand: (command as Command & { readonly _passThroughOptions?: boolean })._passThroughOptions === true,
  }
}

function toFlag(option: Option): Flag {
  return {
    names: [option.short, option.long].filter(name => name !== undefined),
    value: option.required || option.optional ? valueKind(option) : undefined,
    description: option.description,
  }
}

const flagKinds: Readonly<Record<string, Kind>> = {
  '--net': 'network',
  '--network': 'network',
  '--volume': 'volume',
  '--volumes-from': 'container',
  '--restart': ['no', 'on-failure', 'always', 'unless-stopped'],
  '--type': ['container', 'image', 'network', 'volume'],
}

function valueKind(option: Option): Kind {
  if (option.argChoices !== undefined) return option.argChoices
  const known = flagKinds[option.long ?? '']
  if (known !== undefined) return known
  return /<(?:file|path|dir|directory|folder)\b/.test(option.flags) ? 'file' : 'none'
}

function operandKind(path: string, argument: Argument, index: number): Kind {
  if (argument.argChoices !== undefined) return argument.argChoices
  const name = argument.name()
  if (path === 'cp') return 'copy'
  if (path === 'inspect') return 'object'
  if (name === 'container') return 'container'
  if (name === 'image' || name === 'repository' || name === 'reference') return 'image'
  if (name === 'file') return 'file'
  const [verb, member = ''] = path.split(' ')
  if (name === 'network' || (verb === 'network' && member !== 'create')) return index === 0 ? 'network' : 'container'
  if (name === 'volume' || (verb === 'volume' && member !== 'create')) return 'volume'
  return 'none'
}
