// Network drivers of others: packages beside tsrun, and objects that a program brings along.

import { chmodSync, chownSync, cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { addresses, dist, inWorld, pageOf, type World } from '../helpers/world.ts'

const example = fileURLToPath(new URL('../../examples/network-driver/', import.meta.url))
const create = 'network create -d lan-bridge -o bridge=lan0 --subnet 198.51.100.0/24 --gateway 198.51.100.1'.split(' ')

/** Where `npm install --prefix ROOT/drivers` puts a driver's package. */
function folderOf(world: World, name: string): string {
  return join(world.root, 'drivers/node_modules', `tsrun-network-${name}`)
}

function install(world: World, name = 'lan-bridge'): string {
  cpSync(example, folderOf(world, name), { recursive: true })
  return folderOf(world, name)
}

/** A package with this code. */
function write(world: World, name: string, code: string): void {
  mkdirSync(folderOf(world, name), { recursive: true, mode: 0o700 })
  writeFileSync(join(folderOf(world, name), 'package.json'), '{"type":"module"}')
  writeFileSync(join(folderOf(world, name), 'index.js'), code)
}

/** Puts the host's interface into a bridge, as hosts of virtual machines have it. */
async function bridgeTheLan(world: World): Promise<void> {
  await world.host.sh(`
    ip link add lan0 type bridge; ip link set lan0 up; ip address flush dev eth0; ip link set eth0 master lan0
    ip address add ${addresses.host}/24 dev lan0; ip route add default via ${addresses.router}`)
  await world.rebase()
}

describe('a driver in a package of its own', () => {
  test(
    'carries packets: run, restart, kill, failure at any step, removal, without a trace',
    inWorld(async world => {
      await bridgeTheLan(world)
      install(world)
      await world.ok([...create, '--ip-range', '198.51.100.64/28', 'lan'])
      await world.serve('a', ['-net', 'lan', '--ip', '198.51.100.70'])

      expect((await world.neighbour.curl('http://198.51.100.70/')).body).toBe(pageOf('a', addresses.neighbour))
      const [{ Driver, Kernel }] = await world.json(['network', 'inspect', 'lan'])
      expect([Driver, Kernel]).toEqual(['lan-bridge', { bridge: 'lan0', state: 'up' }])
      await world.ok(['restart', '-t', '0', 'a'])
      const answers = async () => (await world.neighbour.curl('http://198.51.100.70/')).status
      await expect.poll(answers, { timeout: 10_000 }).toBe(200)
      expectError(
        await world.tsrun('run --rm -net lan -p 80:80 busybox true'.split(' ')),
        125,
        /cannot publish port 80 of .*\n {2}hint: leave -p out/,
      )
      await world.ok(['rm', '-f', 'a'])
      const before = await world.settled()
      for (const fault of ['add veth:fail', 'add veth:kill', 'configure sandbox:kill']) {
        const env = { ...world.env, TSRUN_FAULT: fault }
        const { code } = await world.tsrun('run --rm --name b -net lan busybox true'.split(' '), { env })
        expect(code, fault).not.toBe(0)
        await world.tsrun(['rm', '-f', 'b'])
        expect(await world.changesSince(before), fault).toEqual([])
      }
      await world.ok(['network', 'rm', 'lan'])
      rmSync(join(world.root, 'drivers'), { recursive: true })
    }),
  )

  test(
    'names the options of an endpoint that it knows; one that names none gets them all',
    inWorld(async world => {
      // Both are the example; these look at their options where docs/network-drivers.md says.
      const code = (name: string, property: string) => `
        import example from ${JSON.stringify(join(example, 'index.js'))}
        export default host => {
          const driver = example(host)
          driver.name = ${JSON.stringify(name)}
          driver.endpointOptions = ${property}
          driver.prepareEndpoint = async (network, endpoint) => {
            throw host.kit.error('invalid', 'seen', 'seen ' + JSON.stringify(endpoint.options))
          }
          return driver
        }`
      await bridgeTheLan(world)
      write(world, 'new', code('new', '["speed"]'))
      write(world, 'old', code('old', 'undefined'))
      install(world)
      const subnets = { new: '10.71.0.0/24', old: '10.72.0.0/24', 'lan-bridge': '10.73.0.0/24' }
      for (const [name, subnet] of Object.entries(subnets))
        await world.ok(['network', 'create', '-d', name, '-o', 'bridge=lan0', '--subnet', subnet, `n-${name}`])
      const run = (network: string, option: string) =>
        world.tsrun(['run', '--rm', '--network', `name=${network},driver-opt=${option}`, 'busybox', 'true'])

      expectError(await run('n-new', 'speed=9'), 125, /seen {"speed":"9"}/)
      expectError(
        await run('n-new', 'colour=red'),
        125,
        /cannot join network "n-new": its driver "new" knows no driver-opt "colour"\n {2}hint: known here are speed, sysctls/,
      )
      expectError(await run('n-old', 'colour=red'), 125, /seen {"colour":"red"}/)
      expectError(await run('n-old', 'sysctls=net.ipv4.ip_forward=1'), 125, /cannot set "net\.ipv4\.ip_forward=1"/)
      expectError(await run('n-lan-bridge', 'speed=9'), 125, /its driver "lan-bridge" knows no driver-opt "speed"/)
      const network = 'name=n-lan-bridge,driver-opt=sysctls=net.ipv4.conf.IFNAME.arp_ignore=2'
      const read = ['cat', '/proc/sys/net/ipv4/conf/eth0/arp_ignore']
      expect(await world.ok(['run', '--rm', '--network', network, 'busybox', ...read])).toBe('2')
      rmSync(join(world.root, 'drivers'), { recursive: true })
    }),
  )

  test(
    'that has gone leaves networks that can be listed, inspected and removed, but not used',
    inWorld(async world => {
      await bridgeTheLan(world)
      install(world)
      await world.ok([...create, 'lan'])
      await world.ok('run -d --name a -net lan busybox sleep 1000'.split(' '))
      rmSync(join(world.root, 'drivers'), { recursive: true })

      expect(await world.ok(['network', 'ls'])).toMatch(/lan +lan-bridge/)
      const [{ Kernel }] = await world.json(['network', 'inspect', 'lan'])
      expect(Kernel).toMatchObject({ state: 'driver missing', reason: 'unknown network driver "lan-bridge"' })
      expectError(
        await world.tsrun('run --rm -net lan busybox true'.split(' ')),
        125,
        /unknown network driver "lan-bridge"/,
      )
      await world.ok(['rm', '-f', 'a'])
      await world.ok(['network', 'rm', 'lan'])
    }),
  )

  test(
    'is loaded only from folders that nobody but root can change, never from the current one',
    inWorld(async world => {
      const work = join(world.dir, 'work')
      const refusal = (name: string) => world.tsrun(['network', 'create', '-d', name, 'new'], { cwd: work })
      cpSync(example, join(work, 'node_modules/tsrun-network-lan-bridge'), { recursive: true })
      expectError(
        await refusal('lan-bridge'),
        1,
        /unknown network driver "lan-bridge"\n {2}hint: the drivers are .*npm install/,
      )
      for (const name of ['../work', './lan-bridge', '/tmp/x', 'a b', '__proto__', 'constructor', 'x'.repeat(300)])
        expectError(await refusal(name), 1, /unknown network driver/)
      rmSync(join(work, 'node_modules'), { recursive: true })

      const folder = install(world)
      const denied =
        /cannot load the network driver "lan-bridge": refusing to load .* can be changed by others .*\n {2}hint: it runs as root: chown/
      chmodSync(join(folder, 'index.js'), 0o666)
      expectError(await refusal('lan-bridge'), 1, denied)
      chmodSync(join(folder, 'index.js'), 0o644)
      chownSync(join(folder, 'package.json'), 1234, 1234)
      expectError(await refusal('lan-bridge'), 1, denied)
      chownSync(join(folder, 'package.json'), 0, 0)
      chmodSync(join(world.root, 'drivers'), 0o777)
      expectError(await refusal('lan-bridge'), 1, denied)
      chmodSync(join(world.root, 'drivers'), 0o755)
      // A link to a folder that somebody else owns.
      mkdirSync(join(work, 'theirs'))
      cpSync(example, join(work, 'theirs/driver'), { recursive: true })
      chownSync(join(work, 'theirs'), 1234, 1234)
      rmSync(folder, { recursive: true })
      symlinkSync(join(work, 'theirs/driver'), folder)
      expectError(await refusal('lan-bridge'), 1, denied)
      rmSync(join(world.root, 'drivers'), { recursive: true })
      rmSync(join(work, 'theirs'), { recursive: true })
    }),
  )

  test(
    'that is none is refused with what is wrong with it, and nothing is changed',
    inWorld(async world => {
      write(world, 'throws', 'throw new Error("no such luck")')
      write(world, 'broken', 'export default {')
      write(world, 'object', 'export default {}')
      write(world, 'empty', 'export default () => ({ name: "other", connect: 1 })')
      write(world, 'options', 'export default () => ({ name: "options", endpointOptions: "speed" })')
      write(world, 'fails', 'export default () => { throw new Error("not today") }')
      mkdirSync(folderOf(world, 'nothing'), { recursive: true })
      const before = await world.snapshot()
      const refused: [string, RegExp][] = [
        ['throws', /cannot load the network driver "throws": no such luck/],
        ['broken', /cannot load the network driver "broken": /],
        ['object', /cannot load the network driver "object": its default export is no function/],
        ['fails', /cannot load the network driver "fails": not today/],
        ['options', /it is no network driver: .*endpointOptions is no array of strings/],
        ['nothing', /cannot load the network driver "nothing": .*package\.json/],
        [
          'empty',
          /it is no network driver: its name is "other", hasEndpoints is no boolean, validate is no function, .*connect is no function/,
        ],
      ]
      for (const [name, message] of refused)
        expectError(await world.tsrun(['network', 'create', '-d', name, 'new']), 1, message)
      expect(await world.changesSince(before)).toEqual([])
      rmSync(join(world.root, 'drivers'), { recursive: true })
    }),
  )
})

describe('a driver of a program', () => {
  test(
    'is used by its engine: Engine.open({ networkDrivers })',
    inWorld(async world => {
      await bridgeTheLan(world)
      const program = join(world.dir, 'work', 'program.mjs')
      writeFileSync(
        program,
        `import { Engine } from ${JSON.stringify(join(dist, 'lib/index.js'))}
        import lanBridge from ${JSON.stringify(join(example, 'index.js'))}
        const engine = await Engine.open({ networkDrivers: { 'lan-bridge': lanBridge }, libraryDir: ${JSON.stringify(dist)} })
        const pools = [{ subnet: '198.51.100.0/24', gateway: '${addresses.router}', ipRange: '198.51.100.64/28' }]
        await engine.networks.create({ name: 'lan', driver: 'lan-bridge', options: { bridge: 'lan0' }, pools })
        const command = ['ping', '-c', '1', '-W', '2', '${addresses.neighbour}']
        const networks = [{ network: 'lan' }]
        const job = await engine.containers.run({ image: 'busybox', command, networks, autoRemove: true })
        for await (const chunk of job.stdout) process.stdout.write(chunk)
        const strange = [{ network: 'lan', driverOptions: { speed: '9' } }]
        const refused = await engine.containers.run({ image: 'busybox', command, networks: strange, autoRemove: true })
          .then(() => 'ran', error => error.message)
        const code = await job.wait()
        await engine.networks.remove('lan')
        const clash = await Engine.open({ networkDrivers: { macvlan: lanBridge }, libraryDir: ${JSON.stringify(dist)} })
          .then(() => 'opened', error => error.message)
        console.log(JSON.stringify({ code, clash, refused }))
        await engine.close()`,
      )
      const { stdout, stderr } = await world.host.tryExec(process.execPath, [program], { env: world.env })

      const clash = 'cannot add the network driver "macvlan": tsrun has one of that name'
      const refused = 'cannot join network "lan": its driver "lan-bridge" knows no driver-opt "speed"'
      expect(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''), stderr).toEqual({ code: 0, clash, refused })
      expect(stdout).toContain('1 packets received')
      rmSync(program)
    }),
  )
})

