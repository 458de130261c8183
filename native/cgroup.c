/*
 * How a process gets into the container's cgroups: on v2 it is born there (CLONE_INTO_CGROUP), into the hierarchies of v1 it
 * moves itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

static int cgroup_fd = -1;
static int born_in_cgroup;

void open_cgroup(const struct bootstrap *b)
{
	if (!b->cgroup_dir)
		return;
	cgroup_fd = open(b->cgroup_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (cgroup_fd < 0)
		die_errno("open the cgroup %s", b->cgroup_dir);
}

void close_cgroup(void)
{
	close_fd(&cgroup_fd);
}

void keep_cgroup(struct fd_set_builder *set)
{
	keep_fd(set, cgroup_fd);
}

/* fork(2) with flags. Where the kernel cannot have a process born in a cgroup it moves there itself; see enter_cgroups(). */
pid_t clone_process(uint64_t flags)
{
	struct k_clone_args args = { .flags = flags, .exit_signal = flags & K_CLONE_PARENT ? 0 : SIGCHLD };
	if (cgroup_fd >= 0) {
		args.flags |= K_CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
		born_in_cgroup = 1;
		pid_t born = (pid_t)syscall(NR_CLONE3, &args, sizeof(args));
		if (born >= 0 || (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP && errno != EBUSY && errno != E2BIG))
			return born;
		args.flags &= ~K_CLONE_INTO_CGROUP;
		args.cgroup = 0;
		born_in_cgroup = 0;
	}
	pid_t pid = (pid_t)syscall(NR_CLONE3, &args, sizeof(args));
	/* Some sandboxes hide clone3; the old call knows all flags but CLONE_NEWTIME, whose bit it takes for a signal. */
	if (pid < 0 && errno == ENOSYS && !(flags & K_CLONE_NEWTIME))
		pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
	return pid;
}

/*
 * Moves this process. A write to cgroup.procs takes a lock that waits for an RCU grace period, 15 ms or more on an idle
 * machine; since Linux 5.5 a thread that moves itself through a v1 hierarchy's `tasks` does not need it, and a
 * process of one thread is moved by that as a whole.
 */
static void enter_cgroup(const char *procs)
{
	static const char suffix[] = "/cgroup.procs";
	char tasks[PATH_MAX];
	size_t length = strlen(procs);
	cleanup_fd int fd = -1;
	if (length > sizeof(suffix) && length < sizeof(tasks) && strcmp(procs + length - strlen(suffix), suffix) == 0) {
		strcpy(tasks, procs);
		strcpy(tasks + length - strlen(suffix), "/tasks");
		fd = open(tasks, O_WRONLY | O_CLOEXEC);
	}
	if (fd < 0)
		fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die_errno("open %s", procs);
	if (write(fd, "0", 1) != 1)
		die_errno("move into the cgroup of %s", procs);
}

/* While the host's paths are still there, and first, so that everything that follows is accounted to the container. */
void enter_cgroups(const struct bootstrap *b)
{
	char procs[PATH_MAX];
	stage("cgroup");
	for (size_t i = 0; i < b->cgroup_procs.count; i++)
		enter_cgroup(b->cgroup_procs.items[i]);
	if (!b->cgroup_dir || born_in_cgroup)
		return;
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", b->cgroup_dir);
	enter_cgroup(procs);
}
