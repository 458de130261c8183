import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { afterEach, expect, test } from 'vitest'
import { rewriteGoStyle } from '../../src/cli/args.ts'
import { addContainerFlags, toContainerSpec } from '../../src/cli/container-flags.ts'
import { parsePairs } from '../../src/cli/parse-pairs.ts'
import type { ContainerSpec } from '../../src/model/container.ts'
import { TsrunError } from '../../src/model/errors.ts'
import fc from '../helpers/property.ts'

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
    publish: [{ protocol: 'tcp', hostIp: '', hostPort: 80, containerPort: 80 }],
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
  [
    ['--network', 'b', '--net', 'a', '--network=c'],
    { networks: [{ network: 'b' }, { network: 'a' }, { network: 'c' }] },
  ],
  [
    ['--network', 'name=a,alias=db,alias=sql', '--network', 'b'],
    { networks: [{ network: 'a', aliases: ['db', 'sql'] }, { network: 'b' }] },
  ],
  [['--network', 'name=a,ip=FD00:0::1'], { networks: [{ network: 'a', ip: 'fd00::1' }] }],
  [['--mac-address', '02-42-AC-11-00-02'], { networks: [{ network: 'bridge', mac: '02:42:ac:11:00:02' }] }],
  [['--net', 'host'], { networks: [{ network: 'host' }] }],
  [['--net', 'container:web'], { networks: [{ network: 'container:web' }] }],
  [['--expose', '80', '--expose', '53/udp'], { expose: ['80/tcp', '53/udp'] }],
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
  [['--ulimit', 'nofile=5:-1'], { ulimits: [{ name: 'nofile', soft: 5, hard: -1 }] }],
  [['--rm', '--rm=false', '-it', '-t=0'], { autoRemove: false, openStdin: true, tty: false }],
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
  [['--ulimit', 'nofile=5:3'], /"nofile=5:3" for --ulimit: the soft limit is above the hard one/],
  [['--ulimit', 'nofile=-1:5'], /the soft limit is above the hard one/],
  [['--ulimit', 'nofile=-5'], /"nofile=-5" for --ulimit/],
  [['--ulimit', 'nofile=9007199254740992'], /for --ulimit/],
  [['--ulimit', 'nofile=99999999999999999999'], /for --ulimit/],
  [['--ulimit', 'foo=1'], /there is no ulimit "foo"/],
  [['--ulimit', 'constructor=1'], /there is no ulimit "constructor"/],
  [['--rm=maybe'], /"maybe" for --rm/],
  [['-m', '1m'], /for --memory: it must be at least 6m/],
  [['--memory-swap', '1g'], /for --memory-swap: it must be used together with --memory/],
  [['--cpuset-cpus', '1-'], /"1-" for --cpuset-cpus/],
  [['--expose', '70000'], /"70000" for --expose/],
  [['--ip', '10.0.0'], /"10.0.0" for --ip: it is no IP address/],
  [['--dns', 'one'], /"one" for --dns: it is no IP address/],
  [['--mac-address', '02:42'], /"02:42" for --mac-address/],
  [['--network', ''], /cannot join network "": the name is empty/],
  [['--network', 'name=a,ipp=3'], /there is no key "ipp": name, ip, ip6, mac, mac-address, alias/],
  [['--network', 'name=a,ip'], /"ip" has no value/],
  [['--network', 'name='], /"name=" has no value/],
  [['--network', 'name=a,ip=b'], /"b" for --network ip: it is no IP address/],
  [['--network', 'name=a,"alias=b'], /the quotes do not fit/],
  [['--add-host', 'db:nowhere'], /"db:nowhere" for --add-host: "nowhere" is no IP address/],
  [['--add-host', 'db:1.2.3'], /"1.2.3" is no IP address/],
  [['--add-host', 'db:[::1'], /is no IP address/],
  [['--add-host', 'd\0b:1.2.3.4'], /for --add-host/],
  [['--health-interval', `${'9'.repeat(400)}h`], /for --health-interval/],
  [
    ['--env-file', '/nowhere/at-all'],
    /cannot read "\/nowhere\/at-all" for --env-file: no such file or directory \(open: ENOENT\)/,
  ],
  [['--env-file', '/'], /cannot read "\/" for --env-file: .*EISDIR/],
  [['--env-file', 'a\0b'], /cannot read .* for --env-file/],
  [['--label-file', '/nowhere/at-all'], /cannot read "\/nowhere\/at-all" for --label-file: no such file/],
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

test('a bad line of --env-file is reported with the file', () => {
  const file = fileWith('A=1\n=2\n')

  expect(() => specOf('--env-file', file, 'busybox')).toThrow(`"=2" for --env-file "${file}": the name is empty`)
})

