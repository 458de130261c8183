// Whether what leads port 53 to the resolver still stands in a container's network namespace: who flushes the rules there (`nft flush
// ruleset`) takes it away.

import { runInNetns } from '../netns.ts'
import { Nfnetlink } from '../nftables/nfnetlink.ts'
import { listBaseChains } from '../nftables/ruleset.ts'
import { standingChains, TABLE } from './redirect.ts'

/** Looks into the namespace `netnsFd`; changes nothing. @throws SyscallError */
export function redirectStands(netnsFd: number): boolean {
  const nfnetlink = runInNetns(netnsFd, () => new Nfnetlink())
  try {
    const found = listBaseChains(nfnetlink).filter(({ table }) => table === TABLE)
    return standingChains.every(({ name, rules }) => found.some(chain => chain.name === name && chain.use >= rules))
  } finally {
    nfnetlink.close()
  }
}
