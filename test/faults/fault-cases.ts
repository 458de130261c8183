// The commands that the fault matrix goes through. Each leaves its world as it found it: `prepare`, `command`, `clean`.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from '../helpers/command.ts'
import type { World } from '../helpers/world.ts'

/** One command of the matrix; each line is split at spaces. */
export interface FaultCase {
  readonly title: string
  /** What must be there first. */
  readonly prepare?: readonly string[]
  readonly command: string
  /** Takes away what it made, and may fail. */
  readonly clean: readonly string[]
  /** Whether tsrun-init takes part, whose fault points are then tried as well. */
  readonly usesInit?: boolean
}

const running = 'run -d --name victim -net br -p 8080:80 -v data:/data busybox sleep 1000'
const removed = ['rm -f -v victim', 'volume rm -f data', 'volume prune -f']

/** Where the registry of the world listens. */
export const registry = '127.0.0.1:5000'

export const faultCases: readonly FaultCase[] = [
  {
    title: 'run',
    command: 'run --name victim -net br -p 8080:80 -m 64m -v /anonymous -v data:/data busybox true',
    clean: removed,
    usesInit: true,
  },
  { title: 'run -d', command: running, clean: removed, usesInit: true },
  { title: 'run --rm', command: 'run --rm --name victim -v /anonymous busybox true', clean: removed, usesInit: true },
  { title: 'create', command: 'create --name victim -net br --ip 10.51.0.77 busybox true', clean: removed },
  {
    title: 'start',
    prepare: ['create --name victim -net br -p 8080:80 busybox sleep 1000'],
    command: 'start victim',
    clean: removed,
    usesInit: true,
  },
  { title: 'exec', prepare: [running], command: 'exec victim true', clean: removed, usesInit: true },
  { title: 'stop', prepare: [running], command: 'stop -t 0 victim', clean: removed },
  { title: 'restart', prepare: [running], command: 'restart -t 0 victim', clean: removed },
  { title: 'rm -f', prepare: [running], command: 'rm -f -v victim', clean: removed },
  {
    title: 'rm',
    prepare: ['create --name victim -net br --ip 10.51.0.77 -v /anonymous busybox true'],
    command: 'rm -v victim',
    clean: removed,
  },
  { title: 'network create', command: 'network create --subnet 10.53.0.0/24 made', clean: ['network rm made'] },
  {
    title: 'network rm',
    prepare: ['network create --subnet 10.53.0.0/24 made'],
    command: 'network rm made',
    clean: ['network rm made'],
  },
  { title: 'network connect', prepare: [running], command: 'network connect other victim', clean: removed },
  {
    title: 'network disconnect',
    prepare: [running, 'network connect other victim'],
    command: 'network disconnect other victim',
    clean: removed,
  },
  { title: 'update --publish-add', prepare: [running], command: 'update --publish-add 8090:80 victim', clean: removed },
  { title: 'volume create', command: 'volume create made', clean: ['volume rm made'] },
  {
    title: 'volume rm',
    prepare: ['volume create made'],
    command: 'volume rm made',
    clean: ['volume prune -f', 'volume rm made'],
  },
  { title: 'load', command: 'load -q -i ../image.tar', clean: ['rmi -f app', 'image prune -f'] },
  {
    title: 'pull',
    command: `pull -q ${registry}/app:1`,
    clean: [`rmi -f ${registry}/app:1`, 'image prune -f'],
  },
  {
    title: 'build',
    command: 'build -q -t made ../context',
    // What a killed build leaves is cleared away by the next build.
    clean: ['build -q -t made ../context', 'rmi -f made', 'builder prune -af', 'image prune -f'],
    usesInit: true,
  },
]

/** Makes what the cases need: two networks, an archive, a registry with an image, and a build context. */
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
  // Once before, so that what a first container brings for good stands already.
  await world.ok(['run', '--rm', '-net', 'br', '-net', 'other', '-p', '8080:80', 'busybox', 'true'])
  await world.ok(['run', '--rm', 'busybox', 'true'])
  // Not the image that build makes: what load and pull bring must be new to the store.
  await world.ok(['run', '--name', 'maker', 'busybox', 'sh', '-c', 'echo app > /app'])
  await world.ok(['commit', 'maker', `${registry}/app:1`])
  await world.ok(['push', '-q', `${registry}/app:1`])
  await world.ok(['tag', `${registry}/app:1`, 'app'])
  await world.ok(['save', '-o', join(world.dir, 'image.tar'), 'app'])
  await world.ok(['rm', 'maker'])
  await world.ok(['rmi', '-f', 'app', `${registry}/app:1`])
  await world.ok(['image', 'prune', '-f'])
}
