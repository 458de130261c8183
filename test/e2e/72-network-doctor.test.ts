// network doctor: each of many things is broken in turn, and it names the one that is - then what it says to do mends it.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { expectError } from '../helpers/expect.ts'
import { addresses, inWorld, World } from '../helpers/world.ts'

interface Step {
  readonly check: string
  readonly ok: boolean
  readonly evidence: string
  readonly remedy?: string
}

let world: World
let pid: string
let veth: string
let table: string

beforeAll(async () => {
  world = await World.create()
  await world.ok(['network', 'create', '--subnet', '192.168.0.0/24', 'br'])
  await world.ok(['network', 'create', '--subnet', '192.168.1.0/24', 'other'])
  await world.ok(['network', 'create', '--internal', '--subnet', '192.168.2.0/24', 'back'])
  await world.ok('run -d --name web -net br -p 80:80 busybox httpd -f -p 80'.split(' '))
  await world.ok('run -d --name db -net other busybox sleep 1000'.split(' '))
  await world.ok(['network', 'create', '--driver', 'ptp', '--subnet', '192.168.3.0/24', 'line'])
  await world.ok('run -d --name straight --network line busybox sleep 1000'.split(' '))
  await world.ok('run -d --name deep -net back busybox sleep 1000'.split(' '))
  pid = await world.ok(['inspect', '-f', '{{.State.Pid}}', 'web'])
  veth = JSON.parse(await world.ok(['network', 'graph', '--format', 'json', 'br'])).networks[0].endpoints[0].host.name
  table = (await world.host.exec('nft', ['list', 'tables'])).match(/tsrun-[0-9a-f]{8}/)?.[0] ?? ''
})
afterAll(() => world.dispose())

/** The first broken step, or undefined where everything is well. */
async function broken(args: readonly string[]): Promise<Step | undefined> {
  const { stdout, stderr, code } = await world.tsrun(['network', 'doctor', '--format', 'json', ...args])
  expect(stderr).toBe('')
  const steps: Step[] = JSON.parse(stdout).flatMap((diagnosis: { steps: Step[] }) => diagnosis.steps)
  const found = steps.find(step => !step.ok)
  expect(code).toBe(found === undefined ? 0 : 1)
  return found
}

