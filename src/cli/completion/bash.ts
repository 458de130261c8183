import type { Place } from './model.ts'
import { commonFunctions } from './table.ts'

/** The completion script for bash 4.3 and later; needs no bash-completion package. */
export function bashScript(places: readonly Place[]): string {
  return `# bash completion for tsrun, made by \`tsrun completion bash\`

${commonFunctions(places, false)}

# Offers what begins with $cur among the lines of $1, with $2 before each.
_tsrun_offer() {
  local line IFS=$'\\n'
  for line in $1; do
    if [[ $2$line == "$cur"* ]]; then COMPREPLY+=("$2$line"); fi
  done
}

# Offers what a thing of kind $1 can be, with $2 before each.
_tsrun_offer_kind() {
  local name
  case $1 in
    none) ;;
    file) compopt -o filenames 2>/dev/null || true; _tsrun_offer "$(compgen -f -- "\${cur#"$2"}")" "$2" ;;
    copy)
      compopt -o nospace 2>/dev/null || true
      if [[ $cur != *:* && $cur != [./]* ]]; then
        for name in $(_tsrun_names container); do _tsrun_offer "$name:" "$2"; done
      fi
      _tsrun_offer "$(compgen -f -- "$cur")" "$2" ;;
    volume)
      if [[ \${cur#"$2"} == [./]* ]]; then _tsrun_offer_kind file "$2"; else _tsrun_offer "$(_tsrun_names volume)" "$2"; fi ;;
    *) _tsrun_offer "$(_tsrun_names "$1")" "$2" ;;
  esac
}

_tsrun() {
  local typed=() glue='' index word
  # bash splits at : and =, which stand in names of images and in flags: together again.
  for ((index = 0; index <= COMP_CWORD; index += 1)); do
    word=\${COMP_WORDS[index]}
    if [[ $index -gt 1 && $word =~ ^[:=]+$ ]]; then typed[\${#typed[@]}-1]+=$word glue=1
    elif [[ -n $glue ]]; then typed[\${#typed[@]}-1]+=$word glue=''
    else typed+=("$word"); fi
  done
  local cur=\${typed[\${#typed[@]}-1]} path='' pending='' count=0 noflags='' command=("\${typed[0]}")
  local subs flags valued kinds variadic ends
  COMPREPLY=()
  _tsrun_table ''
  for ((index = 1; index < \${#typed[@]} - 1; index += 1)); do
    word=\${typed[index]}
    if [[ -z $path && ( -n $pending || $word == -* ) ]]; then command+=("$word"); fi
    if [[ -n $pending ]]; then pending=''
    elif [[ -z $noflags && $word == -- ]]; then noflags=1
    elif [[ -z $noflags && $word == -?* ]]; then
      if [[ $word != *=* ]]; then pending=$(_tsrun_value_kind "$word") || pending=''; fi
    elif [[ -z $path && $word == help ]]; then continue
    elif [[ \${#subs[@]} -gt 0 && $count -eq 0 ]]; then
      path=\${path:+$path }$word
      _tsrun_table "$path" || return 0
    else
      count=$((count + 1))
      if [[ -n $ends ]]; then noflags=1; fi
    fi
  done
  local kind=none
  if [[ -n $pending ]]; then _tsrun_offer_kind "$pending" ''
  elif [[ -z $noflags && $cur == -*=* ]]; then
    if kind=$(_tsrun_value_kind "\${cur%%=*}"); then _tsrun_offer_kind "$kind" "\${cur%%=*}="; fi
  elif [[ -z $noflags && $cur == -* ]]; then
    for word in "\${flags[@]}"; do _tsrun_offer "$word" ''; done
  elif [[ \${#subs[@]} -gt 0 ]]; then
    for word in "\${subs[@]}"; do _tsrun_offer "$word" ''; done
  else
    if [[ $count -lt \${#kinds[@]} ]]; then kind=\${kinds[count]}
    elif [[ -n $variadic ]]; then kind=\${kinds[\${#kinds[@]}-1]}; fi
    if [[ -n $ends && $count -gt 0 ]]; then kind=file; fi
    _tsrun_offer_kind "$kind" ''
  fi
  # readline replaces only what stands behind the last : or =.
  local cut=\${cur%"\${cur##*[:=]}"}
  if [[ -n $cut && $COMP_WORDBREAKS == *[:=]* ]]; then COMPREPLY=("\${COMPREPLY[@]#"$cut"}"); fi
}

complete -F _tsrun tsrun
`
}
