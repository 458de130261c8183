import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { rewriteGoStyle } from '../../src/cli/args.ts'
import { addContainerFlags, parsePairs, toContainerSpec } from '../../src/cli/container-flags.ts'
import type { ContainerSpec } from '../../src/model/container.ts'
import { TsrunError } from '../../src/model/errors.ts'

const folders: string[] = []

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
  delete process.env.TSRUN_TEST_FROM_HERE
})

/** The spec that `tsrun create WORDS` asks for. */
function specOf(...words: string[]): ContainerSpec {
  const command = new Command('create').argument('<image>').argument('[command...]').passThroughOptions()
  addContainerFlags(command)
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} })
    .action(() => {})
  command.parse(rewriteGoStyle(command, words), { from: 'user' })
  return toContainerSpec(command.opts(), command.args)
}

function fileWith(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsrun-flags-'))
  folders.push(folder)
  const file = join(folder, 'file')
  writeFileSync(file, text)
  return file
}

test('the line of the task becomes its spec', () => {
  expect(specOf('-net', 'br', '-p', '80:80', 'busybox', 'sh')).toMatchObject({
    image: 'busybox',
    command: ['sh'],
    networks: [{ network: 'br' }],
    publish: [{ protocol: 'tcp', hostIp: '0.0.0.0', hostPort: 80, containerPort: 80 }],
  })
})

test('toContainerSpec() asks for nothing that was not said', () => {
  const spec = specOf('busybox')

  expect(spec).toMatchObject({
    image: 'busybox',
    env: [],
    labels: {},
    tty: false,
    openStdin: false,
    init: false,
    autoRemove: false,
    networks: [{ network: 'bridge' }],
    publish: [],
    publishAll: false,
    mounts: [],
    readonlyRootfs: false,
    resources: {},
    privileged: false,
    log: { driver: 'json-file', maxSizeBytes: 0, maxFiles: 1 },
  })
  for (const name of [
    'command',
    'entrypoint',
    'name',
    'workingDir',
    'user',
    'hostname',
    'restart',
    'healthcheck',
    'stopSignal',
  ])
    expect(spec).not.toHaveProperty(name)
})

