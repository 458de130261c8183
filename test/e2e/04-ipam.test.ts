// Addresses: which are given, when they come back, and that no two containers ever have the same.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { eventually, execute } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { inWorld, type World } from '../helpers/world.ts'

/** The address that a short-lived container of the network finds on its eth0. */
async function nextAddress(world: World, network: string): Promise<string> {
  const shown = await world.ok(['run', '--rm', '-net', network, 'busybox', 'ip', '-o', '-4', 'addr', 'show', 'eth0'])
  return shown.match(/inet ([\d.]+)/)?.[1] ?? shown
}

/** Names on `world.root`'s disk that end in `address`: who has it. */
async function owners(world: World, address: string): Promise<string[]> {
  const found = await execute(['find', world.root, '-name', address])
  return found.stdout.split('\n').filter(line => line !== '')
}

describe('an address', () => {
  test(
    'is never that of the network, the broadcast or the gateway, and a full pool is an error',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/29', '--gateway', '10.51.0.3', 'small'])

      const given: string[] = []
      for (let n = 0; n < 5; n++) {
        await world.ok(['run', '-d', '--name', `c${n}`, '-net', 'small', 'busybox', 'sleep', '1000'])
        given.push(await world.addressOf(`c${n}`))
      }
      const before = await world.settled()
      const result = await world.tsrun(['run', '-d', '-net', 'small', 'busybox', 'sleep', '1000'])

      expect(given.sort()).toEqual(['10.51.0.1', '10.51.0.2', '10.51.0.4', '10.51.0.5', '10.51.0.6'])
      expectError(
        result,
        125,
        /10\.51\.0\.0\/29.*(no free|full|exhausted|taken)|(no free|full|exhausted|taken).*10\.51\.0\.0\/29/,
      )
      expect(await world.changesSince(before)).toEqual([])
    }),
  )

  test(
    'can be had from a /30, once',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/30', 'tiny'])

      expect(await nextAddress(world, 'tiny')).toBe('10.51.0.2')
      expect(await nextAddress(world, 'tiny')).toBe('10.51.0.2')
    }),
  )

  test(
    'of a container that was removed while nobody could read the record of its network can be had again when it is repaired',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
      const record = join(world.root, 'networks', 'br.json')
      const whole = readFileSync(record, 'utf8')
      const create = ['create', '--name', 'c', '-net', 'br', '--ip', '10.51.0.77', 'busybox', 'true']
      // The next command gives it back, or, where the record is still damaged then, whoever wants it.
      for (const between of [[], ['ps']]) {
        await world.ok(create)
        writeFileSync(record, whole.slice(0, 20))
        await world.ok(['rm', 'c'])
        for (const command of between) await world.ok([command])
        writeFileSync(record, whole)
        expect(await owners(world, '10.51.0.77')).toHaveLength(1)
        if (between.length === 0) {
          await world.ok(['ps'])
          expect(await owners(world, '10.51.0.77')).toEqual([])
        }
        await world.ok(create)
        await world.ok(['rm', 'c'])
      }
      expect(await owners(world, '10.51.0.77')).toEqual([])
    }),
  )

  test(
    'is not given again at once',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])

      expect(await nextAddress(world, 'br')).toBe('10.51.0.2')
      expect(await nextAddress(world, 'br')).toBe('10.51.0.3')
      expect(await nextAddress(world, 'br')).toBe('10.51.0.4')
    }),
  )

  test(
    'may end in 0 or 255 inside a /16, but for the first and the last',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.52.0.0/16', '--ip-range', '10.52.0.254/31', 'edge'])
      await world.ok(['network', 'create', '--subnet', '10.53.0.0/16', '--ip-range', '10.53.1.0/31', 'next'])
      await world.ok(['network', 'create', '--subnet', '10.54.0.0/16', '--ip-range', '10.54.255.254/31', 'end'])
      const given = async (network: string) => [await nextAddress(world, network), await nextAddress(world, network)]

      expect(await given('edge')).toEqual(['10.52.0.254', '10.52.0.255'])
      expect(await given('next')).toEqual(['10.53.1.0', '10.53.1.1'])
      expect(await given('end')).toEqual(['10.54.255.254', '10.54.255.254'])
    }),
  )

  test(
    'can be asked for with --ip, and is refused when taken, naming who has it',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
      await world.ok(['run', '-d', '--name', 'holder', '-net', 'br', '--ip', '10.51.0.77', 'busybox', 'sleep', '1000'])

      expect(await world.addressOf('holder')).toBe('10.51.0.77')
      const taken = await world.tsrun(['run', '-net', 'br', '--ip', '10.51.0.77', 'busybox', 'true'])
      expectError(taken, 125, /10\.51\.0\.77.*holder/)
      for (const wrong of ['10.51.0.0', '10.51.0.1', '10.51.0.255', '10.99.0.1', 'x']) {
        expectError(await world.tsrun(['run', '-net', 'br', '--ip', wrong, 'busybox', 'true']), 125, new RegExp(wrong))
      }
    }),
  )
})