describe('network connect and disconnect', () => {
  test(
    'work with every driver while the container runs, again and again',
    inWorld(async world => {
      await world.host.sh('ip link add nic0 type veth peer name far; ip link set nic0 up; ip link set far up')
      await world.ok('network create br'.split(' '))
      const lan = ['--subnet', '198.51.100.0/24', '--ip-range', '198.51.100.64/28']
      await world.ok(['network', 'create', '-d', 'macvlan', '-o', 'parent=eth0', ...lan, 'lan'])
      await world.ok('network create -d ptp --subnet 10.40.0.0/24 p'.split(' '))
      await world.ok('network create -d phys -o device=nic0 nic'.split(' '))
      await world.ok('run -d --name a --network br busybox sleep 1000'.split(' '))
      const hostLinks = async () => (await world.host.ipJson('link')).map(link => link.ifname).sort()
      const before = [await world.ok('exec a ip -o addr'.split(' ')), await hostLinks()]

      for (let round = 0; round < 2; round++) {
        await world.ok('network connect --ip 198.51.100.70 lan a'.split(' '))
        await world.ok('network connect --ip 10.40.0.9 p a'.split(' '))
        await world.ok('network connect nic a'.split(' '))
        expect(await world.neighbour.ping('198.51.100.70')).toBe(true)
        expect(await world.host.ping('10.40.0.9')).toBe(true)
        expect(await hostLinks()).not.toContain('nic0')
        for (const network of ['lan', 'p', 'nic']) await world.ok(['network', 'disconnect', network, 'a'])

        expect([await world.ok('exec a ip -o addr'.split(' ')), await hostLinks()]).toEqual(before)
      }
      await world.ok('network connect nic a'.split(' '))
      await world.ok(['rm', '-f', 'a'])
      expect(await hostLinks()).toContain('nic0')
      await world.host.sh('ip link del nic0')
    }),
  )
})
