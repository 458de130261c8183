#!/bin/bash
# The power goes at any write: device-mapper's log-writes records what commands write to an ext4, and what is on it is looked at as if
# the machine had stopped there. Run by `scripts/vm test/vm/power-loss.sh [MOMENTS]`: so many (40) of the moments behind a flush or the
# report of a command, spread evenly from one that SEED chooses.
set -u
# What a cut leaves is looked at with another boot id.
export TSRUN_ROOT=/store/tsrun TSRUN_STATE=/run/tsrun
source test/vm/checks.sh
cuts=${1:-40}
seed=${SEED:-$RANDOM}
modprobe -a dm-mod dm-log-writes dm-snapshot loop bridge veth overlay nf_tables nft_chain_nat nft_nat nft_masq nft_ct nft_fib_inet
MEBIBYTES=160
sectors=$((MEBIBYTES * 2048))
mkdir -p /store /ram
mount -t tmpfs -o size=1200m tmpfs /ram

disk() { truncate -s "$2" "/ram/$1" && losetup -f --show "/ram/$1"; }
# make_dm NAME TARGET: there is no udev that would make the node.
make_dm() { dmsetup --noudevsync --noudevrules create "$1" --table "0 $sectors $2" && dmsetup mknodes "$1"; }
origin=$(disk origin ${MEBIBYTES}M) log=$(disk log 500M)
mkfs.ext4 -q -b 4096 -E lazy_itable_init=0,lazy_journal_init=0 "$origin"
# The image that is loaded; made apart from what is recorded.
mkdir -p /ram/maker
TSRUN_ROOT=/ram/maker "$tsrun" run --name maker busybox sh -c 'echo app >/app' && TSRUN_ROOT=/ram/maker "$tsrun" commit maker app >/dev/null &&
  TSRUN_ROOT=/ram/maker "$tsrun" save -o /ram/app.tar app || exit 1
TSRUN_ROOT=/ram/maker "$tsrun" rm maker >/dev/null
TSRUN_ROOT=/ram/maker "$tsrun" network rm bridge >/dev/null 2>&1
cp "$origin" /ram/base
make_dm recorded "log-writes $origin $log" && mount /dev/mapper/recorded /store || exit 1
rm -rf /run/tsrun

# did NAME COMMAND...: when the command has reported its success, the log is marked.
commands=0
did() {
  local name=$1
  shift
  "$@" >/dev/null || { echo "cannot $*"; exit 1; }
  dmsetup message recorded 0 mark "$name"
  commands=$((commands + 1))
}
did network "$tsrun" network create --subnet 10.51.0.0/24 br
did volume "$tsrun" volume create --label kept=yes vol
did load "$tsrun" load -q -i /ram/app.tar
did tag "$tsrun" tag app other:1
did create "$tsrun" create --name made --network br --ip 10.51.0.10 -v vol:/data app cat /app
did rename "$tsrun" rename made renamed
did update "$tsrun" update --restart unless-stopped renamed
did run "$tsrun" run -d --name up --restart always --network br app sh -c 'cat /app; exec sleep 1000'
did once "$tsrun" run --rm --network br app true
did second "$tsrun" network create --subnet 10.52.0.0/24 second
did connect "$tsrun" network connect second renamed
did stopped "$tsrun" run -d --name stopped --restart unless-stopped --network br app sleep 1000
did stop "$tsrun" stop -t 0 stopped
did commit "$tsrun" commit stopped committed
did remove-up "$tsrun" rm -f up
did remove "$tsrun" rm stopped
did disconnect "$tsrun" network disconnect second renamed
did remove-network "$tsrun" network rm second
did remove-volume bash -c "$tsrun volume create gone && $tsrun volume rm gone"
did remove-image "$tsrun" rmi other:1
# What follows is not looked at.
dmsetup message recorded 0 mark end
"$tsrun" rm -f renamed >/dev/null
umount /store
dmsetup remove recorded
python3 test/vm/write-log.py "$log" cuts >/ram/cuts
echo "$commands commands, $(grep -c flush /ram/cuts) flushes, $(awk '{ n = $1 } END { print n }' /ram/cuts) writes recorded; SEED=$seed"

# What has been reported before entry $1 of the log, as words.
reported() { awk -v end="$1" '$2 == "mark" && $1 < end { print $3 }' /ram/cuts; }
has() { grep -qx "$1" <<<"$done_before"; }
# between A B: A was reported, and B has not begun: what comes before it in the sequence was not reported either.
prior() { awk -v word="$1" '$2 == "mark" { if ($3 == word) { print last; exit } last = $3 }' /ram/cuts; }
between() { has "$1" && ! has "$(prior "$2")"; }

