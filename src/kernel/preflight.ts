// What tsrun needs of the machine, for `tsrun doctor`. Looking leaves nothing behind: what has to be tried is tried in a network
// namespace, or a folder, that is gone afterwards.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { release } from 'node:os'
import { koffi } from '../ffi/koffi.ts'
import { assertTrustedFile } from '../ffi/trusted-file.ts'
import { capabilityField, capabilityMask, capabilityNames } from './capabilities.ts'
import { cgroupLayout } from './cgroup/layout.ts'
import { readKernelFeatures, readText } from './kernel-features.ts'
import { AppArmor, defaultProfile } from './lsm/apparmor.ts'
import { SeLinux } from './lsm/selinux.ts'
import { Nfnetlink } from './nftables/nfnetlink.ts'
import { listBaseChains } from './nftables/ruleset.ts'
import { probeOverlay } from './overlay-probe.ts'
import { checkDhcpClient } from './preflight-dhcp.ts'
import {
  checkKernel,
  checkKernelPart,
  isAtLeast,
  kernelParts,
  type PreflightCheck,
  type Result,
} from './preflight-kernel.ts'
import { checkNames } from './preflight-names.ts'

export interface PreflightOptions {
  /** Where tsrun-init is expected. */
  readonly initPath?: string
  /** What must survive a reboot: there images and the files of containers are. */
  readonly root?: string
}

/** The first with idmapped layers below an overlay. */
const oldestForUserns = [5, 19] as const
const neededCapabilities = [
  'CAP_SYS_ADMIN',
  'CAP_NET_ADMIN',
  'CAP_SYS_CHROOT',
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_DAC_OVERRIDE',
  'CAP_CHOWN',
  'CAP_MKNOD',
]

/** Every check, in the order in which they are worth reading. A check that cannot be made is not ok and says why. */
export function runPreflight(options: PreflightOptions = {}): PreflightCheck[] {
  const features = readKernelFeatures()
  return [
    attempt('root', 'required', checkRoot),
    attempt('capabilities', 'required', checkCapabilities),
    attempt('kernel', 'required', () => checkKernel(release())),
    ...kernelParts.map(part => checkKernelPart(features, part)),
    attempt('cgroups', 'required', checkCgroups),
    attempt('cgroup controllers', 'recommended', checkControllers),
    ...libraries.map(library => attempt(library.name, library.severity, () => checkLibrary(library))),
    ...(options.initPath === undefined ? [] : [checkInit(options.initPath)]),
    ...(options.root === undefined ? [] : [checkStore(options.root)]),
    attempt('names', 'recommended', checkNames),
    attempt('DHCP client', 'info', checkDhcpClient),
    attempt('user namespaces', 'recommended', checkUserNamespaces),
    attempt('AppArmor', 'recommended', checkAppArmor),
    attempt('SELinux', 'recommended', checkSeLinux),
    attempt('ip_forward', 'info', checkForwarding),
    attempt('bridge netfilter', 'info', checkBridgeNetfilter),
    attempt('foreign forward drop', 'info', checkForeignDrop),
    attempt('limits', 'info', checkLimits),
  ]
}

function attempt(name: string, severity: PreflightCheck['severity'], check: () => Result): PreflightCheck {
  try {
    return { name, severity, ...check() }
  } catch (error) {
    return { name, severity, ok: false, detail: error instanceof Error ? error.message : String(error) }
  }
}

function checkRoot(): Result {
  const euid = process.geteuid?.() ?? -1
  return { ok: euid === 0, detail: `effective user id ${euid}`, remedy: 'run tsrun as root, e.g. with sudo' }
}

function checkCapabilities(): Result {
  const effective = capabilityField('CapEff', readFileSync('/proc/self/status', 'utf8'))
  const lacking = capabilityNames(capabilityMask(neededCapabilities) & ~effective)
  if (lacking.length === 0) return { ok: true, detail: `all of ${neededCapabilities.join(', ')}` }
  return {
    ok: false,
    detail: `lacking ${lacking.join(', ')}`,
    remedy: 'run tsrun as root of the host; inside another container that one must be privileged',
  }
}

