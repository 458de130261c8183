// The default seccomp profile: which system calls a container may make. The facts (names and conditions) are those of
// docker's public profile, https://github.com/moby/profiles/blob/main/seccomp/default.json (Apache-2.0), at commit
// 02e898b137ae; written down anew here. Change `defaultSeccompVersion` with every change: it names the cached programs.

import { release } from 'node:os'
import { capabilityMask, capabilityNames } from '../../kernel/capabilities.ts'
import { cachedSeccomp, profileHash } from '../../kernel/seccomp/cache.ts'
import { parseSeccompProfile, seccompFlagBits } from '../../kernel/seccomp/parse-profile.ts'
import {
  resolveProfile,
  type SeccompFilter,
  type SeccompProfile,
  type SeccompProfileRule,
} from '../../kernel/seccomp/profile.ts'

/** Part of the file name of a compiled default profile. */
const defaultSeccompVersion = 1

/** Allowed to everybody, whatever the arguments. */
const allowedCalls = `
  accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
  clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
  clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
  epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
  exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
  fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
  fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
  futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
  getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
  getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt
  get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
  inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
  ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
  lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek
  lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod
  mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
  mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync
  munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
  pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv
  preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink
  readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename
  renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
  rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
  sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
  sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
  sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
  sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
  setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
  setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr setxattrat
  shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair
  splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
  tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
  timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64
  ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4
  waitid waitpid write writev
`

/** Protocol families of socket(2) that are refused: kernel attack surface that no container application needs. */
const refusedFamilies = [12, 19, 20, 23, 24, 25, 34, 37, 38, 40]

/** Flags of clone(2) that make namespaces: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const cloneNamespaceFlags = 0x7e020000
const ENOSYS = 38

/** Execution domains that only choose an ABI variant, and the query. */
const harmlessPersonalities = [0, 0x8, 0x20000, 0x20008, 0xffffffff]

/** Built on demand: a `run` whose compiled program is cached never needs it. */
export function defaultSeccompProfile(): SeccompProfile {
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 1,
    archMap: [
      { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
      { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
      { architecture: 'SCMP_ARCH_S390X', subArchitectures: ['SCMP_ARCH_S390'] },
      { architecture: 'SCMP_ARCH_RISCV64', subArchitectures: [] },
      { architecture: 'SCMP_ARCH_LOONGARCH64', subArchitectures: [] },
    ],
    syscalls: [
      allow(allowedCalls),
      allow('process_vm_readv process_vm_writev ptrace', { includes: { minKernel: '4.8' } }),
      ...sockets(),
      ...harmlessPersonalities.map(value => allow('personality', { args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }] })),
      ...byArchitecture(),
      ...byCapability(),
    ],
  }
}

function allow(names: string, conditions: Partial<SeccompProfileRule> = {}): SeccompProfileRule {
  return { names: names.trim().split(/\s+/), action: 'SCMP_ACT_ALLOW', ...conditions }
}

/** Families below the first refused one by one comparison, then each allowed one: AF_MCTP (45) is the last. */
function sockets(): SeccompProfileRule[] {
  const first = refusedFamilies[0] ?? 0
  const rules = [allow('socket', { args: [{ index: 0, value: first, op: 'SCMP_CMP_LT' }] })]
  for (let family = first + 1; family <= 45; family++) {
    if (!refusedFamilies.includes(family)) {
      rules.push(allow('socket', { args: [{ index: 0, value: family, op: 'SCMP_CMP_EQ' }] }))
    }
  }
  return rules
}

function byArchitecture(): SeccompProfileRule[] {
  return [
    allow('sync_file_range2 swapcontext', { includes: { arches: ['ppc64le'] } }),
    allow('arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls', {
      includes: { arches: ['arm', 'arm64'] },
    }),
    allow('arch_prctl', { includes: { arches: ['amd64', 'x32'] } }),
    allow('modify_ldt', { includes: { arches: ['amd64', 'x32', 'x86'] } }),
    allow('s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr', { includes: { arches: ['s390', 's390x'] } }),
    allow('riscv_flush_icache', { includes: { arches: ['riscv64'] } }),
  ]
}