describe('an address comes back', () => {
  const endings: [string, (world: World) => Promise<void>][] = [
    [
      'when the container ends',
      async world => {
        await world.ok(['run', '-net', 'br', 'busybox', 'true'])
      },
    ],
    [
      'when a detached container ends with nobody watching',
      async world => {
        await world.ok(['run', '-d', '-net', 'br', 'busybox', 'true'])
        await eventually('its process has ended', async () => (await world.ok(['ps', '-q'])) === '')
      },
    ],
    [
      'when the container is killed',
      async world => {
        await world.ok(['run', '-d', '--name', 'c', '-net', 'br', 'busybox', 'sleep', '1000'])
        await world.ok(['kill', 'c'])
      },
    ],
    [
      'when the command is not there',
      async world => {
        expect((await world.tsrun(['run', '-net', 'br', 'busybox', 'nonsense'])).code).toBe(127)
      },
    ],
    [
      'when the container process is killed with its monitor',
      async world => {
        await world.ok(['run', '-d', '--name', 'c', '-net', 'br', 'busybox', 'sleep', '1000'])
        const [{ State }] = await world.json(['inspect', 'c'])
        await world.host.sh(`
          monitor=$(awk '{ print $4 }' /proc/${State.Pid}/stat)
          kill -9 "$monitor" ${State.Pid}`)
        await world.tsrun(['ps', '-a'])
        await world.tsrun(['rm', '-f', 'c'])
      },
    ],
  ]
  test.each(endings)('%s', (_, end) =>
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/30', 'br'])

      await end(world)

      // The only address there is.
      expect(await nextAddress(world, 'br')).toBe('10.51.0.2')
      expect(await owners(world, '10.51.0.2')).toEqual([])
    })(),
  )
})

test(
  '200 starts from 8 processes at once give 200 different addresses',
  inWorld(async world => {
    await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
    await world.ok(['run', '--rm', '-net', 'br', 'busybox', 'true'])
    const loop = `for n in $(seq 25); do
        "$@" run -d -net br --label test=many busybox sleep 1000 || echo "failed"
      done`
    const command = world.tsrunCommand([])

    const loops = await Promise.all(
      Array.from({ length: 8 }, () =>
        execute(['sh', '-c', loop, 'sh', ...command], { env: world.env, timeoutMs: 120_000 }),
      ),
    )

    const ids = loops.flatMap(({ stdout }) => stdout.split('\n')).filter(line => line !== '')
    expect(loops.map(({ stderr }) => stderr).join('')).toBe('')
    expect(new Set(ids).size).toBe(200)
    const containers = await world.json(['inspect', ...ids])
    // biome-ignore lint/suspicious/noExplicitAny: foreign JSON
    const given = containers.map((container: any) => container.NetworkSettings.Networks.br.IPAddress)
    expect(new Set(given).size).toBe(200)
    // The kernel agrees.
    const shown = await Promise.all(
      containers
        .slice(0, 20)
        // biome-ignore lint/suspicious/noExplicitAny: foreign JSON
        .map((container: any) =>
          execute(['nsenter', `--net=/proc/${container.State.Pid}/ns/net`, 'ip', '-o', '-4', 'addr', 'show', 'eth0']),
        ),
    )
    for (const [index, { stdout }] of shown.entries()) expect(stdout).toContain(` ${given[index]}/24 `)
    await world.ok(['rm', '-f', ...ids], { timeoutMs: 120_000 })
    expect(await world.leakCheck({ timeoutMs: 10_000 })).toEqual([])
  }),
  300_000,
)
