/*
 * Masked and read-only paths. After all mounts, which they cover, and before the pivot, because the null device that hides
 * files is the host's own: one from the image could be a link to anything (CVE-2025-31133).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

/* The host's null device, checked to be that. */
int open_null(void)
{
	struct stat st;
	int fd = open("/dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		die_errno("open the host's /dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		die("the host's /dev/null is not the null device");
	return fd;
}

/* One empty read-only tmpfs, cloned for each masked directory: a filesystem each would be slower to make and to unmake. */
static int make_empty_directory(void)
{
	cleanup_fd int context = (int)syscall(NR_FSOPEN, "tmpfs", K_FSOPEN_CLOEXEC);
	if (context < 0 || syscall(NR_FSCONFIG, context, K_FSCONFIG_SET_STRING, "nr_blocks", "1", 0) < 0 ||
	    syscall(NR_FSCONFIG, context, K_FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
	    syscall(NR_FSCONFIG, context, K_FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    syscall(NR_FSCONFIG, context, K_FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		die_errno("create an empty tmpfs");
	int fd = (int)syscall(NR_FSMOUNT, context, K_FSMOUNT_CLOEXEC,
			      K_MOUNT_ATTR_RDONLY | K_MOUNT_ATTR_NOSUID | K_MOUNT_ATTR_NODEV | K_MOUNT_ATTR_NOEXEC);
	if (fd < 0)
		die_errno("mount an empty tmpfs");
	return fd;
}

static void mask(const char *path, int rootfs, int null_device, int *empty)
{
	struct stat st;
	cleanup_fd int target = open_in_root(rootfs, path, O_PATH);
	if (target < 0 && (errno == ENOENT || errno == ENOTDIR))
		return;
	if (target < 0 || fstat(target, &st) < 0)
		die_errno("open %s to mask it", path);
	cleanup_fd int cover = -1;
	if (!S_ISDIR(st.st_mode)) {
		cover = clone_mount(null_device, "", 0);
	} else if (*empty < 0) {
		/* Once attached it can be cloned for the next; a detached mount could not be, before Linux 6.15. */
		cover = make_empty_directory();
		*empty = fcntl(cover, F_DUPFD_CLOEXEC, 0);
	} else {
		cover = clone_mount(*empty, "", 0);
	}
	if (cover < 0 || k_move_mount(cover, target) < 0)
		die_errno("mask %s", path);
}

static void make_readonly(const char *path, int rootfs)
{
	cleanup_fd int target = open_in_root(rootfs, path, O_PATH);
	if (target < 0 && (errno == ENOENT || errno == ENOTDIR))
		return;
	cleanup_fd int mount = target < 0 ? -1 : clone_mount(target, "", 1);
	if (mount < 0 || k_move_mount(mount, target) < 0)
		die_errno("bind %s on itself", path);
	if (restrict_mount(mount, MS_RDONLY, 0) < 0)
		die_errno("make %s read-only", path);
}

void protect_paths(const struct bootstrap *b, int rootfs)
{
	stage("protect-paths");
	for (size_t i = 0; i < b->readonly.count; i++)
		make_readonly(b->readonly.items[i], rootfs);
	if (b->masked.count == 0)
		return;
	cleanup_fd int null_device = open_null();
	cleanup_fd int empty = -1;
	for (size_t i = 0; i < b->masked.count; i++)
		mask(b->masked.items[i], rootfs, null_device, &empty);
}
