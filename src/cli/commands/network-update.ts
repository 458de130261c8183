// `tsrun network update`: the peers of a network, while containers are on it.

import type { Command } from 'commander'
import { Engine } from '../../engine/engine.ts'
import { TsrunError } from '../../model/errors.ts'
import type { Peer } from '../../model/network.ts'
import { collect } from '../collect.ts'
import { print } from '../print.ts'

export function addUpdate(network: Command): void {
  network
    .command('update')
    .description('Change the peers of a routed network. Containers notice nothing.')
    .argument('<name>')
    .option('--peer-add <subnet=address>', 'another host, or another address of one that is known', collect)
    .option('--peer-rm <subnet>', 'a host that has gone', collect)
    .addHelpText(
      'after',
      '\nExample:\n  tsrun network update --peer-add 192.168.2.0/24=10.0.2.17 --peer-rm 192.168.3.0/24 apps',
    )
    .action(async (name: string, flags: { peerAdd?: string[]; peerRm?: string[] }) => {
      const { peerAdd = [], peerRm = [] } = flags
      if (peerAdd.length + peerRm.length === 0)
        throw new TsrunError('invalid', 'nothing-to-do', 'nothing to change: no --peer-add and no --peer-rm is given')
      const update = { addPeers: parsePeers('--peer-add', peerAdd), removePeers: peerRm }
      await using engine = await Engine.open()
      print(`${(await engine.networks.update(name, update)).name}\n`)
    })
}

/** `SUBNET=ADDRESS` of each; what they are is the driver's to check. @throws TsrunError invalid */
export function parsePeers(flag: string, texts: readonly string[]): Peer[] {
  return texts.map(text => {
    const [subnet = '', address = '', ...rest] = text.split('=')
    if (subnet !== '' && address !== '' && rest.length === 0) return { subnet, address }
    throw new TsrunError('invalid', 'peer', `invalid value "${text}" for ${flag}`, {
      hint: 'write SUBNET=ADDRESS, e.g. 192.168.2.0/24=10.0.2.16: the subnet and the host that has it',
    })
  })
}