/** What a capability opens: without it the call would fail, or reach code that only its holder should reach. */
const callsOfCapability: readonly (readonly [string, string])[] = [
  ['CAP_DAC_READ_SEARCH', 'open_by_handle_at'],
  [
    'CAP_SYS_ADMIN',
    `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
     lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
     sethostname setns syslog umount umount2 unshare`,
  ],
  ['CAP_SYS_BOOT', 'reboot'],
  ['CAP_SYS_CHROOT', 'chroot'],
  ['CAP_SYS_MODULE', 'delete_module init_module finit_module'],
  ['CAP_SYS_PACCT', 'acct'],
  ['CAP_SYS_PTRACE', 'kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace'],
  ['CAP_SYS_RAWIO', 'iopl ioperm'],
  ['CAP_SYS_TIME', 'settimeofday stime clock_settime clock_settime64'],
  ['CAP_SYS_TTY_CONFIG', 'vhangup'],
  ['CAP_SYS_NICE', 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node'],
  ['CAP_SYSLOG', 'syslog'],
  ['CAP_BPF', 'bpf'],
  ['CAP_PERFMON', 'perf_event_open'],
]

/** The capabilities that change the profile; all others share one compiled program. */
const seccompCapabilities: readonly string[] = callsOfCapability.map(([capability]) => capability)
const relevantMask = capabilityMask(seccompCapabilities)

function byCapability(): SeccompProfileRule[] {
  const noNamespaces = { value: cloneNamespaceFlags, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' as const }
  const s390 = ['s390', 's390x']
  const caps = ['CAP_SYS_ADMIN']
  return [
    ...callsOfCapability.map(([capability, names]) => allow(names, { includes: { caps: [capability] } })),
    allow('clone', { args: [{ index: 0, ...noNamespaces }], excludes: { caps, arches: s390 } }),
    // s390 has clone's first two arguments the other way round.
    allow('clone', { args: [{ index: 1, ...noNamespaces }], includes: { arches: s390 }, excludes: { caps } }),
    // clone3 passes its flags in memory, where no filter sees them: ENOSYS makes libc fall back to clone.
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS, excludes: { caps } },
  ]
}

export interface SeccompWish {
  /** The container's bounding set, bit n being capability n. */
  readonly capabilities: bigint
  /** The text of a docker profile; absent: the default. */
  readonly profile?: string
  /** Where the profile comes from, for errors. */
  readonly origin?: string
}

/** The filter of a container: see seccompProgram(). */
export function seccompFilter(cacheDir: string, wish: SeccompWish): SeccompFilter {
  const { profile, origin = 'profile' } = wish
  const flags = profile === undefined ? 0 : seccompFlagBits(parseSeccompProfile(profile, origin))
  return { program: seccompProgram(cacheDir, wish), flags }
}

/**
 * The compiled program for a container, from `cacheDir` (writable by root alone) where possible.
 * @throws TsrunError unavailable without libseccomp, invalid for a profile that is none
 */
export function seccompProgram(cacheDir: string, { capabilities, profile, origin }: SeccompWish): Uint8Array {
  if (profile === undefined) {
    const relevant = capabilities & relevantMask
    const key = `default${defaultSeccompVersion}-${process.arch}-${relevant.toString(16)}`
    return cachedSeccomp(cacheDir, key, () =>
      resolveProfile(defaultSeccompProfile(), { capabilities: capabilityNames(relevant) }),
    )
  }
  const key = `${profileHash(profile)}-${process.arch}-${release()}-${capabilities.toString(16)}`
  return cachedSeccomp(cacheDir, key, () => {
    const parsed = parseSeccompProfile(profile, origin ?? 'profile')
    return resolveProfile(parsed, { capabilities: capabilityNames(capabilities), kernel: release() })
  })
}
