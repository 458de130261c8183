#!/bin/bash
# SCTP through published ports, with real packets, and a table of connections that is full. Run by `scripts/vm test/vm/sctp.sh`.
set -u
export TSRUN_ROOT=/scratch/tsrun TSRUN_STATE=/run/tsrun
source test/vm/checks.sh
make_outside
modprobe -a sctp nf_conntrack

cat >/tmp/sctp.py <<'PYTHON'
"""sctp.py serve PORT NAME: tells each client the name and the client's address.  sctp.py ask ADDRESS PORT: prints what it is told."""
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[2] or sys.argv[1] == 'serve' else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
if sys.argv[1] == 'serve':
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(('::', int(sys.argv[2])))
    s.listen()
    while True:
        client, peer = s.accept()
        client.sendall(f'{sys.argv[3]} {peer[0].removeprefix("::ffff:")}'.encode())
        client.close()
s.settimeout(15)
s.connect((sys.argv[2], int(sys.argv[3])))
print(s.recv(100).decode())
PYTHON
# within SECONDS COMMAND...: tried until it succeeds.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do ((SECONDS < end)) || return 1; sleep 1; done
}
# sctp_serve CONTAINER PORT: in the container's network namespace, since its image has no program for SCTP.
sctp_serve() {
  local pid
  pid=$(inspect "$1" '{{.State.Pid}}')
  nsenter --net="/proc/$pid/ns/net" python3 /tmp/sctp.py serve "$2" "$1" &
  servers+=($!)
  within 30 grep -q " $2 " "/proc/$pid/net/sctp/eps"
}
ask() { python3 /tmp/sctp.py ask "$@"; }
servers=()
trap 'kill "${servers[@]}" 2>/dev/null' EXIT
box() { "$tsrun" run -d --name "$1" "${@:2}" busybox sleep 1000 >/dev/null; }

"$tsrun" network create --subnet 10.51.0.0/24 --subnet fd00:51::/64 br >/dev/null
ip address add 2001:db8::1/64 dev lan0 nodad
ip -n outside address add 2001:db8::2/64 dev eth0 nodad
ip -n outside route add default via 2001:db8::1
check 'a container with an SCTP port' box web --network br -p 9000:3868/sctp
sctp_serve web 3868
check 'answers from outside, and sees the client' is 'web 192.0.2.2' outside python3 /tmp/sctp.py ask 192.0.2.1 9000
check 'over IPv6 too' is 'web 2001:db8::2' outside python3 /tmp/sctp.py ask 2001:db8::1 9000
check 'answers on the host at its own address' within 5 ask 192.0.2.1 9000
check 'answers on the host at 127.0.0.1' within 5 ask 127.0.0.1 9000
box peer --network br
from_peer() { nsenter --net="/proc/$(inspect peer '{{.State.Pid}}')/ns/net" python3 /tmp/sctp.py ask "$@"; }
check 'a container reaches another' within 5 from_peer "$(inspect web '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}')" 3868
check 'a container reaches the published port' within 5 from_peer 192.0.2.1 9000
check 'ps shows the port' is 1 bash -c "$tsrun ps | grep -c '9000->3868/sctp'"
check 'the port is taken' refuses '9000/sctp' "$tsrun" run --rm --network br -p 9000:1/sctp busybox true
check 'tcp of that number is another port' "$tsrun" run --rm --network br -p 9000:1 busybox true
check 'udp of that number is another port' "$tsrun" run --rm --network br -p 9000:1/udp busybox true

python3 - <<'PYTHON' &
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
s.bind(('0.0.0.0', 9001))
s.listen()
time.sleep(1000)
PYTHON
servers+=($!)
within 30 grep -q ' 9001 ' /proc/net/sctp/eps
check 'a port that a program of the host has is refused' refuses '9001/sctp' "$tsrun" run --rm --network br -p 9001:1/sctp busybox true

"$tsrun" rm -f web >/dev/null
check 'withdrawn, it does not answer' refuses . outside timeout 10 python3 /tmp/sctp.py ask 192.0.2.1 9000
check 'and another container can have it' box other --network br -p 9000:3868/sctp
sctp_serve other 3868
check 'which then answers' is 'other 192.0.2.2' outside python3 /tmp/sctp.py ask 192.0.2.1 9000
check 'a range' box range --network br -p 9100-9102:3868-3870/sctp
sctp_serve range 3869
check 'of SCTP ports answers' is 'range 192.0.2.2' outside python3 /tmp/sctp.py ask 192.0.2.1 9101
check 'proxied SCTP is refused' refuses 'tcp and udp' "$tsrun" run --rm --network br --publish-mode proxy -p 9300:1/sctp busybox true
check 'a port is published while it runs' "$tsrun" update --publish-add 9200:3868/sctp other
check 'and answers' is 'other 192.0.2.2' outside python3 /tmp/sctp.py ask 192.0.2.1 9200

box http --network br -p 9080:80
"$tsrun" exec -d http sh -c "$SERVER"
check 'http answers' within 20 page 9080
old=$(cat /proc/sys/net/netfilter/nf_conntrack_max)
echo 1 >/proc/sys/net/netfilter/nf_conntrack_max
check 'with a full table of connections: nothing answers' not page 9080
check 'with a full table of connections: run' "$tsrun" run --rm --network br -p 9400:80 busybox true
check 'with a full table of connections: the doctor names it' bash -c "$tsrun network doctor http | grep -i conntrack"
check 'with a full table of connections: rm' "$tsrun" rm -f range
echo "$old" >/proc/sys/net/netfilter/nf_conntrack_max
check 'with room, http answers again' within 20 page 9080
summary
