// Takes addresses as one of several processes, for ipam.test.ts: DIRECTORY SUBNET OWNER COUNT. Prints one a line.

import { FileIpam } from '../../src/drivers/ipam/file-ipam.ts'

const [directory = '', subnet = '', owner = '', count = ''] = process.argv.slice(2)
const ipam = new FileIpam({ directory })
const pool = (await ipam.listPools()).find(candidate => candidate.subnet === subnet)
if (pool === undefined) throw new Error(`no pool ${subnet}`)
for (let i = 0; i < Number(count); i++) console.log(await ipam.requestAddress(pool, `${owner}-${i}`))
