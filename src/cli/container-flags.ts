// The flags that `run` and `create` share, and how they become a ContainerSpec.

import type { Command } from 'commander'
import type { ContainerSpec } from '../model/container.ts'
import { TsrunError } from '../model/errors.ts'
import { parseByteSize, parseWholeNumber, validateResources } from '../model/parse-resources.ts'
import { parseUlimit } from '../model/ulimits.ts'
import { collect } from './collect.ts'
import { addFurtherFlags, readLabelFiles, toFurtherSpec } from './further-flags.ts'
import { mapOptional, optional } from './optional.ts'
import { parseEnv } from './parse-env.ts'
import { parseMount, parseTmpfs, parseVolume } from './parse-mounts.ts'
import { parseHost, parseIpFlag, parseNetworks } from './parse-networks.ts'
import { parsePairs } from './parse-pairs.ts'
import { parseExpose, parsePublish, parsePublishMode } from './parse-ports.ts'
import { refuseContainerFlags } from './refused-flags.ts'
import { addResourceFlags, parseResources } from './resource-flags.ts'

type Flags = Readonly<Record<string, unknown>>

/** Declares the flags on `command`. */
export function addContainerFlags(command: Command): Command {
  // Two spellings, one list: the order between them is the order of the interfaces.
  const networks: string[] = []
  const collectNetwork = (value: string) => {
    networks.push(value)
    return networks
  }
  return refuseContainerFlags(addResourceFlags(addFurtherFlags(command)))
    .option('-a, --attach <stream>', 'join only stdin, stdout or stderr', collect)
    .option('-i, --interactive', 'keep stdin open')
    .option('-t, --tty', 'give it a terminal')
    .option('--name <name>', 'name of the container')
    .option('--net <network>', 'network to join: a name, host, none, container:NAME or ns:PATH', collectNetwork)
    .option(
      '--network <network>',
      'the same; with settings: name=..,ip=..,ip6=..,mac-address=..,alias=..,interface=..,gw-priority=..',
      collectNetwork,
    )
    .option('--ip <address>', 'its IPv4 address on the first network')
    .option('--ip6 <address>', 'its IPv6 address on the first network')
    .option('--network-alias <name>', 'a further name on the first network', collect)
    .option('--link-local-ip <address>', 'a further address on the first network', collect)
    .option('--mac-address <mac>', 'its MAC address on the first network')
    .option('-p, --publish <port>', 'publish a port: [ADDRESS:][HOSTPORT:]PORT[/udp]', collect)
    .option('-P, --publish-all', 'publish every exposed port on a free host port')
    .option('--publish-mode <mode>', "nat, or proxy: then the host's own INPUT rules decide")
    .option('--expose <port>', 'a further exposed port', collect)
    .option('-e, --env <KEY=value>', 'set a variable; KEY alone takes the value from here', collect)
    .option('--env-file <file>', 'read variables from a file', collect)
    .option('-w, --workdir <dir>', 'working directory')
    .option('-u, --user <user>', 'name or uid, and optionally :group')
    .option('--group-add <group>', 'a further group', collect)
    .option('-h, --hostname <name>', 'host name inside')
    .option('--domainname <name>', 'NIS domain name inside')
    .option('--entrypoint <program>', "replace the image's entrypoint")
    .option('--init', 'run a small init as pid 1 that reaps and forwards signals')
    .option('-l, --label <key=value>', 'set a label', collect)
    .option('-v, --volume <spec>', 'bind a folder or mount a volume: HOST:PATH[:ro]', collect)
    .option('--mount <spec>', 'mount: type=bind|volume|tmpfs,source=..,target=..', collect)
    .option('--tmpfs <spec>', 'mount a tmpfs: PATH[:options]', collect)
    .option('--read-only', 'make the root file system read-only')
    .option('--oom-kill-disable', 'cgroup v1: let it sleep at the memory limit instead of killing it')
    .option('--ulimit <name=soft[:hard]>', 'set a ulimit', collect)
    .option('--shm-size <bytes>', 'size of /dev/shm; default 64m')
    .option('--oom-score-adj <number>', 'how soon the kernel kills it when memory is short')
    .option('--cap-add <capability>', 'add a capability', collect)
    .option('--cap-drop <capability>', 'drop a capability', collect)
    .option('--privileged', 'no restrictions at all')
    .option(
      '--security-opt <option>',
      'no-new-privileges, seccomp=, apparmor=, label=, mask=, unmask=, systempaths=unconfined',
      collect,
    )
    .option('--sysctl <key=value>', 'set a namespaced sysctl', collect)
    .option('--dns <address>', 'DNS server', collect)
    .option('--dns-search <domain>', 'DNS search domain', collect)
    .option('--dns-option <option>', 'resolver option', collect)
    .option('--add-host <name:address>', 'a line for /etc/hosts', collect)
    .option('--pid <mode>', 'pid namespace: host or container:NAME')
    .option('--ipc <mode>', 'ipc namespace and /dev/shm: host, container:NAME, shareable (default), private or none')
    .option('--uts <mode>', 'uts namespace: host or container:NAME')
    .option('--cgroupns <mode>', 'cgroup namespace: private (default) or host')
    .option('--stop-signal <signal>', 'what `stop` sends first')
    .option('--stop-timeout <seconds>', 'how long `stop` waits')
    .option('--log-driver <driver>', 'json-file or none')
    .option('--log-opt <key=value>', 'max-size, max-file, labels, env', collect)
    .option('--cidfile <file>', 'write the id to a file')
    .option('--rm', 'remove it when it has ended')
}

