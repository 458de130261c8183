"""A DHCP server that knows its clients by their identifier (option 61) alone, as a small one like udhcpd does not, and refuses when
told to. Usage: dhcp-server.py INTERFACE OWN_ADDRESS FIRST COUNT LEASE_SECONDS ROUTER [NAK_FILE]

While NAK_FILE holds a number above 0 each REQUEST takes one off it and is answered with a NAK, and its client loses the address that
it had. Prints a line for each message: KIND, and the identifier."""

import ipaddress
import os
import socket
import struct
import sys

interface, own, first, count, lease, router = sys.argv[1:7]
nak_file = sys.argv[7] if len(sys.argv) > 7 else None
free = [ipaddress.ip_address(first) + i for i in range(int(count))]
leases = {}
KINDS = {1: 'DISCOVER', 3: 'REQUEST', 4: 'DECLINE', 7: 'RELEASE'}
OFFER, ACK, NAK = 2, 5, 6


def options_of(packet):
    found, at = {}, 240
    while at < len(packet) and packet[at] != 255:
        if packet[at] == 0:
            at += 1
            continue
        found[packet[at]] = packet[at + 2:at + 2 + packet[at + 1]]
        at += 2 + packet[at + 1]
    return found


def refuses():
    if nak_file is None or not os.path.exists(nak_file):
        return False
    left = int(open(nak_file).read() or 0)
    if left > 0:
        open(nak_file, 'w').write(str(left - 1))
    return left > 0


def reply(packet, kind, address):
    options = [(53, bytes([kind])), (54, socket.inet_aton(own))]
    if kind != NAK:
        options += [(51, struct.pack('>I', int(lease))), (1, socket.inet_aton('255.255.255.0')), (3, socket.inet_aton(router))]
    body = bytes([2, 1, 6, 0]) + packet[4:8] + bytes(2) + packet[10:12] + bytes(4) + address + bytes(8) + packet[28:44] + bytes(192)
    body += bytes([99, 130, 83, 99]) + b''.join(bytes([code, len(value)]) + value for code, value in options) + b'\xff'
    server.sendto(body.ljust(300, b'\0'), ('255.255.255.255', 68))


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
server.bind(('', 67))
print('ready', flush=True)
while True:
    packet = server.recv(4096)
    options = options_of(packet)
    kind, client = options.get(53, b'\0')[0], options.get(61, packet[28:34])
    print(KINDS.get(kind, kind), client.hex(), flush=True)
    if kind == 7:
        free.append(leases.pop(client)) if client in leases else None
    elif kind == 3 and refuses():
        # Not the same one again.
        free.append(leases.pop(client)) if client in leases else None
        reply(packet, NAK, bytes(4))
    elif kind in (1, 3) and (client in leases or free):
        wanted = ipaddress.ip_address(options.get(50, bytes(4)))
        if client not in leases:
            leases[client] = free.pop(free.index(wanted) if wanted in free else 0)
        reply(packet, OFFER if kind == 1 else ACK, leases[client].packed)
