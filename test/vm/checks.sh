# Sourced by the scripts beside it, which run as root of a throw-away machine (scripts/vm): a line for each check, the count at the end.
# shellcheck shell=bash

passed=0 failed=0 output=''

# check CLAIM COMMAND...: the claim holds when the command succeeds. What it printed is shown where it does not.
check() {
  local claim=$1
  shift
  if output=$("$@" 2>&1); then
    echo "ok: $claim"
    passed=$((passed + 1))
  else
    echo "FAILED: $claim"
    # shellcheck disable=SC2001 # every line
    sed 's/^/    /' <<<"$output"
    failed=$((failed + 1))
  fi
}

# refuses PATTERN COMMAND...: the command fails, and what it says matches.
refuses() {
  local pattern=$1 said
  shift
  if said=$("$@" 2>&1); then
    echo "succeeded: $* $said"
    return 1
  fi
  if ! grep -Eqi -- "$pattern" <<<"$said"; then
    echo "said: $said"
    return 1
  fi
}

# is WANTED COMMAND...: the command prints that and nothing else.
is() {
  local wanted=$1 got
  shift
  got=$("$@" 2>&1) || true
  if [[ $got != "$wanted" ]]; then
    printf 'wanted: %s\ngot:    %s\n' "$wanted" "$got"
    return 1
  fi
}

not() { ! "$@"; }

# Ends the script.
summary() {
  echo "$passed passed, $failed failed"
  if ((failed == 0)); then exit 0; else exit 1; fi
}

# What engines leave in a machine when they do not clear up: the same before and after.
machine_state() {
  ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/link \1/'
  ip netns list
  nft list ruleset | grep '^table' || true
  find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d | sed 's/^/cgroup /'
  awk '{ print "mount " $2 }' /proc/mounts
  ip -4 -o address | awk '{ print "address " $2 " " $4 }'
  ip route | sed 's/^/route /'
  pgrep -l tsrun || true
  find "$TSRUN_STATE"/{containers,pending,restarting,execs} -mindepth 1 2>/dev/null | sed 's/^/file /'
}

# A client with an interface of its own, before the host's: `outside COMMAND...`; the host is 192.0.2.1.
make_outside() {
  modprobe -a veth bridge overlay nf_tables nft_chain_nat nft_nat nft_masq nft_ct nft_fib_inet
  ip netns add outside
  ip link add lan0 type veth peer name eth0 netns outside
  ip address add 192.0.2.1/24 dev lan0
  ip link set lan0 up
  ip -n outside address add 192.0.2.2/24 dev eth0
  ip -n outside link set eth0 up
  ip -n outside link set lo up
  ip -n outside route add default via 192.0.2.1
}
outside() { ip netns exec outside "$@"; }
page() { outside curl -sf -m 20 "http://192.0.2.1:$1/"; }

# From memory: every start of the executable over the share of the repository takes a second.
mkdir -p /tmp/tsrun && cp -a dist/. /tmp/tsrun/
tsrun=/tmp/tsrun/tsrun
SERVER='mkdir -p /www; hostname >/www/index.html; exec httpd -f -h /www'
serve() { "$tsrun" run -d --name "$1" --hostname "$1" "${@:2}" busybox sh -c "$SERVER" >/dev/null; }
inspect() { "$tsrun" inspect -f "$2" "$1"; }
