#!/bin/bash
# A real power cut and a real boot from the same disk, without warning, right behind the last command. Run by
# `scripts/vm --boots 2 test/vm/reboot.sh`: the first boot makes containers and loses its power, the second looks.
set -u
export TSRUN_ROOT=/scratch/tsrun TSRUN_STATE=/run/tsrun
source test/vm/checks.sh
make_outside

# What of a container has to be the same after the boot.
NETWORKS='{{range $name, $n := .NetworkSettings.Networks}}{{$name}} {{$n.IPAddress}} {{$n.MacAddress}} {{end}}'
facts() { echo "$1: $(inspect "$1" "$NETWORKS") ports $("$tsrun" port "$1" | tr '\n' ' ')"; }
up=(always stopped-always unless random first last)
down=(plain failing stopped-unless fresh fresh-always)

if [[ $TSRUN_VM_BOOT == 1 ]]; then
  set -e
  "$tsrun" network create --subnet 10.51.0.0/24 br >/dev/null
  "$tsrun" network create --subnet 10.52.0.0/24 --subnet fd00:52::/64 two >/dev/null
  "$tsrun" volume create vol >/dev/null
  serve always --restart always --network br --ip 10.51.0.10 -p 8081:80
  serve stopped-always --restart always --network br
  serve unless --restart unless-stopped --network name=br,mac=02:00:00:00:00:77,alias=friend --network two -p 8082:80 -p 127.0.0.1:8083:80 -v vol:/data
  serve stopped-unless --restart unless-stopped --network br --ip 10.51.0.20 -p 8084:80
  serve random --restart always --network two --ip 10.52.0.30 --ip6 fd00:52::30 -p 80
  serve plain --network br -p 8085:80
  serve failing --restart on-failure --network br
  "$tsrun" run -d --rm --name gone --network br --ip 10.51.0.99 -p 8086:80 busybox sleep 1000 >/dev/null
  # Started again in an order that is not the alphabet's; the second needs the first's namespace.
  serve first --restart always --network br
  "$tsrun" run -d --name last --restart always --network container:first busybox sleep 1000 >/dev/null
  "$tsrun" exec unless sh -c 'echo kept >/data/file; sync'
  "$tsrun" stop -t 0 stopped-always stopped-unless >/dev/null
  "$tsrun" create --name fresh-always --restart always busybox true >/dev/null
  page 8081 >/dev/null
  for name in always unless random first; do facts "$name"; done >/scratch/facts
  sync /scratch/facts
  # What is reported right before the cut.
  "$tsrun" network create --subnet 10.53.0.0/24 late >/dev/null
  "$tsrun" volume create late >/dev/null
  "$tsrun" rename plain renamed >/dev/null
  "$tsrun" rename renamed plain >/dev/null
  "$tsrun" create --name fresh --network late --ip 10.53.0.7 busybox true >/dev/null
  echo 'the power goes'
  echo b >/proc/sysrq-trigger
  sleep 60
fi

before=$(machine_state)
check 'ps -a works before anything is started' "$tsrun" ps -a
check 'what was created right before the cut is there' is created inspect fresh '{{.State.Status}}'
check 'so is its network' is late "$tsrun" network inspect -f '{{.Name}}' late
check 'so is its volume' is late "$tsrun" volume inspect -f '{{.Name}}' late
check 'what ran has exit code 255' is 255 inspect plain '{{.State.ExitCode}}'
check 'one with --rm that ran is gone' refuses 'no such container' "$tsrun" start gone
check 'with its address' not test -L "$TSRUN_ROOT/ipam/10.51.0.0_24/10.51.0.99"
check 'system up' "$tsrun" system up
sleep 2
check 'what is to run runs, the rest does not' is "$(printf '%s\n' "${up[@]}" | sort)" \
  bash -c "$tsrun ps --format '{{.Names}}' | sort"
for name in "${down[@]}"; do check "$name does not run" is false inspect "$name" '{{.State.Running}}'; done
for name in always unless random first; do
  check "$name has its addresses, MACs and ports again" is "$(grep "^$name:" /scratch/facts)" facts "$name"
done
mac() { "$tsrun" exec unless cat /sys/class/net/eth0/address; }
check 'the MAC is there in the namespace' is 02:00:00:00:00:77 mac
check 'port 8081 answers from outside' is always page 8081
check 'port 8082 answers from outside' is unless page 8082
check 'the random port answers from outside' is random page "$("$tsrun" port random 80/tcp | head -1 | sed 's/.*://')"
check 'a port on 127.0.0.1 answers on the host' is unless curl -sf -m 20 http://127.0.0.1:8083/
check 'a port on 127.0.0.1 does not answer from outside' not page 8083
check 'a port of one that does not run does not answer' not page 8084
check 'names: a container finds another' is always "$tsrun" exec unless wget -q -O - http://always/
check 'names: by alias' is unless "$tsrun" exec always wget -q -O - http://friend/
check 'a shared namespace is the same one' is first "$tsrun" exec last wget -q -O - http://localhost/
check 'the way out' "$tsrun" exec unless ping -c 1 -W 20 192.0.2.2
check 'the volume has its content' is kept "$tsrun" exec unless cat /data/file
check 'the address of a stopped container is still its own' refuses 'in use|taken|held' \
  "$tsrun" run --rm --network br --ip 10.51.0.20 busybox true
check 'one that was stopped starts by hand' "$tsrun" start stopped-unless
check 'and answers' is stopped-unless page 8084
check 'system up once more changes nothing' "$tsrun" system up
check 'all can be removed' bash -c "$tsrun rm -f \$($tsrun ps -aq) && $tsrun network rm br two late && $tsrun volume rm vol late"
"$tsrun" network rm bridge >/dev/null 2>&1
sleep 2
check 'nothing is left: links, rules, cgroups, mounts, processes, files' is "$before" machine_state
summary
