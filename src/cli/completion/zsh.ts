import type { Place } from './model.ts'
import { commonFunctions } from './table.ts'

/** The completion script for zsh: to be sourced after compinit, or a file `_tsrun` on $fpath. */
export function zshScript(places: readonly Place[]): string {
  return `#compdef tsrun
# zsh completion for tsrun, made by \`tsrun completion zsh\`

${commonFunctions(places, true)}

_tsrun_offer_kind() {
  local -a names
  case $1 in
    none) ;;
    file) _files ;;
    copy)
      names=(\${(f)"$(_tsrun_names container)"})
      compadd -S : -q -- $names
      _files ;;
    volume)
      names=(\${(f)"$(_tsrun_names volume)"})
      compadd -- $names
      _files -/ ;;
    *)
      names=(\${(f)"$(_tsrun_names $1)"})
      compadd -- $names ;;
  esac
}

_tsrun() {
  local -a typed command
  typed=("\${(@)words[1,CURRENT]}")
  command=("\${typed[1]}")
  local -a subs flags valued kinds
  local variadic ends cur=\${typed[-1]} place='' pending='' noflags='' word kind=none index count=0
  _tsrun_table ''
  for ((index = 2; index < \${#typed}; index += 1)); do
    word=\${typed[index]}
    if [[ -z $place && ( -n $pending || $word == -* ) ]]; then command+=("$word"); fi
    if [[ -n $pending ]]; then pending=''
    elif [[ -z $noflags && $word == -- ]]; then noflags=1
    elif [[ -z $noflags && $word == -?* ]]; then
      if [[ $word != *=* ]]; then pending=$(_tsrun_value_kind "$word") || pending=''; fi
    elif [[ -z $place && $word == help ]]; then continue
    elif [[ \${#subs} -gt 0 && $count -eq 0 ]]; then
      place=\${place:+$place }$word
      _tsrun_table "$place" || return 0
    else
      count=$((count + 1))
      if [[ -n $ends ]]; then noflags=1; fi
    fi
  done
  if [[ -n $pending ]]; then _tsrun_offer_kind $pending
  elif [[ -z $noflags && $cur == -*=* ]]; then
    if kind=$(_tsrun_value_kind "\${cur%%=*}"); then
      compset -P '*='
      _tsrun_offer_kind $kind
    fi
  elif [[ -z $noflags && $cur == -* ]]; then _describe -o flag flags
  elif [[ \${#subs} -gt 0 ]]; then
    _describe command subs
  else
    if [[ $count -lt \${#kinds} ]]; then kind=\${kinds[count+1]}
    elif [[ -n $variadic ]]; then kind=\${kinds[-1]}; fi
    if [[ -n $ends && $count -gt 0 ]]; then kind=file; fi
    _tsrun_offer_kind $kind
  fi
}

if [[ \${funcstack[1]} == _tsrun ]]; then _tsrun "$@"; else compdef _tsrun tsrun; fi
`
}
