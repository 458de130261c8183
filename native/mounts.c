/*
 * The mounts below the rootfs, in the engine's order. Binds are detached clones that get their flags before anybody can
 * see them and are then moved onto the object that was opened; filesystems are mounted on /proc/self/fd/N, while /proc is
 * still the host's. Nothing in here follows a path of the image twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

/* Binds onto these files of /proc are what lxcfs does; onto anything else there they would fake the kernel's word. */
static const char *const proc_files[] = {
	"cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
};

static int clone_source(const struct mount *m)
{
	int recursive = (m->flags & MS_REC) != 0;
	return is_foreign_mount(m->source) ? clone_foreign_mount(m->source, recursive) :
					     clone_mount(AT_FDCWD, m->source, recursive);
}

static int *prepared; /* detached bind sources, -1 for the other mounts */

/*
 * In the monitor, for a container with a user namespace: its root is nobody on the host and may not be able to reach the
 * layers or a bind's source, so both are opened here and only attached there. Without one, only what says so.
 */
void prepare_mounts(const struct bootstrap *b)
{
	stage("mounts");
	int user_namespace = user_namespace_to_join(b);
	prepared = calloc(b->mounts.count + 1, sizeof(int));
	if (!prepared)
		die_errno("allocate the list of mounts");
	for (size_t i = 0; i < b->mounts.count; i++) {
		const struct mount *m = &b->mounts.items[i];
		int bind = m->flags & MS_BIND && (has_user_namespace(b) || m->options & MOUNT_OPTION_OPEN_FIRST);
		prepared[i] = bind ? clone_source(m) : -1;
		if (bind && prepared[i] < 0 && !(m->options & MOUNT_OPTION_OPTIONAL))
			die_errno("open %s to mount it on %s", m->source, m->destination);
		if (prepared[i] >= 0 && m->options & MOUNT_OPTION_IDMAP && idmap_mount(prepared[i], user_namespace) < 0)
			die_errno("map the ids of %s for %s (its file system may not be able to)", m->source, m->destination);
	}
	if (has_user_namespace(b))
		prepare_rootfs(b);
}

void close_prepared_mounts(const struct bootstrap *b)
{
	if (prepared)
		close_fds(prepared, (int)b->mounts.count);
	close_prepared_rootfs();
}

void keep_prepared_mounts(const struct bootstrap *b, struct fd_set_builder *set)
{
	for (size_t i = 0; prepared && i < b->mounts.count; i++)
		keep_fd(set, prepared[i]);
	keep_prepared_rootfs(set);
}

/* A detached copy of the mount at `path`, or, with an empty path, of what `fd` is. */
int clone_mount(int fd, const char *path, int recursive)
{
	unsigned flags = K_OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? K_AT_RECURSIVE : 0);
	return k_open_tree(fd, path, *path ? flags : flags | AT_EMPTY_PATH);
}

static uint64_t attributes_of(uint32_t flags)
{
	return (flags & MS_RDONLY ? K_MOUNT_ATTR_RDONLY : 0) | (flags & MS_NOSUID ? K_MOUNT_ATTR_NOSUID : 0) |
	       (flags & MS_NODEV ? K_MOUNT_ATTR_NODEV : 0) | (flags & MS_NOEXEC ? K_MOUNT_ATTR_NOEXEC : 0) |
	       (flags & MS_NOATIME ? K_MOUNT_ATTR_NOATIME : 0) | (flags & MS_STRICTATIME ? K_MOUNT_ATTR_STRICTATIME : 0) |
	       (flags & MS_NODIRATIME ? K_MOUNT_ATTR_NODIRATIME : 0) |
	       (flags & K_MS_NOSYMFOLLOW ? K_MOUNT_ATTR_NOSYMFOLLOW : 0);
}

/* Before 5.12: a bind remount replaces all flags, so the ones that are there (and may be locked) are given again. */
static int restrict_by_remount(int mount_fd, uint32_t flags)
{
	char path[32];
	struct statvfs now;
	if (fstatvfs(mount_fd, &now) < 0)
		return -1;
	flags |= (now.f_flag & ST_RDONLY ? MS_RDONLY : 0) | (now.f_flag & ST_NOSUID ? MS_NOSUID : 0) |
		 (now.f_flag & 4 /* ST_NODEV */ ? MS_NODEV : 0) | (now.f_flag & 8 /* ST_NOEXEC */ ? MS_NOEXEC : 0);
	if (!(flags & (MS_NOATIME | MS_RELATIME | MS_STRICTATIME)))
		flags |= (now.f_flag & 1024 ? MS_NOATIME : 0) | (now.f_flag & 4096 ? MS_RELATIME : 0);
	flags |= now.f_flag & 2048 ? MS_NODIRATIME : 0;
	return mount(NULL, fd_path(mount_fd, path), NULL, MS_REMOUNT | MS_BIND | flags, NULL);
}

