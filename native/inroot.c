/*
 * Paths inside the rootfs. The image decides what is there, and with shared volumes another container can change it at this
 * very moment (CVE-2021-30465), so the kernel resolves every path (openat2, RESOLVE_IN_ROOT) and everything after that
 * works on the object that was opened, never on its name again.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

const char *fd_path(int fd, char buffer[32])
{
	snprintf(buffer, 32, "/proc/self/fd/%d", fd);
	return buffer;
}

int open_in_root(int rootfs, const char *path, uint64_t flags)
{
	/* EAGAIN: a rename elsewhere on the system raced with "..": try again, as openat2(2) says. */
	for (int attempt = 0;; attempt++) {
		int fd = k_openat2(rootfs, path, flags | O_CLOEXEC, K_RESOLVE_IN_ROOT | K_RESOLVE_NO_MAGICLINKS);
		if (fd >= 0 || errno != EAGAIN || attempt == 128)
			return fd;
	}
}

/* Replaces the symlink at the end of `prefix` by its target, in front of `rest`: what path resolution would do. */
static int follow(int parent, const char *name, char *prefix, char *rest)
{
	char joined[PATH_MAX];
	char target[PATH_MAX];
	ssize_t length = readlinkat(parent, name, target, sizeof(target) - 1);
	if (length < 0)
		return -1;
	target[length] = 0;
	char *slash = strrchr(prefix, '/');
	if (slash)
		*slash = 0;
	else
		*prefix = 0;
	if (*target == '/')
		*prefix = 0;
	if ((size_t)snprintf(joined, sizeof(joined), "%s/%s", target, rest) >= sizeof(joined)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(rest, joined, strlen(joined) + 1);
	return 0;
}

static int create(int parent, const char *name, int directory)
{
	if (directory)
		return mkdirat(parent, name, 0755);
	cleanup_fd int fd = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
	return fd < 0 ? -1 : 0;
}

/* Cuts the first component off `rest` and adds it to `prefix`. 0: there was none. */
static int next_component(char *prefix, char *rest, const char **name)
{
	char *start = rest + strspn(rest, "/");
	size_t length = strcspn(start, "/");
	size_t at = strlen(prefix);
	if (length == 0)
		return 0;
	if (at + length + 2 > PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	prefix[at] = '/';
	memcpy(prefix + at + 1, start, length);
	prefix[at + 1 + length] = 0;
	*name = prefix + at + 1;
	memmove(rest, start + length, strlen(start + length) + 1);
	return 1;
}

/*
 * Opens `path`, making what is missing on the way: directories, and at its end a directory or an empty file. A symlink to
 * something missing (an image with /var/run -> /run and no /run) is followed, in the root, and its target made.
 */
int make_in_root(int rootfs, const char *path, int directory)
{
	char prefix[PATH_MAX] = "", rest[PATH_MAX];
	int links = 0;
	int fd = open_in_root(rootfs, path, O_PATH);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (strlen(path) >= sizeof(rest)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(rest, path);
	cleanup_fd int parent = open_in_root(rootfs, "/", O_PATH | O_DIRECTORY);
	for (;;) {
		const char *name;
		int more = next_component(prefix, rest, &name);
		if (more < 0)
			return -1;
		if (more == 0)
			return open_in_root(rootfs, *prefix ? prefix : "/", O_PATH);
		int last = rest[strspn(rest, "/")] == 0;
		fd = open_in_root(rootfs, prefix, last ? O_PATH : O_PATH | O_DIRECTORY);
		if (fd < 0 && errno == ENOENT && create(parent, name, directory || !last) == 0)
			fd = open_in_root(rootfs, prefix, O_PATH);
		else if (fd < 0 && errno == EEXIST && ++links <= 40 && follow(parent, name, prefix, rest) == 0)
			fd = open_in_root(rootfs, *prefix ? prefix : "/", O_PATH | O_DIRECTORY);
		if (fd < 0)
			return -1;
		close_fd(&parent);
		parent = fd;
	}
}

/* The directory that holds `path`, made when missing, and its last component. */
int make_parent_in_root(int rootfs, const char *path, char name[256])
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	if (strlen(path) >= sizeof(parent) || strlen(base) > 255 || !*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
		errno = EINVAL;
		return -1;
	}
	strcpy(name, base);
	memcpy(parent, path, (size_t)(base - path));
	parent[base - path] = 0;
	return make_in_root(rootfs, *parent ? parent : "/", 1);
}