const outside = addresses.server
/** What is broken, by which command, in which words it is found; `mend` where the printed command only shows more. */
const faults: readonly {
  readonly what: string
  readonly fault: () => string
  readonly args?: readonly string[]
  readonly found: () => RegExp
  readonly mend?: () => string
}[] = [
  {
    what: 'forwarding is off',
    fault: () => 'sysctl -w net.ipv4.ip_forward=0',
    found: () => /^forwarding: .*ip_forward is 0/,
  },
  {
    what: 'the bridge is down',
    fault: () => 'ip link set dev br down',
    found: () => /^interface of the network: "br" is down/,
  },
  {
    what: 'the bridge has lost its address',
    fault: () => 'ip address flush dev br',
    found: () => /^gateway address: "br" has not the address 192\.168\.0\.1\/24/,
  },
  {
    what: 'the bridge is gone',
    fault: () => 'ip link delete dev br',
    found: () => /^interface of the network: .*no interface "br"/,
  },
  {
    what: 'the veth is unplugged',
    fault: () => `ip link set ${veth} nomaster`,
    found: () => new RegExp(`^host end: "${veth}" is not plugged into "br"`),
  },
  {
    what: 'the host end is down',
    fault: () => `ip link set ${veth} down`,
    found: () => new RegExp(`^host end: "${veth}" is down`),
  },
  {
    what: 'the host end takes smaller packets',
    fault: () => `ip link set ${veth} mtu 1000`,
    found: () => /^mtu: the container sends up to 1500 bytes/,
  },
  {
    what: 'the interface in the container is down',
    fault: () => `nsenter -t ${pid} -n sh -c 'ip link set eth0 down'`,
    found: () => /^interface: "eth0" is down in the container/,
    mend: () => `nsenter -t ${pid} -n sh -c 'ip link set eth0 up; ip route add default via 192.168.0.1'`,
  },
  {
    what: 'the container has lost its address',
    fault: () => `nsenter -t ${pid} -n ip address delete 192.168.0.2/24 dev eth0`,
    found: () => /^address: "eth0" has not 192\.168\.0\.2\/24/,
    mend: () =>
      `nsenter -t ${pid} -n sh -c 'ip address add 192.168.0.2/24 dev eth0; ip route add default via 192.168.0.1'`,
  },
  {
    what: 'the container has no default route',
    fault: () => `nsenter -t ${pid} -n ip route delete default`,
    found: () => /^default route: the container has none/,
  },
  {
    what: 'the rule set was flushed',
    fault: () => 'nft flush ruleset',
    found: () => /^rules: the table inet \S+ is gone/,
  },
  {
    what: 'a chain was emptied',
    fault: () => `nft flush chain inet ${table} forward`,
    found: () => /^rules: the chain inet \S+ forward is empty/,
    mend: () => `nft delete table inet ${table}`,
  },
  {
    what: 'the port has lost its rule',
    fault: () => `nft flush map inet ${table} any4`,
    found: () => /^port 0\.0\.0\.0:80\/tcp: no rule leads it to web/,
    mend: () => `nft delete table inet ${table}`,
  },
  {
    what: 'the network is missing in a set',
    fault: () => `nft flush set inet ${table} subnets4`,
    found: () => /^rules: the set "subnets4" of inet \S+ lacks 192\.168/,
    mend: () => `nft delete table inet ${table}`,
  },
  {
    what: 'somebody routes the container away',
    fault: () => 'ip route add blackhole 192.168.0.2/32',
    found: () => /^route to the container: the host has a blackhole route for 192\.168\.0\.2/,
    mend: () => 'ip route delete blackhole 192.168.0.2/32',
  },
  {
    what: 'a routing rule prohibits it',
    fault: () => 'ip rule add from 192.168.0.0/24 prohibit',
    args: ['web', outside],
    found: () => /^route on the host: a routing rule prohibits/,
    mend: () => 'ip rule delete from 192.168.0.0/24 prohibit',
  },
  {
    what: 'a neighbour entry is wrong for good',
    fault: () => 'ip neighbour replace 192.168.0.2 lladdr 02:00:00:00:00:99 dev br nud permanent',
    found: () => /^neighbour entry: the host believes 192\.168\.0\.2 is at 02:00:00:00:00:99 for good/,
  },
  {
    what: 'a rule of somebody else drops it',
    fault: () =>
      "nft 'table inet stranger { chain late { type filter hook forward priority 50; ip daddr 192.0.2.0/24 drop; ip saddr 192.168.0.0/24 icmp type echo-request counter drop; }; }'",
    args: ['web', outside],
    found: () =>
      /^rules of the host: a rule of chain inet stranger late drops it: ip saddr 192\.168\.0\.0\/24 icmp .* drop/,
    mend: () => 'nft delete table inet stranger',
  },
  {
    what: 'a policy of somebody else drops what goes to the host',
    fault: () => "nft 'table inet stranger { chain in { type filter hook input priority 0; policy drop; }; }'",
    args: ['web', '192.168.0.1'],
    found: () => /^rules of the host: the policy of chain inet stranger in drops it/,
    mend: () => 'nft delete table inet stranger',
  },
  {
    what: 'the host does not forward what a ptp network sends',
    fault: () => 'sysctl -w net.ipv4.ip_forward=0',
    args: ['straight'],
    found: () => /^forwarding: .*ip_forward is 0/,
  },
  {
    what: 'somebody in the container flushed its rules, so that nobody gets the queries for names',
    fault: () => `nsenter -t ${pid} -n sh -c 'nft list ruleset > ${world.dir}/inside.nft; nft flush ruleset'`,
    found: () => /^names: port 53 of 127\.0\.0\.11 leads to nobody/,
    mend: () => `nsenter -t ${pid} -n nft -f ${world.dir}/inside.nft`,
  },
  {
    what: 'the resolver hangs',
    fault: () => `kill -STOP $(pgrep -P $(pgrep -f '^tsrun-dns ${world.state}'))`,
    found: () => /^names: 127\.0\.0\.11 does not answer/,
    mend: () => `kill -CONT $(pgrep -P $(pgrep -f '^tsrun-dns ${world.state}'))`,
  },
  {
    what: 'the host has no way out',
    fault: () => 'ip route del default',
    args: ['web', outside],
    found: () => /^route on the host: the host has no route to 203\.0\.113\.10/,
    mend: () => `ip route add default via ${addresses.router}`,
  },
]

