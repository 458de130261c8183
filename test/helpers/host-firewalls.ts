// The firewalls of Debian hosts, real ones, in a world's host: ufw, and firewalld with a message bus of its own. What they
// write to /etc and /run is theirs alone: each runs in a mount namespace with copies.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from './command.ts'
import type { World } from './world.ts'

/** Runs ufw commands, one a line. The rules stay in the host's network namespace; the configuration in the world's folder. */
export async function ufw(world: World, commands: string): Promise<string> {
  return world.host.sh(`exec unshare -m --propagation private sh -ec '
    mkdir -p ${world.dir}/ufw/run
    test -e ${world.dir}/ufw/etc || cp -a /etc/ufw ${world.dir}/ufw/etc
    test -e ${world.dir}/ufw/default || cp -a /etc/default/ufw ${world.dir}/ufw/default
    mount --bind ${world.dir}/ufw/etc /etc/ufw
    mount --bind ${world.dir}/ufw/default /etc/default/ufw
    mount --bind ${world.dir}/ufw/run /run
    ${commands}'`)
}

export interface Firewalld {
  /** Runs firewall-cmd. */
  command(...args: string[]): Promise<string>
}

/** Starts firewalld; it ends with the world. */
export async function startFirewalld(world: World): Promise<Firewalld> {
  const folder = join(world.dir, 'firewalld')
  const bus = `unix:path=${folder}/bus`
  mkdirSync(join(folder, 'run'), { recursive: true })
  writeFileSync(
    join(folder, 'start'),
    `set -e
    cp -a /etc/firewalld ${folder}/etc
    mount --bind ${folder}/etc /etc/firewalld
    mount --bind ${folder}/run /run
    mount -t tmpfs tmpfs /var/log
    until test -S ${folder}/bus; do sleep 0.05; done
    export DBUS_SYSTEM_BUS_ADDRESS=${bus}
    exec firewalld --nofork --nopid`,
  )
  world.host.start('dbus-daemon', ['--session', `--address=${bus}`, '--nofork', '--nopidfile'])
  world.host.start('unshare', ['-m', '--propagation', 'private', 'sh', join(folder, 'start')])
  const command = (...args: string[]) =>
    world.host.exec('env', [`DBUS_SYSTEM_BUS_ADDRESS=${bus}`, 'firewall-cmd', ...args])
  const runs = () =>
    command('--state').then(
      state => state.startsWith('running'),
      () => false,
    )
  await eventually('firewalld runs', runs, 30_000)
  return { command }
}
