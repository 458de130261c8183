// What stands in a simulated host, as sorted lines of text by subject: two snapshots tell what was left behind.
// Read with ip, nft, iptables-legacy-save and /proc, never with tsrun's own code.

import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Namespace } from './namespace.ts'

export interface Place {
  readonly host: Namespace
  /** Folder of the world: everything of tsrun's is under it. */
  readonly dir: string
  /** Folders whose files are listed. */
  readonly watched: readonly string[]
  /** In the environment of every program of the world. */
  readonly worldId: string
  /** Containers that were seen: their cgroups and processes are looked for. */
  readonly containerIds: ReadonlySet<string>
  /** Mount points of the harness itself. */
  readonly ownMounts: ReadonlySet<string>
}

export type Snapshot = ReadonlyMap<string, readonly string[]>

/** USER_HZ, on every architecture that we know. */
const TICKS_PER_SECOND = 100

const sysctlFolders = ['net/ipv4/ip_forward', 'net/ipv4/conf', 'net/ipv6/conf', 'net/bridge']

export async function takeSnapshot(place: Place): Promise<Snapshot> {
  const { host } = place
  const script = (text: string) => host.sh(text).then(lines)
  const [links, addresses, routes, rules, nft, legacy, sysctls] = await Promise.all([
    script(
      'ip -o link show | sed -E "s/^[0-9]+: //; s/ (state|mode|qlen|qdisc) [^ ]+//g; s/(NO-CARRIER,|,LOWER_UP|,M-DOWN)//g"',
    ),
    script('ip -o address show | sed -E "s/^[0-9]+: //; s/ (valid|preferred)_lft [^ ]+//g"'),
    script('ip route show table all; ip -6 route show table all'),
    script('ip rule show; ip -6 rule show'),
    script('nft -s list ruleset'),
    // Asks the kernel only about tables that exist: it would make them otherwise.
    script(
      'if grep -qs . /proc/net/ip_tables_names; then iptables-legacy-save | grep -v "^#" | sed "s/\\[.*\\]//"; fi',
    ),
    script(`cd /proc/sys; grep -rs "" ${sysctlFolders.join(' ')} || true`),
  ])
  return new Map([
    ['link', links],
    ['address', addresses],
    ['route', routes.map(route => route.replace(/ linkdown\b/, '').trim())],
    ['rule', rules],
    ['nft', numbered(nft)],
    ['iptables-legacy', numbered(legacy)],
    ['sysctl', persistentSysctls(sysctls, links)],
    ['mount', mounts(place)],
    ['cgroup', cgroups(place)],
    ['process', findProcesses(place).map(({ pid, command }) => `${command} (pid ${pid})`)],
    [
      'file',
      place.watched.flatMap(folder => filesUnder(folder).map(file => join(folder, file).slice(place.dir.length))),
    ],
  ])
}

/** One line for each thing that came or went, such as `link appeared: br-1234567890ab ...`. */
export function compareSnapshots(before: Snapshot, after: Snapshot): string[] {
  const changes: string[] = []
  for (const [subject, now] of after) {
    const was = before.get(subject) ?? []
    for (const line of without(now, was)) changes.push(`${subject} appeared: ${line}`)
    for (const line of without(was, now)) changes.push(`${subject} vanished: ${line}`)
  }
  return changes
}

/** Processes that belong to the world, by what they were started with or by what they stand in. */
export function findProcesses(place: Place): { pid: number; command: string }[] {
  const namespaces = new Set([...netnsMounts(place).values(), place.host.inode])
  const ancestors = ownAncestors()
  const known = strangersTo(place)
  const uptimeTicks = Number(readFileSync('/proc/uptime', 'utf8').split('.')[0]) * TICKS_PER_SECOND
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && !ancestors.has(Number(name)))
    .flatMap(name => {
      const proc = (file: string) => readOrEmpty(`/proc/${name}/${file}`).replaceAll('\0', ' ').trim()
      const [, state, startTime = ''] = /^\d+ \(.*\) (\S)(?: \S+){18} (\d+)/s.exec(proc('stat')) ?? []
      // A zombie stands in nothing and goes when its parent looks.
      if (state === undefined || state === 'Z' || known.get(name) === startTime) return []
      const command = proc('cmdline')
      const belongs =
        `${command} ${proc('environ')}`.includes(place.worldId) ||
        namespaces.has(Number(linkOrEmpty(`/proc/${name}/ns/net`).match(/\d+/)?.[0] ?? 0)) ||
        [...place.containerIds].some(id => proc('cgroup').includes(id)) ||
        (linkOrEmpty(`/proc/${name}/ns/mnt`) !== linkOrEmpty('/proc/self/ns/mnt') &&
          rootMount(readOrEmpty(`/proc/${name}/mountinfo`)).includes(place.worldId))
      if (belongs) return [{ pid: Number(name), command: command || proc('comm') }]
      // A younger one may just be turning into a process of ours.
      if (uptimeTicks - Number(startTime) > 5 * TICKS_PER_SECOND) known.set(name, startTime)
      return []
    })
}

