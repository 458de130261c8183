// Beside the host's own firewall: it goes on working and we with it; its administrator has the last word.

import { expect, test } from 'vitest'
import { startFirewalld, ufw } from '../helpers/host-firewalls.ts'
import { addresses, inWorld, type World } from '../helpers/world.ts'

const accept = 'tsrun: admitted by table inet tsrun'

const outsideReaches = async (world: World, port: number, from: string = addresses.server) =>
  (await world.outside.curl(`http://${addresses.host}:${port}/`, { timeoutSeconds: 1, from })).status === 200

const getsOut = async (world: World, flags: string[] = []) =>
  (await world.tsrun(['run', '--rm', ...flags, 'busybox', 'ping', '-c', '1', '-W', '1', addresses.server])).code === 0

test(
  'ufw, real: containers go out and are published; a route rule of its user still denies; with proxy its INPUT rules decide',
  inWorld(async world => {
    await ufw(world, `ufw --force enable; ufw allow 8081/tcp; ufw route deny from ${addresses.client}; ufw reload`)
    await world.rebase()
    await world.serve('web', ['-p', '8080:80'])
    await world.serve('guarded', ['-p', '8081:80', '-p', '8082:80', '--publish-mode', 'proxy'])
    const check = async () => {
      const found = [
        getsOut(world),
        outsideReaches(world, 8080),
        outsideReaches(world, 8080, addresses.client),
        outsideReaches(world, 8081),
        outsideReaches(world, 8082),
      ]
      expect(await Promise.all(found)).toEqual([true, true, false, true, false])
    }
    await check()

    await ufw(world, 'ufw reload')
    await world.ok(['network', 'reload'])
    await check()
    await world.ok(['rm', '-f', 'web', 'guarded'])
    await world.ok(['network', 'rm', 'bridge'])
    const forward = await world.host.sh('iptables -S FORWARD')
    expect(forward).toContain('-P FORWARD DROP')
    expect(forward).not.toContain(accept)
  }),
)

test(
  'firewalld, real: containers go out and are published, and `firewall-cmd --reload` is healed',
  inWorld(async world => {
    const firewalld = await startFirewalld(world)
    await firewalld.command('--zone=public', '--add-interface=eth0')
    await world.serve('web', ['-p', '8080:80'])
    expect(await Promise.all([outsideReaches(world, 8080), getsOut(world)])).toEqual([true, true])

    await firewalld.command('--reload')
    expect(await getsOut(world)).toBe(true)
    expect(await outsideReaches(world, 8080)).toBe(true)
    await firewalld.command('--reload')
    await world.ok(['network', 'reload', 'bridge'])
    expect((await world.tsrun(['exec', 'web', 'ping', '-c', '1', '-W', '1', addresses.server])).code).toBe(0)
    await world.ok(['rm', '-f', 'web'])
    await world.ok(['network', 'rm', 'bridge'])
    expect(await world.host.sh('nft list ruleset')).not.toContain('tsrun')
    await world.host.sh('nft flush ruleset')
  }),
)

test(
  'drops behind jumps, in nftables and in legacy iptables: ours goes right before them, and drops of certain packets stay',
  inWorld(async world => {
    const { host } = world
    for (const iptables of ['iptables-nft', 'iptables-legacy']) {
      await host.sh(`${iptables} -N STRICT; ${iptables} -N LAST
        ${iptables} -A FORWARD -s ${addresses.client} -j DROP
        ${iptables} -A FORWARD -j STRICT
        ${iptables} -A STRICT -m conntrack --ctstate INVALID -j RETURN
        ${iptables} -A STRICT -g LAST
        ${iptables} -A LAST -j LOG; ${iptables} -A LAST -j DROP`)
      await world.serve('web', ['-p', '8080:80'])

      const found = [outsideReaches(world, 8080), outsideReaches(world, 8080, addresses.client), getsOut(world)]
      expect(await Promise.all(found), iptables).toEqual([true, false, true])
      const rules = (await host.sh(`${iptables} -S FORWARD`)).trim().split('\n')
      expect(rules[2]).toContain(accept)
      expect(rules.filter(rule => rule.includes(accept))).toHaveLength(1)

      // Somebody puts a drop of everything before it.
      if (iptables === 'iptables-nft') {
        await host.sh('iptables-nft -I FORWARD -j LAST')
        await world.ok(['network', 'reload'])
        expect(await outsideReaches(world, 8080)).toBe(true)
        expect((await host.sh('iptables-nft -S FORWARD')).match(/tsrun: admitted/g)).toHaveLength(1)
      }
      await world.ok(['rm', '-f', 'web'])
      await world.ok(['network', 'rm', 'bridge'])
      expect(await host.sh(`${iptables} -S FORWARD`)).not.toContain(accept)
      await host.sh(`${iptables} -F; ${iptables} -X`)
    }
    await host.sh('nft delete table ip filter')
    await world.rebase()
  }),
)

test(
  'rules in table inet tsrun-user come before ours, see the port that was asked for, and survive everything of ours',
  inWorld(async world => {
    const { host } = world
    await world.serve('web', ['-p', '8080:80'])
    expect(await host.sh('nft list table inet tsrun-user')).toMatch(/hook forward priority filter - 10/)
    // An untouched one goes with the last network.
    await world.ok(['rm', '-f', 'web'])
    await world.ok(['network', 'rm', 'bridge'])
    expect(await host.sh('nft list tables')).not.toContain('tsrun')

    await world.ok(['network', 'create', 'one'])
    await world.ok(['network', 'create', 'two'])
    await world.serve('web', ['-net', 'one', '-p', '8080:80', '-p', '8081:80'])
    await world.serve('peer', ['-net', 'two'])
    const [web, peer] = [await world.addressOf('web'), await world.addressOf('peer')]
    await host.sh(`nft 'add rule inet tsrun-user forward ip saddr ${addresses.client} meta l4proto tcp ct original proto-dst 8080 drop'
      nft 'add rule inet tsrun-user forward ip saddr ${peer} ip daddr ${web} meta mark set meta mark | 0x02000000'`)
    const rules = await host.sh('nft list table inet tsrun-user')
    const check = async () => {
      const found = [8080, 8081].map(port => outsideReaches(world, port, addresses.client))
      expect(await Promise.all(found)).toEqual([false, true])
      expect(await outsideReaches(world, 8080)).toBe(true)
      // What is marked is admitted, here from one network to the other.
      const page = await world.tsrun(['exec', 'peer', 'timeout', '1', 'wget', '-q', '-O', '-', `http://${web}/`])
      expect(page.stdout).toMatch(/^web sees/)
    }
    await check()

    await host.sh('nft list tables | grep " tsrun-[0-9a-f]" | while read _ name; do nft delete table $name; done')
    await world.ok(['network', 'reload'])
    await check()
    await world.ok(['rm', '-f', 'web', 'peer'])
    await world.ok(['network', 'rm', 'one', 'two'])
    expect(await host.sh('nft list table inet tsrun-user')).toBe(rules)
    await host.sh('nft delete table inet tsrun-user')
  }),
)
