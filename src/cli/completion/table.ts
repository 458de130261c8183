// The places as a shell function that bash and zsh both understand: `_tsrun_table PATH` sets arrays.

import type { Kind, Place } from './model.ts'

/** What tsrun is asked for the names of things. */
export const listings: Readonly<Record<'container' | 'image' | 'network' | 'volume', string>> = {
  container: "ps -a --format '{{.Names}}'",
  image: "images --format '{{.Repository}}:{{.Tag}}'",
  network: "network ls --format '{{.Name}}'",
  volume: "volume ls --format '{{.Name}}'",
}

/**
 * `subs` and `flags` with their descriptions behind a colon if `isDescribed`, `valued` (`--net=network`), `kinds` of the
 * operands, `variadic` and `ends` (set or empty).
 */
export function tableFunction(places: readonly Place[], isDescribed: boolean): string {
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
export function namesFunction(): string {
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
