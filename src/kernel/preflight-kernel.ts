// What tsrun needs of the kernel itself: its version, and the parts it was built with. For `tsrun doctor`.

import type { KernelFeatures } from './kernel-features.ts'

/** One requirement, what was found of it, and what to do. */
export interface PreflightCheck {
  readonly name: string
  readonly ok: boolean
  /** Without it: nothing runs; a named part does not work; or it is worth knowing. */
  readonly severity: 'required' | 'recommended' | 'info'
  /** What was found. */
  readonly detail: string
  /** What to do when it is not ok. */
  readonly remedy?: string
}

/** What a check finds. */
export type Result = Omit<PreflightCheck, 'name' | 'severity'>

const oldestKernel = [5, 10] as const

/** `release` as `uname -r` prints it. */
export function checkKernel(kernelRelease: string): Result {
  const ok = isAtLeast(kernelRelease, oldestKernel)
  return { ok, detail: kernelRelease, remedy: `Linux ${oldestKernel.join('.')} or later` }
}

/** Whether a release is of this version or a later one. */
export function isAtLeast(kernelRelease: string, [wantedMajor, wantedMinor]: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = kernelRelease.split('.').map(part => Number.parseInt(part, 10))
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

interface KernelPart {
  readonly name: string
  readonly option: string
  readonly module?: string
  readonly severity: PreflightCheck['severity']
  readonly use: string
}

/** What is asked of the kernel's configuration. */
export const kernelParts: readonly KernelPart[] = [
  { name: 'overlayfs', option: 'CONFIG_OVERLAY_FS', module: 'overlay', severity: 'required', use: 'image layers' },
  { name: 'pid namespaces', option: 'CONFIG_PID_NS', severity: 'required', use: 'containers' },
  { name: 'network namespaces', option: 'CONFIG_NET_NS', severity: 'required', use: 'networks' },
  { name: 'bridge', option: 'CONFIG_BRIDGE', module: 'bridge', severity: 'required', use: 'bridge networks' },
  { name: 'veth', option: 'CONFIG_VETH', module: 'veth', severity: 'required', use: 'bridge networks' },
  { name: 'nf_tables', option: 'CONFIG_NF_TABLES', module: 'nf_tables', severity: 'required', use: 'published ports' },
  { name: 'nft nat', option: 'CONFIG_NFT_NAT', module: 'nft_nat', severity: 'required', use: 'published ports' },
  { name: 'nft masquerade', option: 'CONFIG_NFT_MASQ', module: 'nft_masq', severity: 'required', use: 'the way out' },
  {
    name: 'nft fib',
    option: 'CONFIG_NFT_FIB_INET',
    module: 'nft_fib_inet',
    severity: 'required',
    use: 'published ports',
  },
  {
    name: 'conntrack netlink',
    option: 'CONFIG_NF_CT_NETLINK',
    module: 'nf_conntrack_netlink',
    severity: 'recommended',
    use: 'cutting old connections when a port goes',
  },
  {
    name: 'routing rules',
    option: 'CONFIG_IP_MULTIPLE_TABLES',
    severity: 'recommended',
    use: 'answers of containers that several networks lead out of',
  },
  { name: 'seccomp', option: 'CONFIG_SECCOMP_FILTER', severity: 'recommended', use: 'the system call filter' },
  { name: 'cpu quota', option: 'CONFIG_CFS_BANDWIDTH', severity: 'recommended', use: '--cpus' },
  {
    name: 'disk throttling',
    option: 'CONFIG_BLK_DEV_THROTTLING',
    severity: 'recommended',
    use: '--device-read-bps and its kin',
  },
  { name: 'cgroup bpf', option: 'CONFIG_CGROUP_BPF', severity: 'recommended', use: 'device rules on cgroup v2' },
  { name: 'message queues', option: 'CONFIG_POSIX_MQUEUE', severity: 'recommended', use: '/dev/mqueue' },
  {
    name: 'tun',
    option: 'CONFIG_TUN',
    module: 'tun',
    severity: 'info',
    use: 'VPNs in containers (--device /dev/net/tun)',
  },
  { name: 'nft bridge', option: 'CONFIG_NF_TABLES_BRIDGE', severity: 'info', use: 'icc=false' },
  { name: 'vxlan', option: 'CONFIG_VXLAN', module: 'vxlan', severity: 'info', use: 'routed networks with -o vxlan' },
  { name: 'macvlan', option: 'CONFIG_MACVLAN', module: 'macvlan', severity: 'info', use: 'macvlan networks' },
  { name: 'ipvlan', option: 'CONFIG_IPVLAN', module: 'ipvlan', severity: 'info', use: 'ipvlan networks' },
  {
    name: 'vlan',
    option: 'CONFIG_VLAN_8021Q',
    module: '8021q',
    severity: 'info',
    use: 'networks on -o parent=eth0.10',
  },
  {
    name: 'dummy',
    option: 'CONFIG_DUMMY',
    module: 'dummy',
    severity: 'info',
    use: 'internal macvlan and ipvlan networks',
  },
]

export function checkKernelPart(
  features: KernelFeatures,
  { name, option, module, severity, use }: KernelPart,
): PreflightCheck {
  const state = features.state(option, module)
  const load = module === undefined ? '' : `; Debian: apt-get install linux-image-amd64, then modprobe ${module}`
  const detail =
    state === 'unknown' ? `cannot tell whether this kernel has ${option} (for ${use})` : `${state}, for ${use}`
  return { name, severity, ok: state !== 'missing', detail, remedy: `a kernel with ${option}${load}` }
}