const cases: readonly (readonly [words: readonly string[], spec: Partial<ContainerSpec>])[] = [
  [
    ['-it', '--rm', '--init', '--privileged', '--read-only', '-P'],
    {
      tty: true,
      openStdin: true,
      autoRemove: true,
      init: true,
      privileged: true,
      readonlyRootfs: true,
      publishAll: true,
    },
  ],
  [['--tty=false', '-i=true'], { tty: false, openStdin: true }],
  [['-name', 'web', '-h', 'web1', '--domainname', 'lan'], { name: 'web', hostname: 'web1', domainname: 'lan' }],
  [
    ['-w', '/srv', '-u', 'www:www', '--group-add', 'audio', '--group-add', '44'],
    { workingDir: '/srv', user: 'www:www', groupAdd: ['audio', '44'] },
  ],
  [['--entrypoint', '/bin/sh'], { entrypoint: ['/bin/sh'] }],
  [['--entrypoint', ''], { entrypoint: [] }],
  [['--entrypoint='], { entrypoint: [] }],
  [['-e', 'A=1', '-e', 'B=x=y', '-e', 'C='], { env: ['A=1', 'B=x=y', 'C='] }],
  [['-l', 'a=1', '--label', 'b', '-l', 'c=x=y', '-l', 'a=2'], { labels: { a: '2', b: '', c: 'x=y' } }],
  [
    ['--net', 'a', '--net', 'b', '--ip', '10.0.0.9', '--mac-address', '02:42:00:00:00:01'],
    { networks: [{ network: 'a', ip: '10.0.0.9', mac: '02:42:00:00:00:01' }, { network: 'b' }] },
  ],
  [
    ['--network', 'name=a,ip=10.0.0.9,mac=02:42:00:00:00:01'],
    { networks: [{ network: 'a', ip: '10.0.0.9', mac: '02:42:00:00:00:01' }] },
  ],
  [['--network', 'name=a,mac-address=02:42:00:00:00:01'], { networks: [{ network: 'a', mac: '02:42:00:00:00:01' }] }],
  [['--net', 'host'], { networks: [{ network: 'host' }] }],
  [['--net', 'container:web'], { networks: [{ network: 'container:web' }] }],
  [['--expose', '80', '--expose', '53/udp'], { expose: ['80', '53/udp'] }],
  [
    ['-v', 'data:/d:ro', '--mount', 'type=tmpfs,target=/t', '--tmpfs', '/u'],
    {
      mounts: [
        { type: 'volume', source: 'data', target: '/d', readonly: true },
        { type: 'tmpfs', source: '', target: '/t', readonly: false, data: '' },
        { type: 'tmpfs', source: '', target: '/u', readonly: false, data: '' },
      ],
    },
  ],
  [
    ['-m', '512m', '--memory-swap', '-1', '--memory-reservation', '256m'],
    { resources: { memoryBytes: 512 * 2 ** 20, memorySwapBytes: -1, memoryReservationBytes: 256 * 2 ** 20 } },
  ],
  [
    ['--cpus', '1.5', '-c', '512', '--cpuset-cpus', '0-1', '--cpuset-mems', '0'],
    { resources: { cpus: 1.5, cpuShares: 512, cpusetCpus: '0-1', cpusetMems: '0' } },
  ],
  [
    ['--cpu-quota', '50000', '--cpu-period', '100000', '--pids-limit', '-1', '--blkio-weight', '500'],
    { resources: { cpuQuotaUs: 50000, cpuPeriodUs: 100000, pidsLimit: -1, blkioWeight: 500 } },
  ],
  [
    ['--ulimit', 'nofile=1024:2048', '--ulimit', 'core=0', '--ulimit', 'memlock=unlimited'],
    {
      ulimits: [
        { name: 'nofile', soft: 1024, hard: 2048 },
        { name: 'core', soft: 0, hard: 0 },
        { name: 'memlock', soft: -1, hard: -1 },
      ],
    },
  ],
  [['--shm-size', '128m', '--oom-score-adj', '-500'], { shmSizeBytes: 128 * 2 ** 20, oomScoreAdj: -500 }],
  [
    ['--cap-add', 'NET_ADMIN', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'],
    { capAdd: ['NET_ADMIN'], capDrop: ['ALL'], securityOpt: ['no-new-privileges'] },
  ],
  [['--sysctl', 'net.ipv4.ip_forward=1'], { sysctls: { 'net.ipv4.ip_forward': '1' } }],
  [
    ['--dns', '1.1.1.1', '--dns-search', 'lan', '--dns-option', 'ndots:1'],
    { dns: ['1.1.1.1'], dnsSearch: ['lan'], dnsOptions: ['ndots:1'] },
  ],
  [
    ['--add-host', 'db:10.0.0.5', '--add-host', 'six:[::1]', '--add-host', 'h=host-gateway'],
    { extraHosts: ['db:10.0.0.5', 'six:::1', 'h:host-gateway'] },
  ],
  [
    ['--pid', 'host', '--ipc', 'container:a', '--uts', 'host'],
    { pidMode: 'host', ipcMode: 'container:a', utsMode: 'host' },
  ],
  [['--stop-signal', 'SIGINT', '--stop-timeout', '3'], { stopSignal: 'SIGINT', stopTimeoutSeconds: 3 }],
  [
    ['--log-opt', 'max-size=10m', '--log-opt', 'max-file=3'],
    { log: { driver: 'json-file', maxSizeBytes: 10 * 2 ** 20, maxFiles: 3 } },
  ],
  [['--log-driver', 'none'], { log: { driver: 'none', maxSizeBytes: 0, maxFiles: 1 } }],
  [['--restart', 'on-failure:3'], { restart: { name: 'on-failure', maximumRetryCount: 3 } }],
  [['--restart', 'always'], { restart: { name: 'always', maximumRetryCount: 0 } }],
  [['--restart', 'no', '--rm'], { restart: { name: 'no', maximumRetryCount: 0 }, autoRemove: true }],
  [
    ['--device', '/dev/snd', '--device', '/dev/a:/dev/b:r', '--device', '/dev/c:rw'],
    {
      devices: [
        { hostPath: '/dev/snd', path: '/dev/snd', access: 'rwm' },
        { hostPath: '/dev/a', path: '/dev/b', access: 'r' },
        { hostPath: '/dev/c', path: '/dev/c', access: 'rw' },
      ],
    },
  ],
  [['--volumes-from', 'a:ro'], { volumesFrom: ['a:ro'] }],
  [['--no-healthcheck'], { healthcheck: { Test: ['NONE'] } }],
  [
    ['--health-cmd', 'true', '--health-interval', '1m30s', '--health-retries', '5'],
    { healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 90e9, Retries: 5 } },
  ],
]

test.each(cases)('flags %j become %j', (words, spec) => {
  expect(specOf(...words, 'busybox')).toMatchObject(spec)
})

