#!/usr/bin/python3
"""Reads what device-mapper's log-writes target has recorded, and writes a part of it to another device.

  write-log.py LOG cuts                   a line for each flush, forced write and mark: its entry, what it is, the mark's text
  write-log.py LOG replay FROM TO DEVICE [SEED]
      writes the entries FROM to TO, without TO. With a seed some of the last writes since the last flush are left out, as a disk with
      a cache may. The marks are no writes.

The format is that of Documentation/admin-guide/device-mapper/log-writes.rst: a super block of one sector, then entries, each with a
header of one sector before its data.
"""
import os, random, struct, sys

FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8

def entries(log):
    magic, _version, count, size = struct.unpack_from('<QQQI', os.pread(log, 512, 0))
    assert magic == 0x6a736677736872, 'no log'
    at = size
    for number in range(count):
        sector, sectors, flags, length = struct.unpack_from('<QQQQ', os.pread(log, 32, at))
        # Only a mark has its text in the sector of the header; what is written begins in the next.
        yield number, sector * size, sectors * size, flags, length, at
        at += size
        if not flags & (DISCARD | MARK):
            at += sectors * size

def main():
    log = os.open(sys.argv[1], os.O_RDONLY)
    if sys.argv[2] == 'cuts':
        for number, _, _, flags, length, at in entries(log):
            if flags & MARK:
                print(number, 'mark', os.pread(log, length, at + 32).decode())
            elif flags & (FLUSH | FUA):
                print(number, 'flush')
        return
    first, end = int(sys.argv[3]), int(sys.argv[4])
    seed = sys.argv[6] if len(sys.argv) > 6 else None
    known = list(entries(log))
    flushed = max((n for n, *_, flags, _, _ in known[:end] if flags & (FLUSH | FUA)), default=-1)
    chance = random.Random(seed)
    device = os.open(sys.argv[5], os.O_RDWR)
    for number, offset, size, flags, _, at in known[first:end]:
        if flags & MARK or size == 0 or (seed is not None and number > flushed and chance.random() < 0.5):
            continue
        if flags & DISCARD:
            os.pwrite(device, bytes(size), offset)
        else:
            os.pwrite(device, os.pread(log, size, at + 512), offset)
    os.fsync(device)

main()
