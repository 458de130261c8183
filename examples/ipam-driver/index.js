// @ts-check
// An IPAM driver in a package of its own: several hosts on one LAN give their containers addresses of one subnet, and a folder
// that all of them see (NFS) says which are taken, one file each.
//
//     tsrun network create -d macvlan -o parent=eth0 --subnet 192.168.1.0/24 \
//       --ipam-driver shared-folder --ipam-opt folder=/srv/addresses --ipam-opt first=100 --ipam-opt last=199 lan

import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'

/** @import { AddressRequest, IpamDriver, IpamDriverHost, Network } from 'tsrun' */

/**
 * tsrun calls it when a network of the driver is needed.
 * @param {IpamDriverHost} host
 * @returns {IpamDriver}
 */
export default function createDriver({ kit, engineId }) {
  /** @param {string} owner */
  const nameOf = owner => `${hostname()} ${engineId} ${owner}`

  /** @param {AddressRequest} request */
  const settingsOf = ({ network, pool }) => {
    const { folder = '', first, last } = network.ipamOptions ?? {}
    const prefix = pool.subnet.replace(/\.\d+\/\d+$/, '')
    return { folder, prefix, first: Number(first), last: Number(last) }
  }

  return {
    // The package is called tsrun-ipam-<name>.
    name: 'shared-folder',
    gives: 'pools',

    /**
     * Called before anything is made. What it returns goes on disk.
     * @param {Network} network
     */
    validate(network) {
      const { folder, first = '2', last = '254', ...unknown } = network.ipamOptions ?? {}
      const [other] = Object.keys(unknown)
      const cannot = `cannot create network "${network.name}"`
      const hint = 'name a folder that all hosts see: --ipam-opt folder=/srv/addresses'
      if (other !== undefined) throw kit.error('invalid', 'shared-folder', `${cannot}: unknown option "${other}"`)
      if (folder === undefined || statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
        throw kit.error('invalid', 'shared-folder', `${cannot}: "${folder ?? ''}" is no folder`, { hint })
      if (!(Number(first) >= 1 && Number(last) <= 254 && Number(first) <= Number(last)))
        throw kit.error('invalid', 'shared-folder', `${cannot}: ${first} to ${last} is no range of a /24`)
      return { ...network, ipamOptions: { folder, first, last } }
    },

    /**
     * Idempotent: after a crash the same owner asks again, and gets what it has.
     * @param {AddressRequest} request
     */
    async requestAddress(request) {
      const { owner, wanted, pool } = request
      const { folder, prefix, first, last } = settingsOf(request)
      const all = Array.from({ length: last - first + 1 }, (_, index) => `${prefix}.${first + index}`)
      for (const address of wanted === undefined ? all : [wanted])
        if (address !== pool.gateway && take(join(folder, address), nameOf(owner))) return address
      const what = wanted === undefined ? `all addresses from ${first} to ${last} are taken` : `${wanted} is taken`
      throw kit.error(
        wanted === undefined ? 'unavailable' : 'conflict',
        'shared-folder',
        `cannot give an address: ${what}`,
        {
          hint: `${folder} says by whom`,
        },
      )
    },

    /**
     * Idempotent, too.
     * @param {AddressRequest & { readonly address: string }} request
     */
    async releaseAddress(request) {
      const file = join(settingsOf(request).folder, request.address)
      if (readOrUndefined(file) === nameOf(request.owner)) rmSync(file, { force: true })
    },
  }
}

/**
 * Whether `owner` has the file now: made by this call, or before.
 * @param {string} file
 * @param {string} owner
 */
function take(file, owner) {
  try {
    writeFileSync(file, owner, { flag: 'wx' })
    return true
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error
    return readOrUndefined(file) === owner
  }
}

/** @param {string} file */
function readOrUndefined(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
