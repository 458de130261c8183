// What a power cut leaves in the files that survive one, made by hand: the journal has gone with the state directory, and files that
// were not synced are there without their content. test/vm/power-loss.sh makes it with real disks.

import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { expectError } from '../helpers/expect.ts'
import { inWorld, type World } from '../helpers/world.ts'

const strayId = 'ab'.repeat(32)

describe('after a power cut', () => {
  test(
    'what was cut off is cleared away by the next command, and what was reported is there',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
      const kept = await world.ok([
        'create',
        '--name',
        'kept',
        '--network',
        'br',
        '--ip',
        '10.51.0.10',
        'busybox',
        'true',
      ])
      const half = await world.ok(['create', '--name', 'half', 'busybox', 'true'])
      const ended = await world.ok(['create', '--name', 'ended', 'busybox', 'true'])
      await world.ok(['start', '-a', 'ended'])
      const { root } = world
      // A record whose content never came to the disk, an exit that did not either.
      truncateSync(join(root, 'containers', half, 'container.json'))
      truncateSync(join(root, 'containers', ended, 'exit.json'))
      // A renaming, a removal and two creations of networks that were cut off.
      symlinkSync(kept, join(root, 'names', 'former'))
      symlinkSync(strayId, join(root, 'names', 'stray'))
      mkdirSync(join(root, 'ipam', '10.52.0.0_24'))
      writeFileSync(join(root, 'networks', `.${strayId}`), '')
      await losePower(world)

      const listed = await world.ok(['ps', '-a', '--format', '{{.Names}} {{.Status}}'])

      expect(
        listed
          .split('\n')
          .map(line => line.replace(/ \d.*| Less.*/, ''))
          .sort(),
      ).toEqual(['ended Exited (255)', 'kept Created'])
      expect(readdirSync(join(root, 'names')).sort()).toEqual(['ended', 'kept'])
      expect(readdirSync(join(root, 'networks'))).not.toContain(`.${strayId}`)
      expect(existsSync(join(root, 'containers', half))).toBe(false)
      expect(lstatSync(join(root, 'ipam', '10.51.0.0_24', '10.51.0.10')).isSymbolicLink()).toBe(true)
      await world.ok(['network', 'create', '--subnet', '10.52.0.0/24', 'again'])
      await world.ok(['rename', 'kept', 'former'])
    }),
  )

  test(
    'a container with --rm that ran is gone, with its address and its anonymous volume',
    inWorld(async world => {
      await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
      const flags = ['--rm', '--name', 'gone', '--network', 'br', '--ip', '10.51.0.9', '-v', '/data']
      const id = await world.ok(['run', '-d', ...flags, 'busybox', 'sleep', '1000'])
      const other = await world.ok(['run', '-d', '--name', 'other', 'busybox', 'sleep', '1000'])
      await losePower(world, [id, other])

      expectError(await world.tsrun(['start', 'gone']), 1, /no such container/)

      expect(await world.ok(['volume', 'ls', '-q'])).toBe('')
      expect(existsSync(join(world.root, 'ipam', '10.51.0.0_24', '10.51.0.9'))).toBe(false)
      expect(await world.ok(['inspect', '-f', '{{.State.ExitCode}}', 'other'])).toBe('255')
    }),
  )

  test.each([
    ['layers are unpacked again from their blobs', false],
    ['the embedded image comes again where its blobs are broken, too', true],
  ])('a container starts when its layers were not on the disk: %s', (_title, areBlobsBroken) =>
    inWorld(async world => {
      await world.ok(['create', '--name', 'box', 'busybox', 'echo', 'hello'])
      const { root } = world
      for (const layer of readdirSync(join(root, 'layers'))) {
        changeJson(join(root, 'layers', layer, 'layer.json'), { bootId: 'the last one', isSettled: false })
        truncateSync(join(root, 'layers', layer, 'fs', 'bin', 'busybox'))
      }
      for (const record of readdirSync(join(root, 'images', 'records')))
        changeJson(join(root, 'images', 'records', record), { bootId: 'the last one', isSettled: false })
      const blobs = join(root, 'images', 'blobs', 'sha256')
      if (areBlobsBroken) for (const blob of readdirSync(blobs)) truncateSync(join(blobs, blob))
      await losePower(world)

      expect(await world.ok(['start', '-a', 'box'])).toBe('hello')

      expect(await world.ok(['run', '--rm', 'busybox', 'echo', 'again'])).toBe('again')
    })(),
  )
})

function changeJson(path: string, change: object): void {
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }))
}

/** Nobody sees the containers end, and the state directory is memory: a boot finds nothing in it. */
async function losePower(world: World, running: readonly string[] = []): Promise<void> {
  for (const id of running) {
    const [{ State }] = await world.json(['inspect', id])
    const monitor = Number(await world.host.sh(`cut -d' ' -f4 /proc/${State.Pid}/stat`))
    // The monitor first: it must not see the end of its container.
    for (const pid of [monitor, State.Pid]) process.kill(pid, 'SIGKILL')
  }
  await sleep(200)
  await world.host.sh('nft flush ruleset; sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=1')
  rmSync(world.state, { recursive: true, force: true })
}
