// What the host's resolver is, as far as containers can use it.

import { readFileSync } from 'node:fs'
import { hasCode } from '../../ffi/errno.ts'
import { onlyLoopback } from '../container/etc-files.ts'

/** The host's resolver configuration; behind systemd-resolved's stub, the servers that it asks itself. */
export function hostResolvConf(): string {
  const text = readOrEmpty('/etc/resolv.conf')
  return onlyLoopback(text) ? readOrEmpty('/run/systemd/resolve/resolv.conf') || text : text
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EACCES')) return ''
    throw error
  }
}
