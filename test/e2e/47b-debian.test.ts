// What people run: a Debian root of several layers with nginx, python3 and redis, pushed, pulled and serving.

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, succeed } from '../helpers/command.ts'
import { debianArchive } from '../helpers/debian-image.ts'
import { Home, Registry } from '../helpers/registry.ts'
import { addresses, faceCommand, World } from '../helpers/world.ts'

let registry: Registry
let source: Home
let image: string
let archive: string

beforeAll(async () => {
  archive = await debianArchive()
  registry = await Registry.start()
  source = new Home({ timeoutMs: 120_000 })
  image = `${registry.host}/debian:services`
  await source.ok('load', '-q', '-i', archive)
  await source.ok('tag', 'debian:services', image)
  await source.ok('push', '-q', image)
}, 400_000)
afterAll(async () => {
  source?.remove()
  await registry?.stop()
})

describe('a Debian image', { timeout: 120_000 }, () => {
  test('is pulled in layers that umoci unpacks to the same tree', async () => {
    const home = new Home({ timeoutMs: 120_000 })
    await home.ok('pull', '-q', image)
    expect((await registry.manifest('debian', 'services')).document.layers).toHaveLength(3)

    await home.ok('create', '--name', 'c', '--net', 'none', image)
    await home.ok('export', '-o', join(home.dir, 'ours.tar'), 'c')
    const script = `skopeo copy -q --src-tls-verify=false docker://${image} oci:theirs:debian
      umoci unpack --image theirs:debian bundle && mkdir ours && tar -xpf ours.tar -C ours --xattrs --xattrs-include='*'
      for tree in ours bundle/rootfs; do (cd $tree; find . -mindepth 1 ! -type d -printf '%P %y %m %U %G %s %l %T@\\n' | sort
        find . -mindepth 1 -type d -printf '%P %m %U %G\\n' | sort; find . -type f -exec sha256sum {} + | sort) > $(basename $tree).list; done
      diff ours.list rootfs.list`
    expect(await succeed(['sh', '-ec', script], { cwd: home.dir, timeoutMs: 100_000 })).toBe('')
    home.remove()
  })

  test('serves a page of nginx through a published port, computes in python3, and its redis answers', async () => {
    const world = await World.create()
    // The registry is on the machine's loopback, which the world does not see: the store is filled from outside.
    await succeed([...faceCommand(), 'pull', '-q', image], { env: world.env, timeoutMs: 120_000 })

    const page = 'printf "from debian" > /var/www/html/index.html; exec nginx -g "daemon off;"'
    await world.ok(['run', '-d', '--name', 'web', '-p', '8080:80', image, 'sh', '-c', page])
    await world.ok(['run', '-d', '--name', 'db', image, 'redis-server', '--bind', '0.0.0.0', '--protected-mode', 'no'])

    await eventually('nginx answers the neighbour', async () => {
      const answer = await world.neighbour.sh(`curl -s -m 2 http://${addresses.host}:8080/ || true`)
      return answer.includes('from debian')
    })
    const sum = 'import sys, hashlib; print(sys.version_info[0], hashlib.sha256(b"x").hexdigest()[:8])'
    expect(await world.ok(['run', '--rm', image, 'python3', '-c', sum])).toBe('3 2d711642')
    const database = await world.addressOf('db')
    await eventually('redis answers', async () => {
      const { stdout } = await world.tsrun(['run', '--rm', image, 'redis-cli', '-h', database, 'ping'])
      return stdout === 'PONG\n'
    })
    // apt's own check of what is installed: links, owners and modes are those that the packages bring.
    expect(await world.ok(['run', '--rm', '--net', 'none', image, 'dpkg', '--audit'])).toBe('')
    await world.dispose()
  })
})