function checkCgroups(): Result {
  const { mode, v2Root, v1Roots } = cgroupLayout()
  const where = [
    ...(v2Root === undefined ? [] : [`v2 at ${v2Root}`]),
    ...[...v1Roots].map(([name, root]) => `${name} at ${root}`),
  ]
  return { ok: true, detail: `${mode}: ${where.join(', ')}`, remedy: 'mount -t cgroup2 none /sys/fs/cgroup' }
}

function checkControllers(): Result {
  const { mode, v2Root, v1Roots } = cgroupLayout()
  const wanted =
    mode === 'v2' ? ['memory', 'pids', 'cpu', 'cpuset', 'io'] : ['memory', 'pids', 'cpu', 'cpuset', 'blkio', 'devices']
  const v2 = new Set((readText(`${v2Root}/cgroup.controllers`) ?? '').trim().split(/\s+/))
  const present = new Set<string>(mode === 'v2' ? v2 : v1Roots.keys())
  const missing = wanted.filter(name => !present.has(name))
  return {
    ok: missing.length === 0,
    detail: missing.length === 0 ? wanted.join(', ') : `missing: ${missing.join(', ')}`,
    remedy:
      'a kernel with CONFIG_MEMCG, CONFIG_CGROUP_PIDS, CONFIG_CGROUP_SCHED, CONFIG_CPUSETS, CONFIG_BLK_CGROUP and CONFIG_CGROUP_DEVICE; boot parameters cgroup_enable=memory swapaccount=1 where memory is off',
  }
}

interface Library {
  readonly name: string
  readonly file: string
  readonly debianPackage: string
  readonly severity: PreflightCheck['severity']
}

const libraries: readonly Library[] = [
  { name: 'libnftables', file: 'libnftables.so.1', debianPackage: 'libnftables1', severity: 'required' },
  { name: 'libseccomp', file: 'libseccomp.so.2', debianPackage: 'libseccomp2', severity: 'recommended' },
]

function checkLibrary({ file, debianPackage }: Library): Result {
  const remedy = `apt-get install ${debianPackage}`
  try {
    koffi.load(file)
    return { ok: true, detail: file, remedy }
  } catch (error) {
    return { ok: false, detail: error instanceof Error ? error.message : String(error), remedy }
  }
}

function checkInit(path: string): PreflightCheck {
  const base = { name: 'tsrun-init', severity: 'required' } as const
  const remedy = `install tsrun again, as root, into a folder that only root can write: ${path} belongs there with mode 0755`
  try {
    if ((statSync(path).mode & 0o111) === 0) return { ...base, ok: false, detail: `${path} is not executable`, remedy }
    assertTrustedFile(path)
    return { ...base, ok: true, detail: path }
  } catch (error) {
    return { ...base, ok: false, detail: error instanceof Error ? error.message : String(error), remedy }
  }
}

/** By trying: file systems do not say whether overlayfs can write to them. */
function checkStore(root: string): PreflightCheck {
  return attempt('root directory', 'required', () => {
    const { folder, problem } = probeOverlay(root)
    const what = 'containers keep their files with overlayfs'
    if (problem === undefined) return { ok: true, detail: `${folder}: its file system is good for overlayfs` }
    return {
      ok: false,
      detail: `${folder}: ${what}, and its file system is not good for that (${problem})`,
      remedy:
        'a root directory on ext4, xfs, btrfs or tmpfs: --root DIR or TSRUN_ROOT; not on NFS, FAT or another overlay',
    }
  })
}

function checkUserNamespaces(): Result {
  const max = readText('/proc/sys/user/max_user_namespaces')?.trim()
  const isNew = isAtLeast(release(), oldestForUserns)
  const ok = existsSync('/proc/self/ns/user') && max !== undefined && max !== '0' && isNew
  const age = isNew ? '' : `; Linux ${release()} cannot map the ids of layers`
  return {
    ok,
    detail: max === undefined ? 'not in this kernel' : `user.max_user_namespaces = ${max}${age}`,
    remedy: `Linux ${oldestForUserns.join('.')} or later with CONFIG_USER_NS, and sysctl -w user.max_user_namespaces=15000; only --userns needs it`,
  }
}

