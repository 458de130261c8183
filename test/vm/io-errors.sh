#!/bin/bash
# A disk that gives errors (dm-flakey, dm-error), and an ext4 that turns itself read-only, below the engine and what runs: what commands
# say meanwhile, and what is there when the disk is well again. Run by `scripts/vm test/vm/io-errors.sh`.
set -u
export TSRUN_ROOT=/store/tsrun TSRUN_STATE=/run/tsrun
source test/vm/checks.sh
make_outside
modprobe -a dm-mod dm-flakey loop
MEBIBYTES=256
sectors=$((MEBIBYTES * 2048))
mkdir -p /store
truncate -s ${MEBIBYTES}M /scratch/store
loop=$(losetup -f --show /scratch/store)
mkfs.ext4 -q "$loop"
# There is no udev that would make the node.
dmsetup --noudevsync --noudevrules create store --table "0 $sectors linear $loop 0" && dmsetup mknodes store || exit 1
mount -o errors=continue /dev/mapper/store /store || exit 1

# disk TARGET: what the disk does from now on. What is in memory is forgotten, so that reads reach it.
disk() {
  dmsetup reload store --table "0 $sectors $1" || exit 1
  dmsetup --noudevsync --noudevrules suspend --nolockfs --noflush store
  dmsetup --noudevsync --noudevrules resume store
  echo 3 >/proc/sys/vm/drop_caches
}
# Where the journal could not be written ext4 writes no more until it is mounted again; what runs on it has to end first.
mount_again() {
  if touch /store/probe 2>/dev/null && rm /store/probe; then return; fi
  local pid monitor
  for pid in $(pgrep -f 'httpd -f -h /www'); do
    monitor=$(cut -d' ' -f4 "/proc/$pid/stat")
    kill -9 "$monitor" "$pid"
  done
  sleep 2
  umount /store || return 1
  e2fsck -fy /dev/mapper/store >/dev/null
  mount -o errors=continue /dev/mapper/store /store || return 1
  "$tsrun" start web && sleep 3
}

# says REASON COMMAND...: ends in time, with a message of ours that names the reason: no stack trace, no bare error of the runtime.
# REASON may be '', then it may succeed as well.
says() {
  local said status reason=$1
  shift
  said=$(timeout 60 "$@" 2>&1)
  status=$?
  if ((status == 0)) && [[ -z $reason ]]; then return; fi
  if ((status == 0 || status == 124 || status > 128)); then
    echo "exit code $status: $said"
    return 1
  fi
  if ! grep -q '^tsrun: ' <<<"$said" || grep -Eq '^ +at |^[A-Za-z]*Error|panic' <<<"$said" || ! grep -Eqi -- "$reason" <<<"$said"; then
    echo "said: $said"
    return 1
  fi
}
# trouble WHAT REASON: what must be on the disk before it is reported fails; the rest does or does not.
trouble() {
  local what=$1 reason=$2 words
  check "$what: network create says why it failed" says "$reason" "$tsrun" network create --subnet 10.52.0.0/24 made
  check "$what: volume create says why it failed" says "$reason" "$tsrun" volume create made
  check "$what: create says why it failed" says "$reason" "$tsrun" create --name victim --network br busybox true
  check "$what: load says why it failed" says "$reason" "$tsrun" load -q -i /tmp/app.tar
  for words in 'ps -a' images 'system df' 'logs web' 'inspect web' 'diff web' 'exec web true' 'cp web:/www/index.html /tmp/page' \
    'commit web victim' 'run --rm --network br busybox true' 'run -d --name victim busybox true' 'rm -f victim' 'rmi victim' \
    'image save -o /tmp/busybox.tar busybox' 'export -o /tmp/web.tar web' 'system prune'; do
    # shellcheck disable=SC2086 # words
    check "$what: $words: an error of ours or success" says '' "$tsrun" $words
  done
}
# Nothing is lost, nothing is half there, everything works.
recovered() {
  check "$1, well again: what was there is there" is $'idle\nweb' bash -c "$tsrun ps -a --format '{{.Names}}' | sort"
  check "$1, well again: what runs answers" is web page 8081
  check "$1, well again: no network is half made" refuses 'no such' "$tsrun" network inspect made
  check "$1, well again: no volume is half made" refuses 'no such' "$tsrun" volume inspect made
  check "$1, well again: network create" "$tsrun" network create --subnet 10.52.0.0/24 made
  check "$1, well again: volume create" "$tsrun" volume create made
  check "$1, well again: load" "$tsrun" load -q -i /tmp/app.tar
  check "$1, well again: run" is app "$tsrun" run --rm --name victim --network made -v made:/data app cat /app
  check "$1, well again: a created container starts" is idle "$tsrun" start -a idle
  check "$1, well again: exec" "$tsrun" exec web true
  check "$1, well again: what was made is removed" bash -c "$tsrun rmi app && $tsrun network rm made && $tsrun volume rm made"
  # Removals are not synced: the next failure would bring back what they took.
  sync
}