/* Adds restrictions to the mount that `mount_fd` is the root of; never takes one away. */
int restrict_mount(int mount_fd, uint32_t flags, int recursive)
{
	struct k_mount_attr attr = { .attr_set = attributes_of(flags) };
	if (flags & (MS_NOATIME | MS_STRICTATIME | MS_RELATIME))
		attr.attr_clr |= K_MOUNT_ATTR_ATIME;
	if (attr.attr_set == 0 && attr.attr_clr == 0)
		return 0;
	if (k_mount_setattr(mount_fd, recursive ? K_AT_RECURSIVE : 0, &attr) == 0)
		return 0;
	return errno == ENOSYS && !recursive ? restrict_by_remount(mount_fd, flags) : -1;
}

void set_propagation(int mount_fd, uint32_t propagation)
{
	char path[32];
	if (mount(NULL, fd_path(mount_fd, path), NULL, propagation, NULL) < 0)
		die_errno("set mount propagation to 0x%x", propagation);
}

/* CVE-2019-16884: with something else on /proc, labels and sysctls would be written into the image's files. */
static void refuse_proc(const struct mount *m, int destination)
{
	struct statfs fs;
	if (fstatfs(destination, &fs) < 0)
		die_errno("look at the filesystem of %s", m->destination);
	if (fs.f_type != K_PROC_SUPER_MAGIC)
		return;
	const char *file = strncmp(m->destination, "/proc/", 6) == 0 ? m->destination + 6 : "";
	for (size_t i = 0; i < sizeof(proc_files) / sizeof(*proc_files); i++)
		if (strcmp(file, proc_files[i]) == 0)
			return;
	die("mount on %s: it is inside /proc", m->destination);
}

/* proc and sysfs on a link would be proc and sysfs somewhere else, and the masked paths would mask nothing. */
static int must_be_literal(const char *type)
{
	return strcmp(type, "proc") == 0 || strcmp(type, "sysfs") == 0;
}

static int open_destination(const struct mount *m, int rootfs, int directory)
{
	int fd = make_in_root(rootfs, m->destination, directory);
	if (fd < 0)
		return -1;
	if (must_be_literal(m->type) && !(m->flags & MS_BIND)) {
		const char *path = m->destination + strspn(m->destination, "/");
		close(fd);
		fd = k_openat2(rootfs, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
			       K_RESOLVE_IN_ROOT | K_RESOLVE_NO_SYMLINKS);
	} else {
		refuse_proc(m, fd);
	}
	return fd;
}

/* 0, or -1 with errno: the caller knows whether this mount may be missing. */
static int bind_mount(const struct mount *m, int rootfs, int opened)
{
	struct stat st;
	cleanup_fd int source = opened >= 0 ? opened : clone_mount(AT_FDCWD, m->source, (m->flags & MS_REC) != 0);
	if (source < 0 || fstat(source, &st) < 0)
		return -1;
	cleanup_fd int destination = open_destination(m, rootfs, S_ISDIR(st.st_mode));
	if (destination < 0 || k_move_mount(source, destination) < 0)
		return -1;
	/* Private first: flags would not propagate, but mounts made below would. */
	set_propagation(source, m->propagation ? m->propagation : MS_PRIVATE | MS_REC);
	if (restrict_mount(source, m->flags, 0) < 0)
		return -1;
	if (m->options & MOUNT_OPTION_RECURSIVE_READ_ONLY && restrict_mount(source, MS_RDONLY, 1) < 0)
		die_errno("make the mounts below %s read-only (needs Linux 5.12)", m->destination);
	return 0;
}

/*
 * As docker has it: a tmpfs without a mode takes that of the directory it covers, and where there was none it is for
 * everybody, as /tmp is. So is then the directory, for the next start, unless a bind mount would show it to the host.
 */
