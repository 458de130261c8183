// Addresses as text. Pure.

/** An address without its prefix length. */
export function withoutPrefix(address: string): string {
  const at = address.indexOf('/')
  return at < 0 ? address : address.slice(0, at)
}

/** The family of an address or a subnet. */
export function familyOf(text: string): 4 | 6 {
  return text.includes(':') ? 6 : 4
}
