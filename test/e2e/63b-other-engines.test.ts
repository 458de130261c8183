// Docker and podman on the same host: their containers go on working, and ours beside them. What they write is real: iptables-save
// of a host on which dockerd 20.10 (FORWARD policy DROP) and podman 4.3 (CNI) of Debian 12 each publish one container. The
// containers are namespaces of ours, so that the test needs neither.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../helpers/command.ts'
import { Namespace } from '../helpers/namespace.ts'
import { addresses, inWorld, pageServer, type World } from '../helpers/world.ts'

const engines = [
  {
    name: 'docker',
    rules: 'docker-20.10.rules',
    bridge: 'docker0',
    subnet: '172.17.0',
    port: 8083,
    iptables: ['iptables-nft', 'iptables-legacy'],
  },
  {
    name: 'podman',
    rules: 'podman-4.3.rules',
    bridge: 'cni-podman0',
    subnet: '10.88.0',
    port: 8084,
    iptables: ['iptables-nft'],
  },
] as const

/** The other engine's bridge and container, as its rules know them. */
async function bringUp(world: World, { name, bridge, subnet }: (typeof engines)[number]): Promise<Namespace> {
  const path = join(world.dir, 'netns', name)
  const theirs = await Namespace.create(name, path, world.env)
  await world.host.sh(`ip link add ${bridge} type bridge && ip address add ${subnet}.1/16 dev ${bridge}
    ip link set ${bridge} up
    ip link add their0 type veth peer name eth0 netns ${path} && ip link set their0 master ${bridge} up`)
  await theirs.sh(`ip address add ${subnet}.2/16 dev eth0 && ip link set eth0 up
    ip route add default via ${subnet}.1`)
  await serveFrom(world, theirs, name)
  return theirs
}

async function serveFrom(world: World, from: Namespace, name: string): Promise<void> {
  from.start('busybox', ['sh', '-c', pageServer(name).replaceAll('/tmp/www', `${world.dir}/${name}`)])
  await eventually(`${name} serves`, async () => (await page(from, '127.0.0.1')) !== '')
}

const page = async (from: Namespace, host: string, port = 80) =>
  (await from.curl(`http://${host}:${port}/`, { timeoutSeconds: 10 })).body

for (const engine of engines)
  for (const iptables of engine.iptables)
    test(
      `${engine.name} with ${iptables}: both are published and get out, whoever comes first, and its rules stay as they are`,
      inWorld(async world => {
        const { host, outside } = world
        const rules = readFileSync(new URL(`../golden/${engine.rules}`, import.meta.url), 'utf8')
        const restore = () => host.exec(`${iptables}-restore`, [], { input: rules })
        const clear = () =>
          host.sh(
            `${iptables} -F; ${iptables} -t nat -F; ${iptables} -X; ${iptables} -t nat -X; ${iptables} -P FORWARD ACCEPT`,
          )
        await host.sh('echo 1 > /proc/sys/net/ipv4/ip_forward')
        // What iptables makes with its first rules stays.
        await restore()
        await clear()
        await world.rebase()
        await serveFrom(world, outside, 'outside')
        const theirs = await bringUp(world, engine)
        await restore()
        const before = await host.sh(`${iptables} -S; ${iptables} -t nat -S`)
        const check = async () => {
          expect(await page(outside, addresses.host, engine.port)).toMatch(new RegExp(`^${engine.name} sees`))
          expect(await page(outside, addresses.host, 8080)).toMatch(/^web sees/)
          expect(await page(theirs, addresses.server)).toMatch(new RegExp(`^outside sees ${addresses.host}`))
          expect(await page(theirs, addresses.host, 8080)).toMatch(/^web sees/)
          const inside = (url: string) => world.ok(['exec', 'web', 'timeout', '10', 'wget', '-qO-', url])
          expect(await inside(`http://${addresses.server}/`)).toMatch(/^outside sees/)
          expect(await inside(`http://${addresses.host}:${engine.port}/`)).toMatch(new RegExp(`^${engine.name} sees`))
        }

        await world.serve('web', ['-p', '8080:80'])
        await check()
        // It starts anew while ours run, and takes our rule with it.
        await clear()
        await restore()
        await world.ok(['network', 'reload'])
        await check()

        await world.ok(['rm', '-f', 'web'])
        await world.ok(['network', 'rm', 'bridge'])
        expect(await host.sh(`${iptables} -S; ${iptables} -t nat -S`)).toBe(before)
        expect(await page(outside, addresses.host, engine.port)).toMatch(new RegExp(`^${engine.name} sees`))
        await theirs.remove()
        await clear()
        await host.sh(`ip link delete ${engine.bridge}`)
      }),
    )