static void keep_mode(const struct mount *m, int rootfs, int covered, int mounted, int is_new)
{
	struct stat st, root;
	char path[32];
	if (strstr(m->data, "mode=") || fstat(covered, &st) < 0)
		return;
	if (is_new) {
		st.st_mode = S_ISVTX | 0777;
		if (fstat(rootfs, &root) == 0 && root.st_dev == st.st_dev && chmod(fd_path(covered, path), st.st_mode) < 0)
			die_errno("set the mode of the directory below %s", m->destination);
	}
	if (chmod(fd_path(mounted, path), st.st_mode & 07777) < 0)
		die_errno("set the mode of %s", m->destination);
}

/* A detached tmpfs, or -1 when mount(2) has to do it, or to say why not. */
static int open_tmpfs(const struct mount *m)
{
	cleanup_fd int context = (int)syscall(NR_FSOPEN, "tmpfs", K_FSOPEN_CLOEXEC);
	const char *source = *m->source ? m->source : "tmpfs";
	if (context < 0 || set_mount_options(context, m->data) < 0 ||
	    syscall(NR_FSCONFIG, context, K_FSCONFIG_SET_STRING, "source", source, 0) < 0 ||
	    syscall(NR_FSCONFIG, context, K_FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return (int)syscall(NR_FSMOUNT, context, K_FSMOUNT_CLOEXEC, attributes_of(m->flags & ~(uint32_t)MS_RDONLY));
}

/* What can only be done to a tmpfs that is still writable, and then its being read-only. */
static int fill_tmpfs(const struct mount *m, int covered, int mounted)
{
	if (m->options & MOUNT_OPTION_TMP_COPY_UP)
		copy_tree(covered, mounted);
	return restrict_mount(mounted, m->flags & MS_RDONLY, 0);
}

/* Filled before it is attached, so nobody sees it half done and no path is looked up a second time. */
static int tmpfs_mount(const struct mount *m, int rootfs)
{
	cleanup_fd int there = open_in_root(rootfs, m->destination, O_PATH | O_DIRECTORY);
	int is_new = there < 0 && errno == ENOENT;
	cleanup_fd int destination = open_destination(m, rootfs, 1);
	cleanup_fd int mounted = destination < 0 ? -1 : open_tmpfs(m);
	if (mounted >= 0) {
		keep_mode(m, rootfs, destination, mounted, is_new);
		if (fill_tmpfs(m, destination, mounted) < 0 || k_move_mount(mounted, destination) < 0)
			return -1;
	} else {
		char path[32];
		uint32_t flags = m->flags & ~(uint32_t)(MS_RDONLY | MS_REC);
		if (destination < 0 || mount("tmpfs", fd_path(destination, path), "tmpfs", flags, m->data) < 0)
			return -1;
		mounted = open_in_root(rootfs, m->destination, O_PATH | O_DIRECTORY);
		if (mounted < 0)
			return -1;
		keep_mode(m, rootfs, destination, mounted, is_new);
		if (fill_tmpfs(m, destination, mounted) < 0)
			return -1;
	}
	if (m->propagation)
		set_propagation(mounted, m->propagation);
	return 0;
}

static int filesystem_mount(const struct mount *m, int rootfs)
{
	char path[32];
	cleanup_fd int destination = open_destination(m, rootfs, 1);
	const char *source = *m->source ? m->source : m->type;
	uint32_t flags = m->flags & ~(uint32_t)MS_REC;
	if (destination < 0 || mount(source, fd_path(destination, path), m->type, flags, m->data) < 0)
		return -1;
	if (!m->propagation)
		return 0;
	cleanup_fd int mounted = open_in_root(rootfs, m->destination, O_PATH | O_DIRECTORY);
	if (mounted < 0)
		return -1;
	set_propagation(mounted, m->propagation);
	return 0;
}

static int make_mount(const struct mount *m, int rootfs, int opened)
{
	if (m->flags & MS_BIND)
		return bind_mount(m, rootfs, opened);
	return strcmp(m->type, "tmpfs") == 0 ? tmpfs_mount(m, rootfs) : filesystem_mount(m, rootfs);
}

void make_mounts(const struct bootstrap *b, int rootfs)
{
	stage("mounts");
	for (size_t i = 0; i < b->mounts.count; i++) {
		const struct mount *m = &b->mounts.items[i];
		const char *source = m->flags & MS_BIND || *m->source ? m->source : m->type;
		if (make_mount(m, rootfs, prepared ? prepared[i] : -1) < 0 && !(m->options & MOUNT_OPTION_OPTIONAL))
			die_errno("mount %s on %s", source, m->destination);
	}
}
