#!/bin/sh
# ipvlan, VLANs and internal macvlan networks: kernel modules that not every kernel has. Run as root of a throw-away machine, e.g.
# by scripts/vm; prints a line for each fact and fails at the first that does not hold.
set -eu
tsrun=${TSRUN:-dist/tsrun}
TSRUN_ROOT=$(mktemp -d "${SCRATCH:-/scratch}/root.XXXX") TSRUN_STATE=$(mktemp -d /tmp/state.XXXX)
export TSRUN_ROOT TSRUN_STATE

ok() { echo "ok: $*"; }
fail() { echo "FAILED: $*"; exit 1; }
reaches() { ip netns exec lan ping -c 3 -i 0.2 -W 5 "$1" >/dev/null || fail "the LAN reaches $1"; }
has_link() { ip link show dev "$1" >/dev/null 2>&1; }
serve() { name=$1; shift; "$tsrun" run -d --name "$name" "$@" busybox sleep 1000 >/dev/null; }
inside() { name=$1; shift; "$tsrun" exec "$name" "$@"; }

for module in ipvlan macvlan 8021q dummy veth; do modprobe "$module"; done
ip netns add lan
ip link add eth0 type veth peer name eth0 netns lan
ip address add 192.0.2.1/24 dev eth0
ip link set eth0 up
ip -n lan address add 192.0.2.2/24 dev eth0
ip -n lan link set eth0 up
ip -n lan link add link eth0 name eth0.10 type vlan id 10
ip -n lan address add 198.51.100.2/24 dev eth0.10
ip -n lan link set eth0.10 up
ip -n lan route add 203.0.113.0/24 via 192.0.2.1

lan='--subnet 192.0.2.0/24 --gateway 192.0.2.2 --ip-range 192.0.2.64/27'

# shellcheck disable=SC2086 # several words
"$tsrun" network create -d ipvlan -o parent=eth0 $lan l2 >/dev/null
serve a --network l2 --ip 192.0.2.70
serve b --network l2
reaches 192.0.2.70
inside a ping -c 1 -W 5 "$(inside b hostname -i)" >/dev/null || fail 'ipvlan l2: a container reaches another'
[ "$(inside a cat /sys/class/net/eth0/address)" = "$(cat /sys/class/net/eth0/address)" ] || fail "the parent's MAC"
ok 'ipvlan l2: containers on the LAN, with the MAC of the parent'
"$tsrun" network create -d ipvlan -o parent=eth0 -o mode=l3 --subnet 203.0.113.0/24 l3 2>&1 | grep -q 'which excludes ipvlan l3' ||
  fail 'two modes of ipvlan on one parent are refused'
"$tsrun" network create -d macvlan -o parent=eth0 --subnet 203.0.113.0/24 m 2>&1 | grep -q 'which excludes macvlan' ||
  fail 'macvlan and ipvlan on one parent are refused'
ok 'what the kernel cannot have on one parent is refused'
"$tsrun" restart -t 0 a >/dev/null
reaches 192.0.2.70
ok 'a restart keeps the address, though the old namespace still has it'
"$tsrun" rm -f a b >/dev/null
"$tsrun" network rm l2 >/dev/null

# All have the MAC address of the parent: it is the client identifier that tells them apart, and answers have to be broadcasts.
ip netns exec lan python3 test/helpers/dhcp-server.py eth0 192.0.2.2 192.0.2.100 4 600 192.0.2.2 >/tmp/dhcp.log &
server=$!
until grep -q ready /tmp/dhcp.log; do sleep 0.2; done
"$tsrun" network create -d ipvlan -o parent=eth0 --ipam-driver dhcp --ipam-opt timeout=25 leased >/dev/null
serve a --network leased
serve b --network leased
address_of() { "$tsrun" inspect -f '{{.NetworkSettings.Networks.leased.IPAddress}}' "$1"; }
first=$(address_of a)
[ "$first" != "$(address_of b)" ] || fail 'ipvlan with dhcp: two addresses'
reaches "$first"
reaches "$(address_of b)"
"$tsrun" restart -t 0 a >/dev/null
[ "$(address_of a)" = "$first" ] || fail 'ipvlan with dhcp: a restart keeps the address'
reaches "$first"
"$tsrun" rm -f a b >/dev/null
sleep 3
[ "$(grep -c RELEASE /tmp/dhcp.log)" = 3 ] || fail 'ipvlan with dhcp: the leases are given back'
[ "$(awk '/REQUEST/ { print $2 }' /tmp/dhcp.log | sort -u | wc -l)" = 2 ] || fail 'ipvlan with dhcp: two identifiers'
"$tsrun" network rm leased >/dev/null
kill $server
ok 'ipvlan with dhcp: addresses of their own behind one MAC, kept by a restart, given back'

for mode in l3 l3s; do
  "$tsrun" network create -d ipvlan -o parent=eth0 -o mode=$mode --subnet 203.0.113.0/24 $mode >/dev/null
  serve a --network $mode
  reaches "$(inside a hostname -i)"
  inside a ping -c 1 -W 5 192.0.2.2 >/dev/null || fail "ipvlan $mode: the way out"
  "$tsrun" rm -f a >/dev/null
  "$tsrun" network rm $mode >/dev/null
  ok "ipvlan $mode: routed by the parent, both ways"
done

"$tsrun" network create -d macvlan -o parent=eth0.10 --subnet 198.51.100.0/24 --ip-range 198.51.100.64/27 vlan >/dev/null
"$tsrun" network create -d macvlan -o parent=eth0.10 --subnet 203.0.113.0/24 second >/dev/null
has_link eth0.10 || fail 'the VLAN is made'
serve a --network vlan --ip 198.51.100.70
reaches 198.51.100.70
"$tsrun" rm -f a >/dev/null
"$tsrun" network rm vlan >/dev/null
has_link eth0.10 || fail 'the VLAN stays while a network needs it'
ip link delete eth0.10
"$tsrun" run --rm --network second busybox true || fail 'a VLAN that was deleted is made again'
"$tsrun" network rm second >/dev/null
has_link eth0.10 && fail 'the VLAN goes with the last network'
ip link add link eth0 name eth0.10 type vlan id 10
ip link set eth0.10 up
"$tsrun" network create -d macvlan -o parent=eth0.10 --subnet 198.51.100.0/24 theirs >/dev/null
"$tsrun" network rm theirs >/dev/null
has_link eth0.10 || fail "the administrator's own VLAN stays"
ip link delete eth0.10
ok 'VLANs are made and removed, those of others are left alone'

for driver in macvlan ipvlan; do
  "$tsrun" network create -d $driver --internal inside >/dev/null
  serve a --network inside
  serve b --network inside
  inside a ping -c 1 -W 5 "$(inside b hostname -i)" >/dev/null || fail "internal $driver: each other"
  inside a ping -c 1 -W 2 192.0.2.2 >/dev/null 2>&1 && fail "internal $driver: no way out"
  "$tsrun" rm -f a b >/dev/null
  "$tsrun" network rm inside >/dev/null
  [ -z "$(ip -o link show type dummy)" ] || fail 'the dummy goes with its network'
  ok "internal $driver: each other and nobody else"
done
