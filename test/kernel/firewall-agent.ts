// Runs firewall and conntrack calls in the namespace it was started in, for firewall.test.ts: one JSON request on a line
// of stdin, one JSON answer on a line of stdout.

import { createInterface } from 'node:readline'
import { NftFirewall } from '../../src/drivers/firewall/nft-firewall.ts'
import { setExplainer } from '../../src/kernel/explain.ts'
import { Undo } from '../../src/lib/rollback.ts'
import { TsrunError } from '../../src/model/errors.ts'
import type { Endpoint, Network } from '../../src/model/network.ts'

interface Request {
  readonly call: 'addNetwork' | 'removeNetwork' | 'addEndpoint' | 'removeEndpoint' | 'reload' | 'undo' | 'engine'
  readonly engineId?: string
  readonly network?: Network
  readonly endpoint?: Endpoint
  readonly others?: Network[]
}

const networks = new Map<string, Network>()
const endpoints = new Map<string, Endpoint>()
const records = () => ({
  networks: [...networks.values()],
  endpoints: [...endpoints.values()],
  changing: [],
  starting: [],
  isComplete: true,
})
const beginRebuild = () => ({ end: () => {}, abandon: () => {} })
let firewall = new NftFirewall({ engineId: 'tsrun', records, beginRebuild })
let undo = new Undo()
let explained: string[] = []
setExplainer(command => explained.push(command))

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as Request
  explained = []
  const started = performance.now()
  let error: unknown
  try {
    await perform(request)
  } catch (thrown) {
    error = describe(thrown)
  }
  const milliseconds = performance.now() - started
  process.stdout.write(`${JSON.stringify({ error, milliseconds, explained })}\n`)
}

async function perform({ call, network, endpoint, others, engineId }: Request): Promise<void> {
  if (call === 'engine') firewall = new NftFirewall({ engineId: engineId ?? 'tsrun', records, beginRebuild })
  if (call === 'reload') await firewall.reload()
  if (call === 'undo') await undo.run()
  if (network === undefined) return
  if (call === 'addNetwork') {
    undo = new Undo()
    await firewall.addNetwork(network, undo)
    networks.set(network.id, network)
  }
  if (call === 'removeNetwork') {
    await firewall.removeNetwork(network, others ?? [])
    networks.delete(network.id)
    for (const { id, networkId } of endpoints.values()) if (networkId === network.id) endpoints.delete(id)
  }
  if (endpoint === undefined) return
  if (call === 'addEndpoint') {
    undo = new Undo()
    endpoints.set(endpoint.id, endpoint)
    try {
      await firewall.addEndpoint(network, endpoint, undo)
    } catch (error) {
      endpoints.delete(endpoint.id)
      throw error
    }
  }
  if (call === 'removeEndpoint') {
    await firewall.removeEndpoint(network, endpoint)
    endpoints.delete(endpoint.id)
  }
}

function describe(error: unknown): unknown {
  if (error instanceof TsrunError)
    return { kind: error.kind, code: error.code, message: error.message, hint: error.hint }
  return { message: String(error instanceof Error ? error.stack : error) }
}
