/*
 * What the kernel has and the C libraries do not, or not under one name: system calls newer than musl 1.2.3 and the
 * constants that go with them. Numbers above 423 are the same on every architecture.
 */
#pragma once

#include <signal.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define NR_PIDFD_OPEN 434
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSCONFIG 431
#define NR_FSMOUNT 432
#define NR_CLONE3 435
#define NR_CLOSE_RANGE 436
#define NR_OPENAT2 437
#define NR_MOUNT_SETATTR 442

/* linux/openat2.h */
#define K_RESOLVE_NO_MAGICLINKS 0x02
#define K_RESOLVE_NO_SYMLINKS 0x04
#define K_RESOLVE_BENEATH 0x08
#define K_RESOLVE_IN_ROOT 0x10

/* linux/mount.h */
#define K_OPEN_TREE_CLONE 1
#define K_MOVE_MOUNT_F_EMPTY_PATH 0x4
#define K_MOVE_MOUNT_T_EMPTY_PATH 0x40
#define K_FSOPEN_CLOEXEC 1
#define K_FSMOUNT_CLOEXEC 1
#define K_FSCONFIG_SET_FLAG 0
#define K_FSCONFIG_SET_STRING 1
#define K_FSCONFIG_CMD_CREATE 6
#define K_AT_RECURSIVE 0x8000
#define K_MOUNT_ATTR_RDONLY 0x1
#define K_MOUNT_ATTR_NOSUID 0x2
#define K_MOUNT_ATTR_NODEV 0x4
#define K_MOUNT_ATTR_NOEXEC 0x8
#define K_MOUNT_ATTR_ATIME 0x70
#define K_MOUNT_ATTR_NOATIME 0x10
#define K_MOUNT_ATTR_STRICTATIME 0x20
#define K_MOUNT_ATTR_NODIRATIME 0x80
#define K_MOUNT_ATTR_NOSYMFOLLOW 0x200000
#define K_MOUNT_ATTR_IDMAP 0x100000
#define K_MS_NOSYMFOLLOW 256

/* linux/securebits.h */
#define K_SECBIT_NO_SETUID_FIXUP 0x4

/* linux/magic.h */
#define K_PROC_SUPER_MAGIC 0x9fa0
#define K_DEVPTS_SUPER_MAGIC 0x1cd1

/* linux/sched.h */
#define K_CLONE_NEWTIME 0x80UL
#define K_CLONE_NEWNS 0x20000UL
#define K_CLONE_NEWCGROUP 0x2000000UL
#define K_CLONE_NEWUTS 0x4000000UL
#define K_CLONE_NEWIPC 0x8000000UL
#define K_CLONE_NEWUSER 0x10000000UL
#define K_CLONE_NEWPID 0x20000000UL
#define K_CLONE_NEWNET 0x40000000UL
#define K_CLONE_PARENT 0x8000UL
#define K_CLONE_INTO_CGROUP 0x200000000ULL

struct k_clone_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

struct k_open_how {
	uint64_t flags, mode, resolve;
};

struct k_mount_attr {
	uint64_t attr_set, attr_clr, propagation, userns_fd;
};

static inline int k_openat2(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct k_open_how how = { .flags = flags, .resolve = resolve };
	return (int)syscall(NR_OPENAT2, dir, path, &how, sizeof(how));
}

static inline int k_open_tree(int dir, const char *path, unsigned flags)
{
	return (int)syscall(NR_OPEN_TREE, dir, path, flags);
}

/* Attaches the detached mount `from` on top of `to`; both are the objects themselves, so no path can be swapped. */
static inline int k_move_mount(int from, int to)
{
	return (int)syscall(NR_MOVE_MOUNT, from, "", to, "", K_MOVE_MOUNT_F_EMPTY_PATH | K_MOVE_MOUNT_T_EMPTY_PATH);
}

static inline int k_mount_setattr(int fd, unsigned flags, const struct k_mount_attr *attr)
{
	return (int)syscall(NR_MOUNT_SETATTR, fd, "", 0x1000 /* AT_EMPTY_PATH */ | flags, attr, sizeof(*attr));
}

static inline int k_close_range(unsigned first, unsigned last, unsigned flags)
{
	return (int)syscall(NR_CLOSE_RANGE, first, last, flags);
}