const refused: readonly (readonly [words: readonly string[], reason: RegExp])[] = [
  [['-p', '99999:80'], /cannot publish "99999:80"/],
  [['-v', '/a:/'], /cannot mount "\/a:\/"/],
  [['--mount', 'type=bind,target=/b'], /cannot mount "type=bind,target=\/b"/],
  [['--tmpfs', 'run'], /cannot mount "run"/],
  [['-m', 'much'], /"much" for --memory/],
  [['--cpus', '-1'], /"-1" for --cpus/],
  [['--pids-limit', '1.5'], /"1\.5" for --pids-limit/],
  [['--oom-score-adj', '1001'], /"1001" for --oom-score-adj/],
  [['--stop-timeout', 'x'], /"x" for --stop-timeout/],
  [['--shm-size', '1q'], /"1q" for --shm-size/],
  [['--ulimit', 'nofile'], /"nofile" for --ulimit/],
  [['--ulimit', 'NOFILE=1'], /"NOFILE=1" for --ulimit/],
  [['--ulimit', 'nofile=1:2:3'], /"nofile=1:2:3" for --ulimit/],
  [['-l', '=x'], /"=x" for --label: the key is empty/],
  [['--sysctl', '=1'], /"=1" for --sysctl: the key is empty/],
  [['-e', '=x'], /"=x" for --env: the name is empty/],
  [['-e', ''], /"" for --env: the name is empty/],
  [['--add-host', 'db'], /"db" for --add-host/],
  [['--add-host', 'd b:1.2.3.4'], /for --add-host/],
  [['--add-host', 'db:1.2.3.4\nroot:0.0.0.0'], /for --add-host/],
  [['--log-driver', 'syslog'], /there is no log driver "syslog"/],
  [['--log-opt', 'tag=x'], /there is no log option "tag"/],
  [['--log-opt', 'max-file=0'], /"0" for --log-opt max-file/],
  [['--network', 'ip=10.0.0.9'], /there is no name= in it/],
  [['--restart', 'sometimes'], /"sometimes" for --restart/],
  [['--restart', 'always:3'], /"always:3" for --restart/],
  [['--restart', 'always', '--rm'], /--restart together with --rm/],
  [['--device', 'snd'], /"snd" for --device/],
  [['--device', '/dev/a:/dev/b:x'], /for --device/],
  [['--no-healthcheck', '--health-cmd', 'true'], /--no-healthcheck together with/],
  [['--health-interval', 'soon'], /"soon" for --health-interval/],
]

test.each(refused)('flags %j are refused and the message names them', (words, reason) => {
  expect(() => specOf(...words, 'busybox')).toThrow(TsrunError)
  expect(() => specOf(...words, 'busybox')).toThrow(reason)
})

test('-e KEY takes the value from here, and nothing where there is none', () => {
  process.env.TSRUN_TEST_FROM_HERE = 'a b'

  expect(specOf('-e', 'TSRUN_TEST_FROM_HERE', '-e', 'TSRUN_TEST_NOT_HERE', 'busybox').env).toEqual([
    'TSRUN_TEST_FROM_HERE=a b',
  ])
})

test('--env-file takes lines, comments and names, and --env comes behind it', () => {
  process.env.TSRUN_TEST_FROM_HERE = 'here'
  const file = fileWith('# comment\n\nA=1\r\n  B=x # no comment\nTSRUN_TEST_FROM_HERE\nC="quoted"')

  expect(specOf('-e', 'A=2', '--env-file', file, 'busybox').env).toEqual([
    'A=1',
    'B=x # no comment',
    'TSRUN_TEST_FROM_HERE=here',
    'C="quoted"',
    'A=2',
  ])
})

test('--label-file comes before --label', () => {
  const file = fileWith('# comment\na=1\nb=2\n')

  expect(specOf('-l', 'a=3', '--label-file', file, 'busybox').labels).toEqual({ a: '3', b: '2' })
})

test('everything behind the image is the command, flags and all', () => {
  expect(specOf('--rm', 'busybox', 'ls', '-l', '--rm', '-p', '80:80')).toMatchObject({
    command: ['ls', '-l', '--rm', '-p', '80:80'],
    publish: [],
  })
})

test('parsePairs() takes __proto__ as a key like any other', () => {
  const pairs = parsePairs('--label', ['__proto__=x', 'constructor=y'])

  expect(Object.entries(pairs)).toEqual([
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ])
  expect(Object.getPrototypeOf(pairs)).toBe(Object.prototype)
})

test('a flag with any value gives a spec or a TsrunError', () => {
  const flag = fc.constantFrom(
    '-p',
    '-v',
    '--mount',
    '--tmpfs',
    '-m',
    '--cpus',
    '--ulimit',
    '-e',
    '-l',
    '--add-host',
    '--net',
    '--sysctl',
    '--restart',
    '--device',
    '--log-opt',
    '--shm-size',
    '--health-interval',
    '--device-cgroup-rule',
    '--device-read-bps',
  )
  const value = fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9/:=.,\-[\]]{0,20}$/))

  fc.assert(
    fc.property(flag, value, (name, text) => {
      try {
        expect(specOf(name, text, 'busybox').image).toBe('busybox')
      } catch (error) {
        if (!(error instanceof TsrunError)) throw error
      }
    }),
    { numRuns: 500 },
  )
})
