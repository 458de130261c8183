// Addresses and subnets as a user typed them: accepted generously, explained well, returned in canonical form.
// The package `ip-address` is loaded on first use only, since it costs 2 ms; `run` never needs it.

import { formatPrefix, networkOf, tryParseAddress, tryParsePrefix } from './ip.ts'

/** What is wrong with a user's text, and what to write instead. */
export interface InputProblem {
  /** e.g. `"10.0.0.5/24" is not a subnet: it has host bits`. */
  readonly message: string
  readonly hint: string
}

/** Reads a subnet, `192.168.0.0/24`. @returns it in canonical form, or what is wrong with it */
export async function parseSubnetInput(text: string): Promise<string | InputProblem> {
  const prefix = tryParsePrefix(text)
  if (prefix === undefined)
    return { message: `"${text}" is not a subnet: ${await explain(text)}`, hint: subnetHint(text) }
  const network = networkOf(prefix)
  if (network.value === prefix.value) return formatPrefix(network)
  return { message: `"${text}" is not a subnet: it has host bits`, hint: `did you mean ${formatPrefix(network)}?` }
}

function subnetHint(text: string): string {
  const address = tryParseAddress(text)
  if (address === undefined) return 'a subnet looks like 192.168.0.0/24 or fd00:1::/64'
  return `add the prefix length, e.g. ${text}${address.family === 4 ? '/24' : '/64'}`
}

async function explain(text: string): Promise<string> {
  if (!text.includes('/')) return 'it has no prefix length'
  const { Address4, Address6 } = await import('ip-address')
  try {
    if (text.includes(':')) new Address6(text)
    else new Address4(text)
  } catch (error) {
    const words = error instanceof Error ? error.message.replace(/\.$/, '') : ''
    if (words !== '') return words.replace(/^[A-Z](?=[a-z]+ )/, first => first.toLowerCase())
  }
  return 'it is not in canonical form'
}