test('--env-file holds no NUL and may start with a byte order mark', () => {
  expect(specOf('--env-file', fileWith('\uFEFFA=1'), 'busybox').env).toEqual(['A=1'])
  expect(() => specOf('--env-file', fileWith('A=1\0'), 'busybox')).toThrow(/it holds a NUL/)
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

/** `run` as the command line declares it. */
async function runCommand(): Promise<Command> {
  const { register } = await import('../../src/cli/commands/run.ts')
  return register(new Command('tsrun').exitOverride().enablePositionalOptions(), () => {})
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} })
    .action(() => {})
}

const nonsense = fc.oneof(
  fc.constantFrom(
    ...[
      '',
      ' ',
      '0',
      '-0',
      '-1',
      '-2',
      '1.5',
      '.5',
      '1e3',
      '0x10',
      'NaN',
      'Infinity',
      '٣',
      '１',
      '½',
      'true',
      'x',
      '~',
    ],
    ...['9'.repeat(16), '9'.repeat(30), '9'.repeat(400), '-'.repeat(5), '1\0', '\0', '1\n', '\n', '\ud800', '\u202e1'],
    ...['1m', '1M', '-1m', '1mm', '1 m', '1h', '1d', '-1s', '99999999999h', '1ms1', '0-0', '1-', '-1-2', '0,', '1:'],
    ...['__proto__', '__proto__=1', 'constructor=1', 'nofile=1', 'nofile=-1:1', 'max-size=', 'max-file=1e3', ':1', ':'],
    ...[
      'c 1:1 rwm',
      'type=tmpfs,target=/a,tmpfs-size=',
      'name=',
      '"',
      'a b',
      '/',
      '/.',
      '../..',
      '[',
      '[::',
      '::',
      '=',
    ],
    ...['80-81:80', '65536', '/dev/a:', '/dev/a:-1'],
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.stringMatching(/^[a-z0-9/:=.,\-[\]"]{0,20}$/),
)

test('every flag of run with any value gives a spec that JSON keeps, a TsrunError or commander’s refusal', async () => {
  const flags = (await runCommand()).options.map(option => option.long ?? '')
  expect(flags.length).toBeGreaterThan(70)
  const words = fc.tuple(fc.constantFrom(...flags), nonsense, fc.boolean(), fc.boolean())

  await fc.assert(
    fc.asyncProperty(fc.array(words, { minLength: 1, maxLength: 3 }), async given => {
      const command = await runCommand()
      const line = given.flatMap(([flag, value, oneDash, oneWord]) => {
        const name = oneDash ? flag.slice(1) : flag
        return oneWord ? [`${name}=${value}`] : [name, value]
      })
      try {
        command.parse(rewriteGoStyle(command, [...line, 'busybox']), { from: 'user' })
        const spec = toContainerSpec(command.opts(), command.args)
        // NaN and Infinity would come back as null.
        expect(JSON.stringify(spec)).not.toMatch(/:null[,}]/)
      } catch (error) {
        if (!(error instanceof TsrunError) && !(error instanceof CommanderError)) throw error
      }
    }),
    { numRuns: 5000 },
  )
})

test.each([
  ...['--memory', '--memory-swap', '--memory-reservation', '--cpus', '--cpu-shares', '--cpu-quota', '--cpu-period'],
  ...['--pids-limit', '--blkio-weight', '--shm-size', '--oom-score-adj', '--stop-timeout', '--health-retries'],
  ...['--health-interval', '--health-timeout', '--health-start-period', '--health-start-interval', '--ulimit'],
  ...['--device-read-bps', '--device-write-bps', '--device-read-iops', '--device-write-iops', '--publish', '--expose'],
  ...['--cpuset-cpus', '--cpuset-mems', '--restart', '--tmpfs', '--mount', '--ip', '--mac-address'],
])('%s refuses what is no number, size, time or address', flag => {
  const values = ['', ' ', 'x', '1e3', '0x10', 'NaN', '٣', '1\0', '1\n', '9'.repeat(30), '9'.repeat(400)]
  // An adjustment may be negative, and the kernel takes a list of processors with a newline behind it.
  const fine: Readonly<Record<string, string>> = {
    '--oom-score-adj': '-2',
    '--cpuset-cpus': '1\n',
    '--cpuset-mems': '1\n',
  }
  for (const value of [...values, '-2'].filter(each => each !== fine[flag]))
    expect(() => specOf(flag, value, 'busybox'), `${flag} ${JSON.stringify(value)}`).toThrow(TsrunError)
})
