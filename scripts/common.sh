# Sourced by the scripts beside it: they say what they do, and do nothing twice.
# shellcheck shell=bash

# Every script says what it does at its head, and here to whoever asks.
if [[ ${1-} == --help || ${1-} == -h ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit
fi

umask 022
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'; else bold='' dim='' red='' green='' plain=''; fi

# Bun would keep what it has compiled in the home folder of whoever builds.
export BUN_RUNTIME_TRANSPILER_CACHE_PATH=0

# Prints a command as it would be typed, then runs it.
run() {
  printf '%s+ %s%s\n' "$dim" "$*" "$plain"
  "$@"
}

die() {
  printf '%s%s: %s%s\n' "$red" "$(basename "$0")" "$*" "$plain" >&2
  exit 1
}

need_root() {
  [[ $(id -u) == 0 ]] || die "root is needed: namespaces, mounts and packet filters are made. Try: sudo scripts/$(basename "$0") $*"
}

# The names that npm's packages use for this processor: $node_arch (koffi) and $bun_arch (Bun's compiler).
case $(uname -m) in
  x86_64) node_arch=x64 bun_arch=x64 ;;
  aarch64) node_arch=arm64 bun_arch=aarch64 ;;
  *) die "no compiler for $(uname -m): tsrun is built on x86_64 and aarch64" ;;
esac
bun_package=@oven/bun-linux-$bun_arch
# Bun's standard build uses AVX2; older processors need the baseline one.
if [[ $bun_arch == x64 ]] && ! grep -qm1 avx2 /proc/cpuinfo; then bun_package+=-baseline; fi
export node_arch bun_arch bun_package bold dim red green plain
