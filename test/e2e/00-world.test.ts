// The simulated world itself: what the other end-to-end tests stand on.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { openTerminal } from '../helpers/terminal.ts'
import { addresses, inWorld, pageOf, pageServer, World } from '../helpers/world.ts'

describe('a world', () => {
  let world: World

  beforeAll(async () => {
    world = await World.create()
    for (const machine of [world.host, world.outside, world.neighbour]) {
      machine.start('busybox', [
        'sh',
        '-c',
        pageServer(machine.name, 8000).replaceAll('/tmp/www', `${world.dir}/tmp/${machine.name}`),
      ])
    }
    await eventually('the servers listen', async () => {
      const pages = await Promise.all(
        [world.host, world.outside, world.neighbour].map(machine => machine.curl('http://127.0.0.1:8000/')),
      )
      return pages.every(({ status }) => status === 200)
    })
  })
  afterAll(() => world.dispose({ leakCheck: false }))

  test('has an outside that reaches the host under its own address', async () => {
    const page = await world.outside.curl(`http://${addresses.host}:8000/`, { from: addresses.client })

    expect(page.body).toBe(pageOf('host', addresses.client))
  })

  test('has a host that reaches the outside through its default route', async () => {
    const page = await world.host.curl(`http://${addresses.server}:8000/`)

    expect(page.body).toBe(pageOf('outside', addresses.host))
  })

  test('has a neighbour on the LAN of the host', async () => {
    const page = await world.neighbour.curl(`http://${addresses.host}:8000/`)

    expect(page.body).toBe(pageOf('host', addresses.neighbour))
    expect(await world.host.ping(addresses.neighbour)).toBe(true)
  })

  test('speaks IPv6', async () => {
    expect((await world.outside.curl(`http://[${addresses.host6}]:8000/`)).status).toBe(200)
    expect((await world.host.curl(`http://[${addresses.server6}]:8000/`)).status).toBe(200)
  })

  test('has nothing of the machine that it runs on', async () => {
    const links = await world.host.ipJson('link', 'show')

    expect(links.map(link => link.ifname).sort()).toEqual(['eth0', 'lo'])
    expect(await world.host.nftJson()).toEqual([])
    expect(await world.host.sh('cat /proc/sys/net/ipv4/ip_forward')).toBe('0\n')
  })

  test('tells that nobody answers', async () => {
    const page = await world.outside.curl(`http://${addresses.host}:8001/`)

    expect(page).toEqual({ status: 0, body: '', code: 7 })
    expect(await world.host.ping('198.51.100.99')).toBe(false)
  })
})

describe('changesSince()', () => {
  test(
    'finds nothing when nothing changed',
    inWorld(async world => {
      expect(await world.changesSince(await world.snapshot())).toEqual([])
    }),
  )

  const leaks: [string, string, RegExp][] = [
    ['a link', 'ip link add left type bridge', /^link appeared: left/],
    ['an address', 'ip address add 10.1.2.3/24 dev eth0', /^address appeared: eth0 +inet 10\.1\.2\.3/],
    ['a route', 'ip route add 10.7.0.0/16 via 198.51.100.1', /^route appeared: 10\.7\.0\.0/],
    ['a rule', 'ip rule add fwmark 7 table 7', /^rule appeared: .*fwmark 0x7/],
    ['a table', 'nft add table ip left', /^nft appeared: table ip left/],
    ['a policy of legacy iptables', 'iptables-legacy -P FORWARD DROP', /^iptables-legacy appeared: :FORWARD DROP/],
    ['a kernel setting', 'echo 1 > /proc/sys/net/ipv4/ip_forward', /^sysctl appeared: net\/ipv4\/ip_forward:1/],
    ['a file', 'mkdir -p "$TSRUN_STATE"; echo > "$TSRUN_STATE/left"', /^file appeared: \/state\/left/],
  ]
  test.each(leaks)('finds %s, and dispose() fails for it', async (_, script, expected) => {
    const world = await World.create()
    const before = await world.snapshot()

    await world.host.sh(script)

    const changes = await world.changesSince(before, { timeoutMs: 0 })
    // Taken away before anything is asserted, so that a failure leaves nothing either.
    const disposed = await world.dispose({ timeoutMs: 0 }).catch(error => error)
    expect(changes).toContainEqual(expect.stringMatching(expected))
    expect(disposed).toMatchObject({ message: expect.stringContaining('left behind:') })
    expect(existsSync(world.dir)).toBe(false)
  })

  test(
    'finds a mount, and dispose() takes it away',
    inWorld(async world => {
      const target = join(world.root, 'mounted')
      mkdirSync(target, { recursive: true })
      const before = await world.snapshot()

      await world.host.sh(`mount -t tmpfs left ${target}`)

      expect(await world.changesSince(before, { timeoutMs: 0 })).toContainEqual(
        expect.stringMatching(/^mount appeared: .*mounted/),
      )
      await world.dispose({ leakCheck: false })
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(world.id)
      expect(existsSync(world.dir)).toBe(false)
    }),
  )

  test(
    'finds a process by its environment and by its namespace, and dispose() ends it',
    inWorld(async world => {
      const before = await world.snapshot()

      await world.host.sh('setsid sleep 1001 >/dev/null 2>&1 & env -i setsid sleep 1002 >/dev/null 2>&1 &')

      const expected = ['sleep 1001', 'sleep 1002'].map(name => expect.stringContaining(`process appeared: ${name}`))
      await eventually('both run', async () => (await world.changesSince(before, { timeoutMs: 0 })).length >= 2)
      expect((await world.changesSince(before, { timeoutMs: 0 })).sort()).toEqual(expected)
      await world.dispose({ leakCheck: false })
      await expect(world.outside.exec('true')).rejects.toThrow()
    }),
  )
})

describe('a terminal', () => {
  test(
    'has the size it was given, and tells the program when it changes',
    inWorld(async world => {
      writeFileSync(join(world.dir, 'show'), 'trap "stty size; exit 7" WINCH; stty size; while :; do sleep 0.05; done')

      const terminal = await openTerminal(['sh', join(world.dir, 'show')], {
        dir: world.dir,
        env: world.env,
        rows: 30,
        columns: 90,
      })
      await terminal.waitFor(/30 90/)
      await terminal.resize(31, 91)

      await terminal.waitFor(/31 91/)
      expect((await terminal.finished()).code).toBe(7)
    }),
  )

  test(
    'passes on what is typed, and Ctrl-C as a signal',
    inWorld(async world => {
      // A signal between fork and exec of a long sleep would be lost on both: short ones.
      const program = 'trap "exit 3" INT; read line; echo "got <$line>"; while :; do sleep 0.05; done'
      const terminal = await openTerminal(['sh', '-c', program], { dir: world.dir, env: world.env })

      terminal.type('hello\r')
      await terminal.waitFor(/got <hello>/)
      terminal.type('\x03')

      expect((await terminal.finished()).code).toBe(3)
    }),
  )

  test(
    'hangs up when it is closed',
    inWorld(async world => {
      const terminal = await openTerminal(
        ['sh', '-c', `trap 'echo > ${world.dir}/hung-up; exit' HUP; echo ready; while :; do sleep 0.05; done`],
        {
          dir: world.dir,
          env: world.env,
        },
      )
      await terminal.waitFor(/ready/)

      await terminal.close()

      await eventually('the program was told', () => existsSync(join(world.dir, 'hung-up')))
    }),
  )
})
