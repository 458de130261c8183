// The places as shell functions that bash and zsh both understand: `_tsrun_table PATH` sets arrays.

import type { Kind, Place } from './model.ts'

/** What tsrun is asked for the names of things. */
export const listings: Readonly<Record<'container' | 'image' | 'network' | 'volume', string>> = {
  container: "ps -a --format '{{.Names}}'",
  image: "images --format '{{.Repository}}:{{.Tag}}'",
  network: "network ls --format '{{.Name}}'",
  volume: "volume ls --format '{{.Name}}'",
}

/** What the scripts of bash and zsh begin with: `_tsrun_table`, `_tsrun_names` and `_tsrun_value_kind`. */
export function commonFunctions(places: readonly Place[], isDescribed: boolean): string {
  return [tableFunction(places, isDescribed), namesFunction(), valueKindFunction].join('\n\n')
}

/**
 * `subs` and `flags` with their descriptions behind a colon if `isDescribed`, `valued` (`--net=network`), `kinds` of the
 * operands, `variadic` and `ends` (set or empty).
 */
function tableFunction(places: readonly Place[], isDescribed: boolean): string {
  const item = (name: string, description: string) =>
    isDescribed ? `${name.replaceAll(':', '\\:')}:${firstLine(description)}` : name
  const cases = places.map(place => {
    const words = place.words.map(({ name, description }) => item(name, description))
    const flags = place.flags.flatMap(({ names, description }) => names.map(name => item(name, description)))
    const valued = place.flags.flatMap(({ names, value }) =>
      value === undefined ? [] : names.map(name => `${name}=${kindText(value)}`),
    )
    return [
      `    ${place.paths.map(quote).join('|')})`,
      `      subs=(${list(words)})`,
      `      flags=(${list(flags)})`,
      `      valued=(${list(valued)})`,
      `      kinds=(${list(place.operands.map(kindText))})`,
      `      variadic=${place.isVariadic ? 1 : ''} ends=${place.endsAtOperand ? 1 : ''} ;;`,
    ].join('\n')
  })
  return `_tsrun_table() {
  subs=() flags=() valued=() kinds=() variadic='' ends=''
  case $1 in
${cases.join('\n')}
    *) return 1 ;;
  esac
}`
}

/** `_tsrun_names KIND` prints the names of what is there, one a line. `$command` is tsrun with its global flags. */
function namesFunction(): string {
  return `_tsrun_names() {
  case $1 in
    container) "\${command[@]}" ${listings.container} ;;
    image) "\${command[@]}" ${listings.image} | grep -v '<none>' ;;
    network) "\${command[@]}" ${listings.network} ;;
    volume) "\${command[@]}" ${listings.volume} ;;
    object) _tsrun_names container; _tsrun_names image ;;
    words,*) printf '%s\\n' "\${1#words,}" | tr , '\\n' ;;
  esac 2>/dev/null
}`
}

/** `_tsrun_value_kind FLAG` prints what the value of a flag is. */
const valueKindFunction = `# What the value of flag $1 is; fails where it takes none or is unknown. Go-style -name is --name.
_tsrun_value_kind() {
  local name=$1 each
  [[ $name == --* || \${#name} -le 2 ]] || name=-$name
  for each in "\${valued[@]}"; do
    if [[ \${each%%=*} == "$name" ]]; then printf '%s' "\${each#*=}"; return 0; fi
  done
  return 1
}`

/** A kind as one word: a choice is `words,bash,zsh,fish`. */
function kindText(kind: Kind): string {
  return typeof kind === 'string' ? kind : ['words', ...kind].join(',')
}

export function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

export function firstLine(text: string): string {
  return text.split('\n')[0] ?? ''
}

function list(items: readonly string[]): string {
  return items.map(quote).join(' ')
}
