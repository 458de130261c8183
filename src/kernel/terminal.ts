// The settings of a terminal, termios(3). Node's own raw mode keeps adding a carriage return to every line that is
// written; a terminal that stands for one inside a container must add nothing.

import { call } from '../ffi/libc.ts'

const TCSADRAIN = 1
/** Larger than struct termios on any architecture (60 bytes on x86-64). */
const TERMIOS_BYTES = 256

/** Makes the terminal pass bytes as they are, cfmakeraw(3). @returns a function that puts the old settings back; idempotent */
export function makeRaw(fd: number): () => void {
  const before = Buffer.alloc(TERMIOS_BYTES)
  call('tcgetattr', 'int tcgetattr(int, void *)', [fd, before])
  const raw = Buffer.from(before)
  call('cfmakeraw', 'void cfmakeraw(void *)', [raw])
  set(fd, raw)
  return () => set(fd, before)
}

function set(fd: number, settings: Buffer): void {
  call('tcsetattr', 'int tcsetattr(int, int, const void *)', [fd, TCSADRAIN, settings])
}
