// MAC addresses that are made and not drawn.

/** The locally administered address `02:42:` and four bytes, in docker's way. */
export function macFromBytes(bytes: readonly number[]): string {
  return ['02', '42', ...bytes.map(byte => byte.toString(16).padStart(2, '0'))].join(':')
}
