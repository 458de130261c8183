// Every step of `network connect`, `network disconnect` and `update --publish-add` is made to fail once and to kill the
// client once: the container then is as before or as asked for, nothing is left over, and it goes on working.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Snapshot } from '../helpers/snapshot.ts'
import { addresses, World } from '../helpers/world.ts'

const changes = [
  {
    title: 'network connect',
    change: 'network connect --gw-priority 1 b web',
    back: 'network disconnect -f b web',
  },
  {
    title: 'network disconnect',
    prepare: 'network connect --ip 10.72.0.9 --gw-priority 1 b web',
    change: 'network disconnect b web',
    back: 'network disconnect -f b web',
  },
  {
    title: 'update --publish-add',
    change: 'update --publish-add 8090:80 web',
    back: 'update --publish-rm 8090:80 web',
  },
]

/** Where the next address is looked for, and what a container's record says of its last start. */
const ignore = [/ipam\/.*(last|next)/, /container\.json/, /run\.json/, /events/, /hosts/]

describe.each(changes)('$title', ({ prepare, change, back }) => {
  let world: World
  let steps: string[]

  beforeAll(async () => {
    world = await World.create()
    await world.ok(['network', 'create', '--subnet', '10.71.0.0/24', 'a'])
    await world.ok(['network', 'create', '--subnet', '10.72.0.0/24', 'b'])
    await world.serve('web', ['--network', 'a', '-p', '8080:80'])
    await start()
    const { stderr } = await world.tsrun(change.split(' '), { env: { ...world.env, TSRUN_FAULT: '*' } })
    steps = [...new Set([...stderr.matchAll(/^fault point: (.*)$/gm)].map(([, step = '']) => step))]
    await world.tsrun(back.split(' '))
  })
  afterAll(() => world?.dispose())

  const start = async () => {
    if (prepare !== undefined) await world.ok(prepare.split(' '))
  }

  /** The container answers on its port, its networks and its way out agree, and no port is held for nothing. */
  const judge = async (): Promise<string[]> => {
    // The next command clears away what was cut off.
    await world.ok(['ps'])
    const problems: string[] = []
    const page = await world.outside.curl(`http://${addresses.host}:8080/`)
    if (!page.body.startsWith('web sees')) problems.push(`port 8080 does not answer: ${page.status}`)
    const [{ NetworkSettings }] = await world.json(['inspect', 'web'])
    const onB = NetworkSettings.Networks.b !== undefined
    const routes = await world.ok(['exec', 'web', 'ip', 'route'])
    const gateway = /^default via (\S+)/m.exec(routes)?.[1]
    if (gateway !== (onB ? '10.72.0.1' : '10.71.0.1')) problems.push(`default via ${gateway}, on b: ${onB}`)
    if (routes.includes('10.72.0.0/24') !== onB) problems.push(`routes of b, on b: ${onB}`)
    const isPublished = (await world.ok(['port', 'web'])).includes(':8090')
    const second = await world.outside.curl(`http://${addresses.host}:8090/`)
    if (second.body.startsWith('web sees') !== isPublished) problems.push(`port 8090, published: ${isPublished}`)
    return problems
  }

  test.each(['fail', 'kill'])(
    'leaves nothing half done when any of its steps is made to %s',
    async kind => {
      expect(steps.length).toBeGreaterThan(4)
      const problems: string[] = []
      const before: Snapshot = await world.settled()
      for (const step of steps) {
        await start()
        const env = { ...world.env, TSRUN_FAULT: `${step}:${kind}` }
        await world.tsrun(change.split(' '), { env, timeoutMs: 20_000 })
        const found = await judge()
        await world.tsrun(back.split(' '))
        problems.push(...found.map(problem => `${step}: ${problem}`))
      }
      problems.push(...(await world.changesSince(before, { ignore })))
      expect(problems).toEqual([])
    },
    300_000,
  )
})
