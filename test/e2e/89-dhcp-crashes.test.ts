// What is left of a leased address when something is killed: the command at any step, the monitor, the client, its keeper.

import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { eventually, sleep } from '../helpers/command.ts'
import { inLan, messagesOf, serveDhcp, watchDhcp } from '../helpers/dhcp.ts'
import { pidOf } from '../helpers/dns.ts'
import { addresses, pageOf, type World } from '../helpers/world.ts'

const create = 'network create -d macvlan -o parent=eth0 --ipam-driver dhcp lan'.split(' ')

async function setUp(world: World): Promise<void> {
  await serveDhcp(world, { first: '198.51.100.100', last: '198.51.100.109' })
  await world.ok('run --rm --network none busybox true'.split(' '))
  await world.ok(create)
}

const keepers = (world: World) => world.processes().filter(({ command }) => command.startsWith('tsrun-lease'))

/** The client in a container's network namespace. */
function clientOf(pid: number): number | undefined {
  const namespace = linkOf(`/proc/${pid}/ns/net`)
  const found = readdirSync('/proc').find(
    name => /^\d+$/.test(name) && linkOf(`/proc/${name}/ns/net`) === namespace && commandOf(name).includes('udhcpc'),
  )
  return found === undefined ? undefined : Number(found)
}

test(
  'a wiped state directory: the container keeps its address, and somebody renews it',
  inLan(async world => {
    await setUp(world)
    await world.serve('a', ['-net', 'lan'])
    const address = await world.addressOf('a')
    const [old] = keepers(world)

    rmSync(world.state, { recursive: true })
    await world.ok(['ps'])

    await eventually('there is another keeper', () => keepers(world).some(({ pid }) => pid !== old?.pid))
    const leaseOf = async () => (await world.json(['inspect', 'a']))[0].NetworkSettings.Networks.lan.Lease
    await eventually('it knows the lease', async () => (await leaseOf()) !== undefined)
    expect((await leaseOf()).Server).toBe(addresses.neighbour)
    expect(await world.addressOf('a')).toBe(address)
    expect((await world.neighbour.curl(`http://${address}/`)).body).toBe(pageOf('a', addresses.neighbour))
    await world.ok(['rm', '-f', 'a'])
    await eventually('both have ended', () => keepers(world).length === 0)
  }),
)

describe('kill -9', () => {
  test.each([
    'reserved:add macvlan:kill',
    'client:dhcp client:kill',
    'lease:dhcp lease:kill',
    'address:leased address:kill',
    'running:running record:kill',
    'go:go:kill',
    'client:dhcp client:fail',
    'address:leased address:fail',
  ])('of the command leaves nothing, and the lease is given back (%s)', step =>
    inLan(async world => {
      const fault = step.slice(step.indexOf(':') + 1)
      const said = await watchDhcp(world.neighbour)
      await setUp(world)
      const before = await world.settled()

      const { code } = await world.tsrun('run --name a -net lan busybox sleep 1000'.split(' '), {
        env: { ...world.env, TSRUN_FAULT: fault },
      })
      expect(code).not.toBe(0)
      await world.tsrun(['rm', '-f', 'a'])

      expect(await world.changesSince(before)).toEqual([])
      const kinds = () => messagesOf(said).map(({ kind }) => kind)
      if (/^(address|running|go)/.test(step)) await eventually('it is given back', () => kinds().includes('Release'))
    })(),
  )

  test.each(['dhcp client:kill', 'dhcp lease:kill', 'leased address:kill', 'connection record:kill'])(
    'of `network connect` leaves a container on all of the network or nothing of it (%s)',
    fault =>
      inLan(async world => {
        await setUp(world)
        await world.ok('network create br'.split(' '))
        await world.ok('run -d --name a -net br busybox sleep 1000'.split(' '))

        const env = { ...world.env, TSRUN_FAULT: fault }
        expect((await world.tsrun('network connect lan a'.split(' '), { env })).code).not.toBe(0)

        const [{ NetworkSettings }] = await world.json(['inspect', 'a'])
        const links = await world.ok('exec a ip -o link'.split(' '))
        const isOn = NetworkSettings.Networks.lan !== undefined
        expect(links.includes('eth1')).toBe(isOn)
        expect(keepers(world)).toHaveLength(isOn ? 1 : 0)
        if (isOn) expect(await world.neighbour.ping(NetworkSettings.Networks.lan.IPAddress)).toBe(true)
        else await world.ok('network connect lan a'.split(' '))
        await world.ok('network disconnect lan a'.split(' '))
      })(),
  )

  test(
    'of the monitor: the lease is given back with nobody there, and the next command clears up',
    inLan(async world => {
      const said = await watchDhcp(world.neighbour)
      await setUp(world)
      const before = await world.settled()
      await world.ok('run -d --name a -net lan busybox sleep 1000'.split(' '))
      const address = await world.addressOf('a')
      const pid = await pidOf(world, 'a')
      const monitor = Number(/^PPid:\t(\d+)$/m.exec(await world.host.exec('cat', [`/proc/${pid}/status`]))?.[1])

      process.kill(monitor, 'SIGKILL')

      await eventually('it is given back', () =>
        messagesOf(said).some(({ kind, client }) => kind === 'Release' && client === address),
      )
      await eventually('its keeper has ended', () => keepers(world).length === 0)
      await world.ok(['rm', '-f', 'a'])
      expect(await world.changesSince(before)).toEqual([])
    }),
  )

  test(
    'of the client, of its keeper: another one asks for the same address, and the container notices nothing',
    inLan(async world => {
      await setUp(world)
      await world.serve('a', ['-net', 'lan'])
      const address = await world.addressOf('a')
      const pid = await pidOf(world, 'a')
      const reaches = async () => (await world.neighbour.curl(`http://${address}/`)).body

      const client = clientOf(pid)
      process.kill(client ?? -1, 'SIGKILL')
      const next = await eventually('there is another client', () => {
        const found = clientOf(pid)
        return found === client ? undefined : found
      })
      expect(await reaches()).toBe(pageOf('a', addresses.neighbour))

      const [keeper] = keepers(world)
      process.kill(keeper?.pid ?? -1, 'SIGKILL')
      await eventually('the client has gone with it', () => clientOf(pid) === undefined)
      expect(next).toBeDefined()
      await world.ok(['ps'])
      await eventually('there are others', () => clientOf(pid) !== undefined && keepers(world).length === 1)
      await sleep(500)
      expect(await world.addressOf('a')).toBe(address)
      expect(await reaches()).toBe(pageOf('a', addresses.neighbour))
      await world.ok(['restart', '-t', '0', 'a'])
      expect(await world.addressOf('a')).toBe(address)
    }),
  )

  test(
    "the client is an unprivileged user with raw sockets, in the container's network namespace alone",
    inLan(async world => {
      await setUp(world)
      await world.ok('run -d --name a -net lan busybox sleep 1000'.split(' '))
      const client = clientOf(await pidOf(world, 'a'))
      const status = await world.host.exec('cat', [`/proc/${client}/status`])

      expect(status).toMatch(/^Uid:\t2000000067\t2000000067\t2000000067\t2000000067$/m)
      expect(status).toMatch(/^Groups:\t *$/m)
      // CAP_NET_BIND_SERVICE and CAP_NET_RAW.
      for (const set of ['CapEff', 'CapPrm', 'CapAmb'])
        expect(status).toMatch(new RegExp(`^${set}:\t0000000000002400$`, 'm'))
      expect(status).toMatch(/^NoNewPrivs:\t1$/m)
    }),
  )
})

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(join('/proc', pid, 'cmdline'), 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}