"$tsrun" network create --subnet 10.51.0.0/24 br >/dev/null
"$tsrun" volume create vol >/dev/null
serve web --network br -p 8081:80
"$tsrun" create --name idle --hostname idle --network br --ip 10.51.0.30 busybox cat /etc/hostname >/dev/null
"$tsrun" run --name maker busybox sh -c 'echo app >/app' && "$tsrun" commit maker app >/dev/null && "$tsrun" save -o /tmp/app.tar app || exit 1
"$tsrun" rm maker >/dev/null
"$tsrun" rmi app >/dev/null
sync
check 'http answers' is web page 8081

disk "flakey $loop 0 0 600 1 error_writes"
trouble 'writes fail' 'EIO|i/o error|input/output|read-only|EROFS'
disk "linear $loop 0"
check 'writes fail: the file system can be written again' mount_again
recovered 'writes fail'

# The file system finds an error in itself and gives up writing.
serve doomed --network br
mount -o remount,errors=remount-ro /store
echo 1 >/sys/fs/ext4/dm-0/trigger_fs_error
check 'read-only: it is' refuses 'read-only' touch /store/probe
trouble 'read-only' 'read-only|EROFS'
check 'read-only: what runs goes on and answers' is web page 8081
check 'read-only: ps lists what runs' is $'doomed\nweb' bash -c "$tsrun ps --format '{{.Names}}' | sort"
check 'read-only: exec works' "$tsrun" exec web true
check 'read-only: kill ends what runs' "$tsrun" kill doomed
check 'read-only: it has ended' is web "$tsrun" ps --format '{{.Names}}'
check 'read-only: rm says why it failed' says 'read-only|EROFS' "$tsrun" rm idle
check 'read-only: the file system can be written again' mount_again
check 'read-only, well again: what was killed is removed' "$tsrun" rm doomed
recovered 'read-only'

disk error
check 'reads fail: inspect says why it failed' says 'EIO|i/o error|input/output' "$tsrun" inspect idle
check 'reads fail: start says why it failed' says 'EIO|i/o error|input/output' "$tsrun" start idle
check 'reads fail: network inspect says why it failed' says 'EIO|i/o error|input/output' "$tsrun" network inspect br
trouble 'reads fail' 'EIO|i/o error|input/output|read-only|EROFS'
disk "linear $loop 0"
check 'reads fail: the file system can be written again' mount_again
recovered 'reads fail'

"$tsrun" rm -f web idle >/dev/null
check 'all can be removed' bash -c "$tsrun network rm br bridge && $tsrun volume rm vol"
check 'no record, name, volume, draft or job is left' is '' \
  find "$TSRUN_ROOT"/{containers,names,volumes,staging} "$TSRUN_STATE"/{containers,pending} -mindepth 1
check 'no address is left' is '' find "$TSRUN_ROOT/ipam" -type l
check 'no interface is left' is '' ip -o link show type bridge
summary
