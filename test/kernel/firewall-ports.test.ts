// Ports against a plain model: whatever is published, refused, withdrawn and reloaded in whatever order, the kernel holds what a list of
// ports says, as `nft -j` tells it.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { PortMapping } from '../../src/model/network.ts'
import { Namespace } from '../helpers/namespace.ts'
import fc from '../helpers/property.ts'
import { Agent, makeEndpoint, makeNetwork } from './firewall-world.ts'

const network = makeNetwork(0)
let host: Namespace
let agent: Agent
beforeAll(async () => {
  host = await Namespace.create('host', `/run/netns/fwp-${process.pid}`)
  await host.sh('ip link add br-0 type bridge && ip link set br-0 up')
  agent = new Agent(host)
})
afterAll(async () => {
  await agent.stop()
  await host.remove()
})

const port: fc.Arbitrary<PortMapping> = fc.record({
  protocol: fc.constantFrom('tcp' as const, 'udp' as const),
  hostIp: fc.constantFrom('0.0.0.0', '192.0.2.1', '198.51.100.1'),
  hostPort: fc.integer({ min: 80, max: 83 }),
  containerPort: fc.integer({ min: 8000, max: 8001 }),
})
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ publish: fc.nat(3), ports: fc.array(port, { minLength: 1, maxLength: 3 }) }) },
  { weight: 3, arbitrary: fc.record({ withdraw: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.constant({ reload: true }) },
)

/** Whether only one of two ports can be there. */
function clash(a: PortMapping, b: PortMapping): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false
  return a.hostIp === b.hostIp || a.hostIp === '0.0.0.0' || b.hostIp === '0.0.0.0'
}

const line = (port: PortMapping, container: string) =>
  `${port.protocol} ${port.hostIp} ${port.hostPort} -> ${container} ${port.containerPort}`

/** What the maps of IPv4 hold, without the markers that keep 0.0.0.0 off a port of single addresses. */
async function published(): Promise<string[]> {
  const lines: string[] = []
  for (const { map } of await host.nftJson()) {
    if (map?.name !== 'any4' && map?.name !== 'addr4') continue
    for (const [key, data] of map.elem ?? []) {
      const { concat } = key.elem?.val ?? key
      const words = map.name === 'any4' ? [concat[0], '0.0.0.0', concat[1]] : concat
      if (data.concat[0] !== '0.0.0.0') lines.push(`${words.join(' ')} -> ${data.concat.join(' ')}`)
    }
  }
  return lines.sort()
}

test('published ports are those of a plain list, whatever is published, refused, withdrawn and reloaded', async () => {
  let refused = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async steps => {
      const model = new Map<number, readonly PortMapping[]>()
      const endpoints = new Map([0, 1, 2, 3].map(n => [n, makeEndpoint(network, `c${n}`, n + 2, [])]))
      const endpointOf = (n: number, ports: readonly PortMapping[]) => {
        const endpoint = endpoints.get(n)
        if (endpoint === undefined) throw new Error(`no container ${n}`)
        return { ...endpoint, ports }
      }
      const withdraw = async (n: number) => {
        await agent.call('removeEndpoint', { network, endpoint: endpointOf(n, model.get(n) ?? []) })
        model.delete(n)
      }
      await agent.call('addNetwork', { network })
      for (const each of steps) {
        if ('reload' in each) await agent.call('reload')
        else if ('withdraw' in each) await withdraw(each.withdraw)
        else {
          const { publish, ports } = each
          if (model.has(publish)) await withdraw(publish)
          const others = [...model.values()].flat()
          const isRefused = ports.some((one, i) => [...others, ...ports.slice(0, i)].some(two => clash(one, two)))
          const { error } = await agent.try('addEndpoint', { network, endpoint: endpointOf(publish, ports) })
          expect(error !== undefined).toBe(isRefused)
          if (isRefused) refused += 1
          else model.set(publish, ports)
        }
        const expected = [...model].flatMap(([n, ports]) => ports.map(each => line(each, `10.210.0.${n + 2}`)))
        expect(await published()).toEqual(expected.sort())
      }
      for (const n of [...model.keys()]) await withdraw(n)
      await agent.call('removeNetwork', { network, others: [] })
      expect((await host.nftJson()).filter(object => object.table?.name === 'tsrun')).toEqual([])
    }),
    { numRuns: 15, endOnFailure: true },
  )
  expect(refused).toBeGreaterThan(3)
}, 120_000)