/** Pid and start time of those that are known not to belong: on a busy machine there are thousands, and each is many files to read. */
const strangers = new Map<string, Map<string, string>>()

function strangersTo({ worldId }: Place): Map<string, string> {
  const known = strangers.get(worldId) ?? new Map<string, string>()
  strangers.set(worldId, known)
  return known
}

/** This process and those above it: never part of a world. */
function ownAncestors(): Set<number> {
  const found = new Set<number>([1])
  for (let pid = process.pid; pid > 1; ) {
    found.add(pid)
    pid = Number(readOrEmpty(`/proc/${pid}/stat`).match(/^\d+ \(.*\) \S (\d+)/s)?.[1] ?? 0)
  }
  return found
}

/** The line of mountinfo that tells what a process has as its `/`: for a container, an overlay that names its folders. */
function rootMount(mountinfoText: string): string {
  return mountinfoText.split('\n').findLast(line => line.split(' ')[4] === '/') ?? ''
}

/** Mount points under the world's folder, innermost last. */
export function mountPoints(place: Place): string[] {
  return mountinfo()
    .map(({ target }) => target)
    .filter(target => target.startsWith(`${place.dir}/`) && !place.ownMounts.has(target))
}

/** Folders of /sys/fs/cgroup that carry the id, or the start of the id, of a container of the world. */
export function cgroups(place: Place): string[] {
  const ids = [...place.containerIds].map(id => id.slice(0, 12))
  if (ids.length === 0) return []
  return foldersUnder('/sys/fs/cgroup', 6).filter(path => {
    const name = path.slice(path.lastIndexOf('/') + 1)
    return ids.some(id => name.includes(id))
  })
}

/** Paths below `folder`, sorted, without going into what is mounted there. */
export function filesUnder(folder: string): string[] {
  const found: string[] = []
  const visit = (path: string, device: number | undefined) => {
    for (const entry of readdirOrEmpty(join(folder, path))) {
      const name = join(path, entry.name)
      const stat = lstatOrUndefined(join(folder, name))
      if (stat === undefined) continue
      found.push(entry.isDirectory() ? `${name}/` : name)
      if (entry.isDirectory() && (device === undefined || stat.dev === device)) visit(name, stat.dev)
    }
  }
  visit('', lstatOrUndefined(folder)?.dev)
  return found.sort()
}

function mounts(place: Place): string[] {
  const points = new Set(mountPoints(place))
  return mountinfo()
    .filter(({ target, line }) => points.has(target) || (line.includes(place.worldId) && !place.ownMounts.has(target)))
    .map(({ line }) => line.split(' ').slice(3).join(' '))
}

/** Namespaces bound to files under the world's folder: file -> inode. */
function netnsMounts(place: Place): Map<string, number> {
  const bound = mountinfo().filter(({ target, root }) => target.startsWith(`${place.dir}/`) && root.startsWith('net:['))
  return new Map(
    bound
      .filter(({ target }) => !place.ownMounts.has(target))
      .map(({ target, root }) => [target, Number(root.slice('net:['.length, -1))]),
  )
}

function mountinfo(): { root: string; target: string; line: string }[] {
  return lines(readFileSync('/proc/self/mountinfo', 'utf8')).map(line => {
    const [, , , root = '', target = ''] = line.split(' ')
    return { root, target, line }
  })
}

function foldersUnder(folder: string, depth: number): string[] {
  if (depth === 0) return []
  return readdirOrEmpty(folder)
    .filter(entry => entry.isDirectory())
    .flatMap(entry => [join(folder, entry.name), ...foldersUnder(join(folder, entry.name), depth - 1)])
}

/** Without the settings of links that come and go: the links are compared by themselves. */
function persistentSysctls(settings: readonly string[], links: readonly string[]): string[] {
  const lasting = new Set(['all', 'default', 'lo', 'eth0'])
  const names = new Set(links.map(link => link.split(/[@:]/)[0] ?? ''))
  return settings.filter(line => {
    const link = line.match(/^net\/ipv[46]\/conf\/([^/]+)\//)?.[1]
    return link === undefined || lasting.has(link) || !(names.has(link) || link.startsWith('veth'))
  })
}

/** Rules in a chain may be equal, and their order matters: gives equal lines a number. */
function numbered(text: readonly string[]): string[] {
  const count = new Map<string, number>()
  return text.map(line => {
    const nth = (count.get(line) ?? 0) + 1
    count.set(line, nth)
    return nth === 1 ? line : `${line} (${nth})`
  })
}

function without(all: readonly string[], known: readonly string[]): string[] {
  const set = new Set(known)
  return all.filter(line => !set.has(line))
}

function lines(text: string): string[] {
  return text
    .split('\n')
    .map(line => line.trimEnd())
    .filter(line => line !== '')
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function linkOrEmpty(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

function readdirOrEmpty(path: string) {
  try {
    return readdirSync(path, { withFileTypes: true })
  } catch {
    return []
  }
}

function lstatOrUndefined(path: string) {
  try {
    return lstatSync(path)
  } catch {
    return undefined
  }
}
