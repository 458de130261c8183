// Names in an open directory, for the calls of node:fs, which knows no *at() ones.

/** A path to a name in an open directory; only the name itself may be a link. @param name ended by NUL */
export function procPath(fd: number, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name.subarray(0, -1)])
}