/** @param rest image, command and arguments @throws TsrunError invalid, naming the flag and the value */
export function toContainerSpec(flags: Flags, rest: readonly string[]): ContainerSpec {
  const [image = '', ...command] = rest
  const text = (name: string) => flags[name] as string | undefined
  const list = (name: string) => (flags[name] as string[] | undefined) ?? []
  /** As in docker, an empty one is as good as none. */
  const given = (name: string) => text(name) || undefined
  const flag = (name: string) => flags[name] === true
  const networks = parseNetworks(list(flags.net === undefined ? 'network' : 'net'), {
    ip: text('ip'),
    ip6: text('ip6'),
    mac: text('macAddress'),
    aliases: list('networkAlias'),
    linkLocalIps: list('linkLocalIp'),
  })
  const resources = parseResources(flags)
  validateResources(resources)
  const stopTimeout = text('stopTimeout')
  return {
    image,
    ...(command.length > 0 ? { command } : {}),
    ...optional(
      'entrypoint',
      mapOptional(text('entrypoint'), value => (value === '' ? [] : [value])),
    ),
    ...optional('name', given('name')),
    env: parseEnv({ env: list('env'), envFile: list('envFile') }),
    ...optional('workingDir', text('workdir')),
    ...optional('user', text('user')),
    groupAdd: list('groupAdd'),
    ...optional('hostname', text('hostname')),
    ...optional('domainname', text('domainname')),
    labels: parsePairs('--label', [...readLabelFiles(flags), ...list('label')]),
    ...optional('attach', parseAttach(list('attach'))),
    tty: flag('tty'),
    openStdin: flag('interactive'),
    init: flag('init'),
    autoRemove: flag('rm'),
    networks,
    publish: list('publish').flatMap(parsePublish),
    publishAll: flag('publishAll'),
    ...optional('publishMode', mapOptional(text('publishMode'), parsePublishMode)),
    expose: list('expose').flatMap(parseExpose),
    mounts: [...list('volume').map(parseVolume), ...list('mount').map(parseMount), ...list('tmpfs').map(parseTmpfs)],
    readonlyRootfs: flag('readOnly'),
    resources,
    ulimits: list('ulimit').map(parseUlimit),
    ...optional(
      'shmSizeBytes',
      mapOptional(text('shmSize'), v => parseByteSize('--shm-size', v)),
    ),
    ...optional(
      'oomScoreAdj',
      mapOptional(text('oomScoreAdj'), v => parseWholeNumber('--oom-score-adj', v, { min: -1000, max: 1000 })),
    ),
    capAdd: list('capAdd'),
    capDrop: list('capDrop'),
    privileged: flag('privileged'),
    securityOpt: list('securityOpt'),
    sysctls: parsePairs('--sysctl', list('sysctl')),
    dns: list('dns').map(address => parseIpFlag('--dns', address)),
    dnsSearch: list('dnsSearch'),
    dnsOptions: list('dnsOption'),
    extraHosts: list('addHost').map(parseHost),
    ...optional('pidMode', given('pid')),
    ...optional('ipcMode', given('ipc')),
    ...optional('utsMode', given('uts')),
    ...optional('cgroupnsMode', given('cgroupns')),
    ...optional('stopSignal', text('stopSignal')),
    ...optional(
      'stopTimeoutSeconds',
      mapOptional(stopTimeout, v => parseWholeNumber('--stop-timeout', v, { min: -1, max: 1e9 })),
    ),
    log: parseLog(text('logDriver') ?? 'json-file', list('logOpt')),
    ...toFurtherSpec(flags),
  }
}

function parseAttach(streams: readonly string[]): ContainerSpec['attach'] {
  if (streams.length === 0) return undefined
  return streams.map(text => {
    const name = text.toLowerCase()
    if (name === 'stdin' || name === 'stdout' || name === 'stderr') return name
    throw new TsrunError('invalid', 'attach', `invalid value "${text}" for --attach`, {
      hint: 'stdin, stdout or stderr',
    })
  })
}

const logOptions = ['max-size', 'max-file', 'labels', 'env']

function parseLog(driver: string, options: readonly string[]): NonNullable<ContainerSpec['log']> {
  if (driver !== 'json-file' && driver !== 'local' && driver !== 'k8s-file' && driver !== 'none')
    throw new TsrunError('unsupported', 'log-driver', `there is no log driver "${driver}"`, {
      hint: 'json-file or none',
    })
  const pairs = parsePairs('--log-opt', options)
  const unknown = Object.keys(pairs).find(key => !logOptions.includes(key))
  if (unknown !== undefined)
    throw new TsrunError('invalid', 'log-opt', `there is no log option "${unknown}"`, {
      hint: 'max-size=10m, max-file=3; labels=KEY,KEY and env=KEY,KEY for `tsrun logs --details`',
    })
  const names = (key: string) => pairs[key]?.split(',').filter(Boolean)
  const maxSize = pairs['max-size']
  const maxFile = pairs['max-file']
  return {
    driver: driver === 'none' ? 'none' : 'json-file',
    maxSizeBytes: maxSize === undefined ? 0 : parseByteSize('--log-opt max-size', maxSize),
    ...optional('labels', names('labels')),
    ...optional('env', names('env')),
    maxFiles: maxFile === undefined ? 1 : parseWholeNumber('--log-opt max-file', maxFile, { min: 1, max: 1000 }),
  }
}
