/*
 * What is mounted in another mount namespace: /dev/shm of a container whose ipc namespace is shared. open_tree(2) copies
 * only mounts of the caller's own namespace, and entering one changes the root of the process: a child does it, and leaves
 * the copy in the descriptor table that it shares.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

/* In the child, which only ends: 0 or errno. `root` becomes the copy of what is at `path` below it; no link is followed. */
static int copy_over(int root, int namespace, const char *path, int recursive)
{
	if (setns(namespace, CLONE_NEWNS) < 0)
		return errno;
	int found = k_openat2(root, path, O_PATH | O_CLOEXEC, K_RESOLVE_IN_ROOT | K_RESOLVE_NO_SYMLINKS);
	int mount = found < 0 ? -1 : clone_mount(found, "", recursive);
	int result = mount < 0 || dup3(mount, root, O_CLOEXEC) < 0 ? errno : 0;
	if (mount >= 0)
		close(mount);
	if (found >= 0)
		close(found);
	return result;
}

int is_foreign_mount(const char *source)
{
	int pid, length = 0;
	return sscanf(source, "/proc/%d/root/%n", &pid, &length) == 1 && length > 0;
}

/* A detached copy of what `source`, /proc/PID/root/PATH, is for that process; -1 with errno. */
int clone_foreign_mount(const char *source, int recursive)
{
	char namespace_path[64], root_path[64];
	int pid = 0, length = 0, status = 0;
	sscanf(source, "/proc/%d/root%n", &pid, &length);
	snprintf(namespace_path, sizeof(namespace_path), "/proc/%d/ns/mnt", pid);
	cleanup_fd int namespace = open(namespace_path, O_RDONLY | O_CLOEXEC);
	snprintf(root_path, sizeof(root_path), "/proc/%d/root", pid);
	cleanup_fd int root = namespace < 0 ? -1 : open(root_path, O_PATH | O_CLOEXEC);
	if (root < 0)
		return -1;
	pid_t child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0)
		_exit(copy_over(root, namespace, source + length, recursive));
	if (child < 0)
		return -1;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
		return -1;
	}
	return steal_fd(&root);
}
