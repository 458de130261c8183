/*
 * tmpfs with "tmpcopyup": starts with what the image has at the mount point. Works on descriptors from directory to
 * directory and follows no link, so what the image contains cannot lead out of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"

static void copy_directory(int from, int to, int depth);

/* Names and values of up to 64 KiB, as the kernel has it; what tmpfs does not take (user.*) is left behind. */
static void copy_xattrs(int from, int to)
{
	char names[4096], value[4096];
	ssize_t length = flistxattr(from, names, sizeof(names));
	for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
		ssize_t size = fgetxattr(from, names + at, value, sizeof(value));
		if (size >= 0)
			(void)!fsetxattr(to, names + at, value, (size_t)size, 0);
	}
}

static void copy_metadata(int from, int to, const struct stat *st)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
		die_errno("copy an owner or mode into a tmpfs");
	copy_xattrs(from, to);
	(void)!futimens(to, times);
}

static void copy_file(int from, int to, const char *name, const struct stat *st)
{
	cleanup_fd int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	cleanup_fd int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (in < 0 || out < 0)
		die_errno("copy %s into a tmpfs", name);
	for (;;) {
		ssize_t n = sendfile(out, in, NULL, 1 << 20);
		if (n < 0 && errno != EINTR)
			die_errno("copy %s into a tmpfs", name);
		if (n == 0)
			break;
	}
	copy_metadata(in, out, st);
}

static void copy_link(int from, int to, const char *name, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(from, name, target, sizeof(target) - 1);
	if (length < 0)
		die_errno("read the link %s", name);
	target[length] = 0;
	if (symlinkat(target, to, name) < 0 || fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		die_errno("copy the link %s into a tmpfs", name);
}

static void copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		die_errno("look at %s", name);
	if (S_ISREG(st.st_mode)) {
		copy_file(from, to, name, &st);
	} else if (S_ISLNK(st.st_mode)) {
		copy_link(from, to, name, &st);
	} else if (S_ISDIR(st.st_mode)) {
		if (mkdirat(to, name, 0700) < 0)
			die_errno("copy the directory %s into a tmpfs", name);
		cleanup_fd int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		cleanup_fd int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (in < 0 || out < 0)
			die_errno("open the directory %s", name);
		copy_directory(in, out, depth + 1);
		copy_metadata(in, out, &st);
	}
	/* Devices, sockets and fifos are not copied: nothing in an image's /run or /tmp needs them. */
}

static void copy_directory(int from, int to, int depth)
{
	if (depth > 128)
		die("copy into a tmpfs: the directories are nested too deeply");
	int own = fcntl(from, F_DUPFD_CLOEXEC, 0);
	DIR *directory = own < 0 ? NULL : fdopendir(own);
	if (!directory)
		die_errno("read a directory of the image");
	for (struct dirent *entry; (entry = readdir(directory));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			copy_entry(from, to, entry->d_name, depth);
	closedir(directory);
}

/* `from` and `to` are O_PATH descriptors of the covered directory and of the tmpfs on top of it. */
void copy_tree(int from, int to)
{
	cleanup_fd int in = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int out = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in < 0 || out < 0)
		die_errno("open the directories of a tmpfs with tmpcopyup");
	copy_directory(in, out, 0);
}
