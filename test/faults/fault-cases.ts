// The commands that the fault matrix goes through. Each leaves its world as it found it: `prepare`, `command`, `clean`.

import { registry } from './prepare-world.ts'

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
  /** The container whose monitor is never killed: other cases need what it keeps. */
  readonly spared?: string
}

const running = 'run -d --name victim -net br -p 8080:80 -v data:/data busybox sleep 1000'
const stopped = 'create --name victim -net br --ip 10.51.0.77 -v /anonymous busybox true'
const removed = ['rm -f -v victim', 'volume rm -f data', 'volume prune -f']

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
    prepare: [stopped],
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
  {
    title: 'run on two networks',
    command: 'run --name victim -net br -net other --ip 10.51.0.77 -p 8080:80/udp busybox true',
    clean: removed,
  },
  { title: 'kill', prepare: [running], command: 'kill victim', clean: removed },
  { title: 'pause', prepare: [running], command: 'pause victim', clean: removed },
  { title: 'unpause', prepare: [running, 'pause victim'], command: 'unpause victim', clean: removed },
  {
    title: 'rename',
    prepare: [running],
    command: 'rename victim other-name',
    clean: ['rm -f -v other-name', ...removed],
  },
  {
    title: 'rename stopped',
    prepare: [stopped],
    command: 'rename victim other-name',
    clean: ['rm -f -v other-name', ...removed],
  },
  { title: 'update', prepare: [running], command: 'update -m 128m --cpus 0.5 --pids-limit 50 victim', clean: removed },
  { title: 'update --publish-rm', prepare: [running], command: 'update --publish-rm 80 victim', clean: removed },
  {
    title: 'network connect stopped',
    prepare: [stopped],
    command: 'network connect --ip 10.52.0.77 other victim',
    clean: removed,
  },
  {
    title: 'network disconnect stopped',
    prepare: [stopped, 'network connect --ip 10.52.0.77 other victim'],
    command: 'network disconnect other victim',
    clean: removed,
  },
  {
    title: 'network create --ipv6',
    command: 'network create --ipv6 --subnet 10.53.0.0/24 --subnet fd00:53::/64 made',
    clean: ['network rm made'],
  },
  {
    title: 'network create routed',
    command: 'network create -d routed --subnet 10.53.0.0/24 --peer 10.54.0.0/24=198.51.100.20 made',
    clean: ['network rm made'],
  },
  {
    title: 'network update',
    prepare: ['network create -d routed --subnet 10.53.0.0/24 --peer 10.54.0.0/24=198.51.100.20 made'],
    command: 'network update --peer-add 10.55.0.0/24=198.51.100.20 --peer-rm 10.54.0.0/24 made',
    clean: ['network rm made'],
  },
  { title: 'network reload', prepare: [running], command: 'network reload br', clean: removed },
  { title: 'cp to', prepare: [running], command: 'cp ../context victim:/copied', clean: removed },
  { title: 'cp from', prepare: [stopped], command: 'cp victim:/bin/busybox ../copied', clean: removed },
  {
    title: 'commit',
    prepare: [running],
    command: 'commit victim made',
    clean: [...removed, 'rmi -f made', 'image prune -f'],
  },
  { title: 'export', prepare: [stopped], command: 'export -o exported.tar victim', clean: removed },
  { title: 'import', command: 'import ../rootfs.tar made', clean: ['rmi -f made', 'image prune -f'] },
  { title: 'tag', command: 'tag busybox made', clean: ['rmi -f made', 'image prune -f'] },
  { title: 'save', command: 'save -o saved.tar busybox', clean: ['image prune -f'] },
  { title: 'rmi', prepare: ['load -q -i ../image.tar'], command: 'rmi app', clean: ['rmi -f app', 'image prune -f'] },
  {
    title: 'push',
    // Its configuration says when it was made: each time the registry gets something new.
    prepare: [stopped, `commit victim ${registry}/pushed:1`],
    command: `push -q ${registry}/pushed:1`,
    clean: [...removed, `rmi -f ${registry}/pushed:1`, 'image prune -f'],
  },
  {
    title: 'builder prune',
    prepare: ['build -q -t made ../context', 'rmi -f made'],
    command: 'builder prune -af',
    clean: ['builder prune -af', 'image prune -f'],
  },
  {
    title: 'system prune',
    spared: 'keeper',
    prepare: [
      // Who is on them keeps the networks that the other cases need.
      'run -d --name keeper -net br -net other busybox sleep 1000',
      stopped,
      'volume create made',
      'network create made',
      'load -q -i ../image.tar',
      'rmi -f app',
    ],
    command: 'system prune -f --volumes',
    clean: ['rm -f keeper', ...removed, 'volume rm made', 'network rm made', 'image prune -f'],
  },
]