for (const iptables of ['iptables-nft', 'iptables-legacy'])
  test(
    `docker with ${iptables}: who reached its containers before reaches them beside ours, and nobody else does`,
    inWorld(async world => {
      const { host, outside, neighbour } = world
      const [docker] = engines
      await host.sh('echo 1 > /proc/sys/net/ipv4/ip_forward')
      const rules = readFileSync(new URL(`../golden/${docker.rules}`, import.meta.url), 'utf8')
      const clear = () =>
        host.sh(
          `${iptables} -F; ${iptables} -t nat -F; ${iptables} -X; ${iptables} -t nat -X; ${iptables} -P FORWARD ACCEPT`,
        )
      // What iptables makes with its first rules stays.
      await host.exec(`${iptables}-restore`, [], { input: rules })
      await clear()
      await world.rebase()
      const theirs = await bringUp(world, docker)
      theirs.start('busybox', ['sh', '-c', pageServer('hidden', 81).replaceAll('/tmp/www', `${world.dir}/hidden`)])
      await eventually('hidden serves', async () => (await page(theirs, '127.0.0.1', 81)) !== '')
      await serveFrom(world, outside, 'outside')
      for (const from of [outside, neighbour]) await from.sh(`ip route add 172.17.0.0/16 via ${addresses.host}`)
      await host.exec(`${iptables}-restore`, [], { input: rules })
      const quickly = async (from: Namespace, address: string, port: number) =>
        (await from.curl(`http://${address}:${port}/`, { timeoutSeconds: 2 })).body.replace(/ sees .*\n/, '')
      const judged = async () => ({
        'outside to its address, published port': await quickly(outside, '172.17.0.2', 80),
        'outside to its address, another port': await quickly(outside, '172.17.0.2', 81),
        'neighbour to its address, another port': await quickly(neighbour, '172.17.0.2', 81),
        'neighbour to its published port': await quickly(neighbour, addresses.host, docker.port),
        'neighbour through the host to the world': await quickly(neighbour, addresses.server, 80),
        'host to its address, another port': await quickly(host, '172.17.0.2', 81),
        'its container to the world': await quickly(theirs, addresses.server, 80),
      })
      await neighbour.sh(`ip route add ${addresses.server} via ${addresses.host}`)
      const before = await judged()
      expect(before['outside to its address, another port']).toBe('')
      expect(before['neighbour through the host to the world']).toBe('')

      await world.serve('web', ['-p', '8080:80'])

      expect(await judged()).toEqual(before)
      expect(await page(outside, addresses.host, 8080)).toMatch(/^web sees/)
      // Ours are strangers to it like everybody else: they get where it lets them.
      const inside = (url: string) => world.tsrun(['exec', 'web', 'timeout', '2', 'wget', '-qO-', url])
      expect((await inside('http://172.17.0.2:81/')).stdout).toBe('')
      expect((await inside(`http://${addresses.host}:${docker.port}/`)).stdout).toMatch(/^docker sees/)
      expect((await inside(`http://${addresses.server}/`)).stdout).toMatch(/^outside sees/)
      expect(await page(theirs, addresses.host, 8080)).toMatch(/^web sees/)
      await world.ok(['rm', '-f', 'web'])
      await world.ok(['network', 'rm', 'bridge'])
      await theirs.remove()
      await clear()
      await host.sh(`ip link delete ${docker.bridge}`)
    }),
  )
