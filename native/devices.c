/* Device nodes and the links beside them, in a /dev that is usually a fresh tmpfs but may be anything. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

/* In a user namespace mknod is forbidden: the host's node is bound over an empty file instead. */
static void bind_device(int rootfs, const struct device *d)
{
	struct stat st;
	cleanup_fd int node = open(d->host_path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (node < 0 || fstat(node, &st) < 0)
		die_errno("open the host's %s", d->host_path);
	if ((!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) || st.st_rdev != makedev(d->major, d->minor))
		die("the host's %s is not device %u:%u", d->host_path, d->major, d->minor);
	cleanup_fd int mount = clone_mount(node, "", 0);
	cleanup_fd int destination = make_in_root(rootfs, d->path, 0);
	if (mount < 0 || destination < 0 || k_move_mount(mount, destination) < 0)
		die_errno("bind the device %s", d->path);
}

static int is_same_device(int parent, const char *name, mode_t mode, const struct device *d)
{
	struct stat st;
	return fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == (mode & S_IFMT) &&
	       (d->type == 'p' || st.st_rdev == makedev(d->major, d->minor));
}

static void make_device(int rootfs, const struct device *d)
{
	char name[256];
	mode_t mode = (d->mode & 07777) | (d->type == 'b' ? S_IFBLK : d->type == 'p' ? S_IFIFO : S_IFCHR);
	cleanup_fd int parent = make_parent_in_root(rootfs, d->path, name);
	if (parent < 0)
		die_errno("create the directory of %s", d->path);
	if (mknodat(parent, name, mode, d->type == 'p' ? 0 : makedev(d->major, d->minor)) < 0) {
		if (errno == EPERM)
			return bind_device(rootfs, d);
		if (errno != EEXIST || !is_same_device(parent, name, mode, d))
			die_errno("create the device %s", d->path);
	}
	if ((d->uid || d->gid) && fchownat(parent, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
		die_errno("set the owner of %s", d->path);
}

void make_devices(const struct bootstrap *b, int rootfs)
{
	stage("devices");
	mode_t mask = umask(0);
	for (size_t i = 0; i < b->devices.count; i++)
		make_device(rootfs, &b->devices.items[i]);
	umask(mask);

	for (size_t i = 0; i < b->symlinks.count; i++) {
		char name[256];
		const struct symlink *link = &b->symlinks.items[i];
		cleanup_fd int parent = make_parent_in_root(rootfs, link->path, name);
		if (parent < 0 || (symlinkat(link->target, parent, name) < 0 && errno != EEXIST))
			die_errno("create the link %s", link->path);
	}
}

/*
 * /dev/console is the container's own terminal. CVE-2025-52565: what is bound is the descriptor that the pty master gave out,
 * not a path that could have been replaced since.
 */
void bind_console(int rootfs, int slave)
{
	cleanup_fd int mount = clone_mount(slave, "", 0);
	cleanup_fd int destination = make_in_root(rootfs, "/dev/console", 0);
	if (mount < 0 || destination < 0 || k_move_mount(mount, destination) < 0)
		die_errno("bind the terminal on /dev/console");
}