function checkAppArmor(): Result {
  const apparmor = new AppArmor()
  if (!apparmor.isEnabled) return { ok: true, detail: 'not enforced by this kernel: containers have no profile' }
  return {
    ok: apparmor.parser !== undefined,
    detail:
      apparmor.parser === undefined
        ? 'enforced, but no profile can be loaded'
        : `enforced; ${defaultProfile} by default`,
    remedy: 'apt-get install apparmor, for apparmor_parser; without, containers are not confined',
  }
}

function checkSeLinux(): Result {
  const selinux = new SeLinux()
  if (!selinux.isEnabled) return { ok: true, detail: 'not in use on this host: containers have no labels' }
  return {
    ok: selinux.hasContainerPolicy,
    detail: selinux.hasContainerPolicy ? 'in use' : 'in use, but its policy knows no containers',
    remedy: 'install container-selinux; without, containers have no labels',
  }
}

function checkForwarding(): Result {
  const value = readText('/proc/sys/net/ipv4/ip_forward')?.trim()
  if (value === '1') return { ok: true, detail: 'net.ipv4.ip_forward = 1' }
  return { ok: true, detail: `net.ipv4.ip_forward = ${value}; tsrun turns it on with the first network that needs it` }
}

function checkBridgeNetfilter(): Result {
  const value = readText('/proc/sys/net/bridge/bridge-nf-call-iptables')?.trim()
  if (value === undefined) return { ok: true, detail: 'br_netfilter is not loaded' }
  return {
    ok: true,
    detail: `net.bridge.bridge-nf-call-iptables = ${value}${value === '1' ? ': bridged packets pass the host firewall too' : ''}`,
  }
}

/** NF_INET_FORWARD of linux/netfilter.h. */
const forwardHook = 2

function checkForeignDrop(): Result {
  const socket = new Nfnetlink()
  try {
    const drops = listBaseChains(socket).filter(
      chain => chain.hook === forwardHook && chain.drops && !chain.table.startsWith('tsrun'),
    )
    const legacy = (readText('/proc/net/ip_tables_names') ?? '').split('\n').includes('filter')
    const found = drops.map(chain => `table ${chain.table} chain ${chain.name} drops forwarded packets`)
    if (legacy) found.push('legacy iptables has a filter table (see iptables-legacy -S FORWARD)')
    return {
      ok: drops.length === 0,
      detail: found.length === 0 ? 'none' : found.join('; '),
      remedy: 'nothing: tsrun adds one marked accept rule there while it has networks, and takes it away again',
    }
  } finally {
    socket.close()
  }
}

/** Below these a machine full of containers runs dry first. */
const worthwhileLimits: readonly (readonly [path: string, least: number])[] = [
  ['fs/inotify/max_user_instances', 512],
  ['fs/inotify/max_user_watches', 65_536],
  ['kernel/pid_max', 32_768],
  ['kernel/keys/maxkeys', 200],
  ['net/netfilter/nf_conntrack_max', 65_536],
  // One table for all network namespaces, seen in the host's alone: what containers learn of each other.
  ['net/ipv4/neigh/default/gc_thresh2', 4096],
  ['net/ipv4/neigh/default/gc_thresh3', 8192],
]

function checkLimits(): Result {
  const low: string[] = []
  for (const [path, least] of worthwhileLimits) {
    const value = Number(readText(`/proc/sys/${path}`) ?? Number.NaN)
    if (value < least) low.push(`${path.replaceAll('/', '.')}=${least}`)
  }
  return {
    ok: low.length === 0,
    detail: low.length === 0 ? 'enough for hundreds of containers' : 'low for many containers',
    ...(low.length === 0 ? {} : { remedy: `sysctl -w ${low.join(' ')}` }),
  }
}