# The engine over what a cut has left; prints what is wrong.
look() {
  local name
  for name in "ps -a" images "network ls" "volume ls" "system df"; do
    # shellcheck disable=SC2086 # words
    "$tsrun" $name >/ram/said 2>&1 || { echo "$name fails: $(cat /ram/said)"; }
  done
  if has network; then "$tsrun" network inspect br >/dev/null || echo 'the network br is lost'; fi
  if has volume; then
    is yes "$tsrun" volume inspect -f '{{.Labels.kept}}' vol || echo 'the volume is lost'
  fi
  if has load; then is app "$tsrun" run --rm --network none app cat /app || echo 'the image is lost or broken'; fi
  if between tag remove-image; then is app "$tsrun" run --rm --network none other:1 cat /app || echo 'the tag is lost'; fi
  if between create rename; then "$tsrun" inspect made >/dev/null || echo 'what was created is lost'; fi
  if has rename; then
    "$tsrun" inspect renamed >/dev/null || echo 'what was renamed is lost'
    refuses 'no such' "$tsrun" inspect made || echo 'the old name is still there'
  fi
  if has update; then is unless-stopped inspect renamed '{{.HostConfig.RestartPolicy.Name}}' || echo 'the update is lost'; fi
  if between connect disconnect; then
    is true inspect renamed '{{if index .NetworkSettings.Networks "second"}}true{{end}}' || echo 'the connection is lost'
  fi
  if has disconnect; then
    is '' inspect renamed '{{if index .NetworkSettings.Networks "second"}}true{{end}}' || echo 'the connection is back'
  fi
  if between stop remove; then is false inspect stopped '{{.State.Running}}' || echo 'what was stopped is lost'; fi
  if between second remove-network; then "$tsrun" network inspect second >/dev/null || echo 'the network second is lost'; fi
  if has commit; then "$tsrun" image inspect committed >/dev/null || echo 'what was committed is lost'; fi
  "$tsrun" system up >/ram/said 2>&1 || echo "system up fails: $(cat /ram/said)"
  sleep 0.5
  if between run remove-up; then is true inspect up '{{.State.Running}}' || echo 'what is to run after a boot does not'; fi
  if between run remove-up; then is app "$tsrun" exec up cat /app || echo 'it runs on a broken image'; fi
  if has remove-up; then refuses 'no such' "$tsrun" inspect up || echo 'what was removed and starts by itself is back'; fi
  if between stop remove; then is false inspect stopped '{{.State.Running}}' || echo 'what was stopped by its user was started'; fi
  # The names, addresses and subnets that nobody has can be had.
  if ! has create; then
    "$tsrun" rm -f made >/dev/null 2>&1
    "$tsrun" network inspect br >/dev/null 2>&1 || "$tsrun" network create --subnet 10.51.0.0/24 br >/dev/null ||
      echo 'the subnet is taken by nobody'
    "$tsrun" run --rm --name made --network br --ip 10.51.0.10 busybox true || echo 'busybox does not run'
  fi
  if has remove-volume; then "$tsrun" volume rm gone >/dev/null 2>&1; fi
  "$tsrun" ps -aq | xargs -r "$tsrun" rm -f >/dev/null
  "$tsrun" network rm second >/dev/null 2>&1
  "$tsrun" system prune -af --volumes >/ram/said 2>&1 || echo "system prune fails: $(cat /ram/said)"
  "$tsrun" network rm bridge br >/dev/null 2>&1
  find /store/tsrun/containers /store/tsrun/names /store/tsrun/ipam/*_* /store/tsrun/staging -mindepth 1 2>/dev/null |
    sed 's/^/left over: /'
  find /store/tsrun/networks -name '.*' -type f | sed 's/^/left over: /'
}

# What the kernel forgets when the power goes.
forget() {
  nft flush ruleset
  ip -o link show type bridge | awk -F '[:@ ]+' '{ print $2 }' | xargs -r -n 1 ip link delete dev
  rm -rf /run/tsrun
}

cow=$(disk cow 300M)
replayed=$(losetup -f --show /ram/base)
at=0
# cut ENTRY [SEED]: what is on the disk when the power goes before that entry.
try() {
  local end=$1 lossy=${2:-}
  python3 test/vm/write-log.py "$log" replay "$at" "$end" "$replayed"
  at=$end
  make_dm cut "snapshot $replayed $cow N 8" || exit 1
  mount /dev/mapper/cut /store || { echo 'the file system cannot be mounted'; return; }
  forget
  cat /proc/sys/kernel/random/uuid >/ram/boot-id
  mount --bind /ram/boot-id /proc/sys/kernel/random/boot_id
  done_before=$(reported "$end")
  problems=$(look 2>&1)
  umount /proc/sys/kernel/random/boot_id
  umount /store || { echo "$problems"; echo "cannot unmount: $(fuser -vm /store 2>&1)"; exit 1; }
  dmsetup remove cut
  dd if=/dev/zero of="$cow" bs=1M count=1 conv=notrunc status=none
  [[ -z $problems ]] || { echo "$problems"; return 1; }
}

# Behind each flush and mark, i.e. before the next entry; of many, as many as asked for.
awk '$3 == "end" { exit } { print $1 + 1 }' /ram/cuts | sort -nu >/ram/moments
mapfile -t moments </ram/moments
step=$(((${#moments[@]} + cuts - 1) / cuts))
for ((n = seed % step; n < ${#moments[@]}; n += step)); do
  last=$(reported "${moments[n]}" | tail -1)
  # In this shell, since the position in the log is its own.
  if try "${moments[n]}" >/ram/problems 2>&1; then
    echo "ok: power lost at write ${moments[n]}, behind '${last:-nothing}'"
    passed=$((passed + 1))
  else
    echo "FAILED: power lost at write ${moments[n]}, behind '${last:-nothing}'"
    sed 's/^/    /' /ram/problems
    failed=$((failed + 1))
  fi
done
summary