describe('finds that', () => {
  test('everything is well', async () => {
    expect(await broken([])).toBeUndefined()
    expect(await broken(['web'])).toBeUndefined()
    expect(await broken(['web', outside])).toBeUndefined()
    expect(await broken(['web', '192.168.0.1'])).toBeUndefined()
  })

  for (const { what, fault, args = ['web'], found, mend } of faults)
    test(what, async () => {
      await world.host.sh(fault())

      const step = await broken(args)

      expect(`${step?.check}: ${step?.evidence}`).toMatch(found())
      const command = mend?.() ?? step?.remedy ?? 'false'
      if (command.startsWith('tsrun ')) await world.ok(command.split(' ').slice(1))
      else await world.host.sh(command)
      if (mend !== undefined) await world.ok(['network', 'reload'])
      await eventually('it is mended', async () => (await broken(args)) === undefined)
    })

  test('a FORWARD policy of DROP that came after the network', async () => {
    const page = async () => (await world.outside.curl(`http://${addresses.host}/`)).status
    await world.host.sh(
      "nft 'table ip stranger { chain forward { type filter hook forward priority 0; policy drop; }; }'",
    )
    expect(await page()).toBe(0)
    const step = await broken(['web'])
    expect(`${step?.check}: ${step?.evidence}`).toMatch(/^rules of others: the chain stranger forward drops/)
    expect(step?.remedy).toBe('tsrun network reload br')

    await world.ok(['network', 'reload', 'br'])

    expect(await broken(['web'])).toBeUndefined()
    expect(await page()).toBe(404)
    await world.host.sh('nft delete table ip stranger')
  })

  test(
    'the same in iptables-legacy',
    inWorld(async other => {
      await other.host.sh('iptables-legacy -L')
      await other.rebase()
      await other.ok(['network', 'create', 'br'])
      await other.ok('run -d --name web -net br busybox sleep 1000'.split(' '))
      await other.host.sh('iptables-legacy -P FORWARD DROP')

      const diagnosed = await other.tsrun(['network', 'doctor', 'web'])
      await other.ok(['network', 'reload'])
      const mended = await other.tsrun(['network', 'doctor', 'web'])

      expect(diagnosed.stdout).toMatch(/✗ rules of others .*legacy iptables chain FORWARD drops/)
      expect([diagnosed.code, mended.code]).toEqual([1, 0])
      await other.host.sh('iptables-legacy -P FORWARD ACCEPT')
    }),
  )

  test('networks are apart by design, and an internal one has no way out', async () => {
    expect((await broken(['web', 'db']))?.evidence).toMatch(
      /192\.168\.1\.2 is on network "other", and networks are kept apart/,
    )
    expect((await broken(['deep', outside]))?.evidence).toMatch(/network "back" is internal/)
  })

  test('a macvlan network is no network apart: its subnet is that of the LAN', async () => {
    const [uplink] = await world.host.ipJson('route', 'show', 'default')
    const lan = ['--subnet', '198.51.100.0/24', '--ip-range', '198.51.100.64/26', '-o', `parent=${uplink.dev}`, 'lan']
    await world.ok(['network', 'create', '--driver', 'macvlan', ...lan])
    expect(await broken(['web', addresses.neighbour])).toBeUndefined()
    await world.ok(['network', 'rm', 'lan'])
  })

  test('nobody is there, or nobody listens', async () => {
    expect((await broken(['web', '192.168.0.99']))?.evidence).toMatch(/no answer came|does not answer/)
    expect((await broken(['web', '192.168.0.1:9']))?.evidence).toMatch(/says no: nothing listens on port 9/)
  })

  test('the program listens on the loopback alone, or on another port', async () => {
    await world.ok('run -d --name shy -net br -p 81:81 busybox httpd -f -p 127.0.0.1:81'.split(' '))
    await world.ok('run -d --name wrong -net br -p 82:80 busybox httpd -f -p 8080'.split(' '))

    const evidence = async (name: string) => (await broken([name]))?.evidence ?? ''
    await eventually('shy listens', async () => /listens on 127\.0\.0\.1 alone/.test(await evidence('shy')))
    await eventually('wrong listens', async () =>
      /nothing listens on tcp port 80 in "wrong", but on 8080/.test(await evidence('wrong')),
    )
    await world.ok(['rm', '-f', 'shy', 'wrong'])
  })

  test('large packets vanish on a path that is narrower than it says', async () => {
    await world.host.sh(
      "nft 'table inet narrow { chain f { type filter hook forward priority 60; meta length > 1300 drop; }; }'",
    )
    // The trace is for the small packets: the size is what is left to find.
    expect((await broken(['web', outside]))?.evidence).toMatch(/small packets pass, those of 1500 bytes vanish/)
    await world.host.sh('nft delete table inet narrow')
  })
})

test(
  'refuses what cannot be looked at',
  inWorld(async other => {
    await other.ok(['create', '--name', 'idle', 'busybox', 'true'])
    await other.ok('run -d --name bare --network none busybox sleep 1000'.split(' '))

    expectError(await other.tsrun(['network', 'doctor', 'nobody']), 1, /no such container: "nobody"/)
    expectError(await other.tsrun(['network', 'doctor', 'idle']), 1, /cannot diagnose "idle": it is not running/)
    expectError(await other.tsrun(['network', 'doctor', 'bare']), 1, /it is on no network of tsrun/)
  }),
)
