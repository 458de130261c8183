// What tsrun-init does, as the shell script a person would type for it (`--explain`). One idea of a line for each step of
// native/, in the same order; what a shell has no word for is a comment. Pure, and loaded only when somebody asks.

import { shellQuote } from '../../kernel/explain.ts'
import type { OciMount, OciSpec } from '../../model/oci-spec.ts'
import type { InitExtras } from './oci-to-init.ts'

const namespaceFlags: Readonly<Record<string, string>> = {
  pid: '--pid --fork --kill-child',
  mount: '--mount --propagation slave',
  uts: '--uts',
  ipc: '--ipc',
  cgroup: '--cgroup',
  user: '--user',
  network: '--net',
}

/** The script that starts a container's process. @param label the network namespace's name in the other commands */
export function explainStart(spec: OciSpec, extras: InitExtras, label: string): string {
  const { namespaces } = spec.linux
  const enter = namespaces.flatMap(({ type, path }) => (path === undefined ? [] : [`--${nsenterName(type)}=${path}`]))
  if (extras.netnsFd) enter.push(`--net=/run/netns/${label}`)
  const create = namespaces
    .filter(({ type, path }) => path === undefined && !(type === 'network' && extras.netnsFd))
    .map(({ type }) => namespaceFlags[type] ?? `--${type}`)
  const { v2Dir, procsFiles } = extras.cgroup
  const join = [...(v2Dir === undefined ? [] : [`${v2Dir}/cgroup.procs`]), ...procsFiles]
  const held = extras.monitor.reservedPorts.map(
    ({ hostIp, hostPort, protocol, proxyTo }) =>
      `# the monitor holds port ${hostPort}/${protocol} of ${hostIp}${proxyTo === undefined ? '' : ` and carries it to ${proxyTo}`}`,
  )
  return [
    ...held,
    ...mappedUsers(spec),
    `${['nsenter', ...enter.map(shellQuote), 'sh -e'].join(' ')} <<'MONITOR'`,
    ...join.map(file => `echo 0 > ${shellQuote(file)}`),
    `exec unshare ${create.join(' ')} sh -e <<'INIT'`,
    ...rootCommands(spec),
    ...spec.mounts.flatMap(mountCommands),
    ...deviceCommands(spec, extras),
    ...maskCommands(spec),
    ...identityCommands(spec),
    ...processCommands(spec, extras),
    'INIT',
    'MONITOR',
  ].join('\n')
}

function mappedUsers({ linux: { uidMappings = [] } }: OciSpec): string[] {
  const maps = uidMappings.map(m => `u:${m.hostID}:${m.containerID}:${m.size}`).join(' ')
  return maps === ''
    ? []
    : [`# before: each layer and volume is mounted with -o X-mount.idmap='${maps}', in a host's namespace`]
}

/** The command that starts a further process in a container. */
export function explainExec(pid: number, args: readonly string[]): string {
  return `nsenter --target ${pid} --all ${args.map(shellQuote).join(' ')}`
}

function nsenterName(type: string): string {
  return type === 'network' ? 'net' : type
}

function rootCommands({ root, annotations }: OciSpec): string[] {
  const dir = (name: string) => annotations[`run.tsrun.overlay.${name}`] ?? ''
  const options = `lowerdir=${dir('lowerdir')},upperdir=${dir('upperdir')},workdir=${dir('workdir')}`
  return [`root=${shellQuote(root.path)}`, `mount -t overlay -o ${shellQuote(options)} overlay $root`]
}

function mountCommands({ destination, type, source, options }: OciMount): string[] {
  const target = `$root${shellQuote(destination)}`
  const isBind = options.includes('bind') || options.includes('rbind')
  const rest = options.filter(option => !['bind', 'rbind', 'tmpcopyup'].includes(option) && !/private$/.test(option))
  if (!isBind) {
    const words = rest.length === 0 ? '' : ` -o ${shellQuote(rest.join(','))}`
    return [`mkdir -p ${target}`, `mount -t ${type}${words} ${shellQuote(source)} ${target}`]
  }
  const bind = `mount --${options.includes('rbind') ? 'rbind' : 'bind'} ${shellQuote(source)} ${target}`
  return rest.length === 0 ? [bind] : [bind, `mount -o ${shellQuote(['remount', 'bind', ...rest].join(','))} ${target}`]
}

function deviceCommands({ linux }: OciSpec, { symlinks }: InitExtras): string[] {
  return [
    ...linux.devices.map(
      ({ path, type, major, minor, fileMode }) =>
        `mknod -m ${fileMode.toString(8)} $root${shellQuote(path)} ${type} ${major} ${minor}`,
    ),
    ...symlinks.map(({ path, target }) => `ln -s ${shellQuote(target)} $root${shellQuote(path)}`),
  ]
}

function maskCommands({ linux }: OciSpec): string[] {
  return [
    ...eachPath(linux.maskedPaths, [
      '  if [ -d $root$path ]; then mount -t tmpfs -o ro tmpfs $root$path',
      '  elif [ -e $root$path ]; then mount --bind /dev/null $root$path; fi',
    ]),
    ...eachPath(linux.readonlyPaths, [
      '  if [ -e $root$path ]; then',
      '    mount --bind $root$path $root$path; mount -o remount,bind,ro $root$path; fi',
    ]),
  ]
}

function eachPath(paths: readonly string[], body: readonly string[]): string[] {
  return paths.length === 0 ? [] : [`for path in ${paths.map(shellQuote).join(' ')}; do`, ...body, 'done']
}

function identityCommands({ root, hostname, domainname, linux }: OciSpec): string[] {
  return [
    ...Object.entries(linux.sysctl).map(([name, value]) => `sysctl -w ${shellQuote(`${name}=${value}`)}`),
    ...(hostname === undefined ? [] : [`hostname ${shellQuote(hostname)}`]),
    ...(domainname === undefined ? [] : [`domainname ${shellQuote(domainname)}`]),
    ...(root.readonly ? ['mount -o remount,ro $root'] : []),
    'cd $root && pivot_root . . && umount -l .',
  ]
}

function processCommands({ process }: OciSpec, { seccomp }: InitExtras): string[] {
  const { user, capabilities, noNewPrivileges } = process
  const names = capabilities.bounding.map(name => `+${name.replace(/^CAP_/, '').toLowerCase()}`)
  const identity = [
    `--reuid ${user.uid} --regid ${user.gid}`,
    user.additionalGids.length === 0 ? '--clear-groups' : `--groups ${user.additionalGids.join(',')}`,
    `--bounding-set ${['-all', ...names].join(',')}`,
    ...(noNewPrivileges ? ['--no-new-privs'] : []),
  ]
  return [
    ...process.rlimits.map(
      ({ type, soft, hard }) => `prlimit --pid $$ --${type.replace(/^RLIMIT_/, '').toLowerCase()}=${soft}:${hard}`,
    ),
    ...(seccomp === undefined ? [] : [`# seccomp(2): a filter of ${seccomp.program.length / 8} instructions`]),
    `mkdir -p ${shellQuote(process.cwd)} && cd ${shellQuote(process.cwd)}`,
    `exec setpriv ${identity.join(' ')} env -i ${[...process.env, ...process.args].map(shellQuote).join(' ')}`,
  ]
}
