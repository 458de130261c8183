// What the cases of the fault matrix and the clients of the storm find: networks, archives, a registry with an image.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from '../helpers/command.ts'
import type { World } from '../helpers/world.ts'

/** Where the registry of the world listens. */
export const registry = '127.0.0.1:5000'

/** Makes two networks, archives of an image and of a root file system, a registry with an image, and a build context. */
export async function prepareWorld(world: World): Promise<void> {
  const context = join(world.dir, 'context')
  mkdirSync(context)
  writeFileSync(join(context, 'Dockerfile'), 'FROM busybox\nCOPY file /file\nRUN echo made > /made\n')
  writeFileSync(join(context, 'file'), 'content\n')
  const settings = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { inmemory: {} },
    http: { addr: registry },
  }
  writeFileSync(join(world.dir, 'registry.yml'), JSON.stringify(settings))
  world.host.start('docker-registry', ['serve', join(world.dir, 'registry.yml')])
  await eventually(
    'the registry answers',
    async () => (await world.host.curl(`http://${registry}/v2/`)).status === 200,
    20_000,
  )
  await world.ok(['network', 'create', '--subnet', '10.51.0.0/24', 'br'])
  await world.ok(['network', 'create', '--subnet', '10.52.0.0/24', 'other'])
  // Once before, so that what the first network or container of a kind brings for good stands already.
  await world.ok(['network', 'create', '--ipv6', 'six'])
  await world.ok(['network', 'rm', 'six'])
  await world.ok(['run', '--rm', '-net', 'br', '-net', 'other', '-p', '8080:80', 'busybox', 'true'])
  await world.ok(['run', '--rm', 'busybox', 'true'])
  // Not the image that build makes: what load and pull bring must be new to the store.
  await world.ok(['run', '--name', 'maker', 'busybox', 'sh', '-c', 'echo app > /app'])
  await world.ok(['commit', 'maker', `${registry}/app:1`])
  await world.ok(['push', '-q', `${registry}/app:1`])
  await world.ok(['tag', `${registry}/app:1`, 'app'])
  await world.ok(['save', '-o', join(world.dir, 'image.tar'), 'app'])
  await world.ok(['export', '-o', join(world.dir, 'rootfs.tar'), 'maker'])
  await world.ok(['rm', 'maker'])
  await world.ok(['rmi', '-f', 'app', `${registry}/app:1`])
  await world.ok(['image', 'prune', '-f'])
}
