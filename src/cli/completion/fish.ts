import type { Flag, Kind, Place } from './model.ts'
import { firstLine, listings } from './table.ts'

/** The completion script for fish. */
export function fishScript(places: readonly Place[]): string {
  const parents = places.filter(place => place.words.length > 0 && place.paths[0] !== '').flatMap(place => place.paths)
  return `# fish completion for tsrun, made by \`tsrun completion fish\`

# tsrun with the global flags that stand on the command line, so that names come from the same engine.
function __tsrun_call
    set -l typed (commandline -opc)
    set -l globals
    set -e typed[1]
    while string match -qr -- '^--?(root|state)' "$typed[1]"
        set -a globals $typed[1]
        if not string match -q -- '*=*' $typed[1]; and set -q typed[2]
            set -a globals $typed[2]
            set -e typed[2]
        end
        set -e typed[1]
    end
    command tsrun $globals $argv 2>/dev/null
end

# The words that lead to where the cursor stands, without flags: \`network create\`.
function __tsrun_path
    set -l typed (commandline -opc)
    set -e typed[1]
    while string match -qr -- '^--?(root|state)' "$typed[1]"
        if not string match -q -- '*=*' $typed[1]; and set -q typed[2]
            set -e typed[2]
        end
        set -e typed[1]
    end
    if test "$typed[1]" = help
        set -e typed[1]
    end
    if contains -- "$typed[1]" ${parents.join(' ')}; and set -q typed[2]
        echo "$typed[1] $typed[2]"
    else
        echo "$typed[1]"
    end
end

function __tsrun_at
    contains -- (__tsrun_path) $argv
end

complete -c tsrun -f
${places.flatMap(linesOf).join('\n')}
`
}

function linesOf(place: Place): string[] {
  const begin = `complete -c tsrun -n ${quote(`__tsrun_at ${place.paths.map(quote).join(' ')}`)}`
  const operands = [...new Set(place.operands.map(candidates))].filter(each => each !== '')
  return [
    ...place.words.map(word => `${begin} -a ${quote(word.name)} -d ${quote(firstLine(word.description))}`),
    ...place.flags.map(flag => `${begin}${flagText(flag)}`),
    ...operands.map(each => `${begin} ${each}`),
  ]
}

function flagText({ names, value, description }: Flag): string {
  const spelled = names.map(name => (name.startsWith('--') ? ` -l ${name.slice(2)}` : ` -s ${name.slice(1)}`)).join('')
  return `${spelled}${value === undefined ? '' : valueText(value)} -d ${quote(firstLine(description))}`
}

/** -x: a value, and no files. */
function valueText(kind: Kind): string {
  const text = candidates(kind)
  return ` ${text.startsWith('-F') ? '-r' : '-x'} ${text}`.trimEnd()
}

function candidates(kind: Kind): string {
  if (typeof kind !== 'string') return `-a ${quote(kind.join(' '))}`
  if (kind === 'none') return ''
  if (kind === 'file') return '-F'
  if (kind === 'object') return `-a ${quote(`${ask('container')} ${ask('image')}`)}`
  if (kind === 'copy') return `-F -a ${quote(`(__tsrun_call ${listings.container} | string replace -r '$' ':')`)}`
  return `${kind === 'volume' ? '-F ' : ''}-a ${quote(ask(kind))}`
}

function ask(kind: keyof typeof listings): string {
  return `(__tsrun_call ${listings[kind]})`
}

/** In fish's single quotes a backslash escapes itself and the quote. */
function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
