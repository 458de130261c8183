/*
 * The process tree. The monitor stays outside everything; its child is the container.
 *
 *   engine -> tsrun-init (exits at once) -> monitor -> container                     the usual run
 *                                           monitor -> [intermediate] -> container   when namespaces are joined
 *
 * setns(2) changes the caller for good, so what joins is an intermediate process; it clones with CLONE_PARENT, which makes
 * the container the monitor's child all the same, and is gone before the container does anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

static int *join_fds;
static int engine_fd = -1; /* what the engine passed as descriptor 5, if anything */

/* Before anything else is opened, which could get the number 5. */
void take_engine_fd(void)
{
	if (fcntl(ENGINE_FD, F_SETFD, FD_CLOEXEC) == 0)
		engine_fd = ENGINE_FD;
}

/* Before the clone, in the monitor: a path that is wrong is found while there is nothing to undo. */
void open_joins(const struct bootstrap *b)
{
	stage("clone");
	join_fds = calloc(b->joins.count + 1, sizeof(int));
	if (!join_fds)
		die_errno("allocate the list of namespaces");
	for (size_t i = 0; i < b->joins.count; i++) {
		const char *path = b->joins.items[i].path;
		join_fds[i] = *path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		if (*path && join_fds[i] < 0)
			die_errno("open the namespace %s", path);
	}
	open_cgroup(b);
}

int user_namespace_to_join(const struct bootstrap *b)
{
	for (size_t i = 0; i < b->joins.count; i++)
		if (b->joins.items[i].flag == K_CLONE_NEWUSER)
			return join_fds[i];
	return -1;
}

int has_user_namespace(const struct bootstrap *b)
{
	return b->namespaces & K_CLONE_NEWUSER || user_namespace_to_join(b) >= 0;
}

static void join_one(uint32_t flag, int fd)
{
	if (setns(fd, (int)flag) < 0)
		die_errno("join a namespace of type 0x%x", flag);
}

/*
 * The user namespace comes last: joining it gives up the privileges that the others need, unless they belong to it, and
 * then the pidfd joins them all in one call in the right order.
 */
static void join_namespaces(const struct bootstrap *b)
{
	stage("join-namespaces");
	uint32_t through_pidfd = 0;
	if (has_flag(b, FLAG_NETNS_FD) && !b->exec)
		join_one(K_CLONE_NEWNET, engine_fd);
	for (size_t i = 0; i < b->joins.count; i++) {
		if (join_fds[i] < 0)
			through_pidfd |= b->joins.items[i].flag;
		else if (b->joins.items[i].flag != K_CLONE_NEWUSER)
			join_one(b->joins.items[i].flag, join_fds[i]);
	}
	for (size_t i = 0; i < b->joins.count; i++)
		if (join_fds[i] >= 0 && b->joins.items[i].flag == K_CLONE_NEWUSER)
			join_one(K_CLONE_NEWUSER, join_fds[i]);
	if (through_pidfd && setns(engine_fd, (int)through_pidfd) < 0)
		die_errno("join the container's namespaces");
}

static void close_joins(const struct bootstrap *b)
{
	close_fds(join_fds, (int)b->joins.count);
	close_cgroup();
}

/* The network namespace, when no intermediate process has joined it already. */
void join_network(const struct bootstrap *b)
{
	stage("join-namespaces");
	if (has_flag(b, FLAG_NETNS_FD))
		join_one(K_CLONE_NEWNET, engine_fd);
	close_fd(&engine_fd);
}

static int needs_intermediate(const struct bootstrap *b)
{
	/* A new user namespace has no power over a network namespace made outside, so that one is joined before. */
	return b->exec || b->joins.count > 0 || (b->namespaces & K_CLONE_NEWUSER && has_flag(b, FLAG_NETNS_FD));
}

/* The cgroup namespace is entered later, when the process is in the cgroup that becomes its root. */
static uint64_t clone_flags(const struct bootstrap *b)
{
	return b->namespaces & ~K_CLONE_NEWCGROUP;
}

static _Noreturn void intermediate_main(const struct child *child)
{
	set_title("tsrun[joining]");
	/* In exec mode here, where the host's paths are; in run mode in the child, whose user namespace the cgroup follows. */
	if (child->b->exec) {
		enter_cgroups(child->b);
		close_cgroup();
	}
	join_namespaces(child->b);
	stage("clone");
	pid_t pid = clone_process(clone_flags(child->b) | K_CLONE_PARENT);
	if (pid < 0)
		die_errno("create the container's process");
	if (pid == 0) {
		close_joins(child->b);
		close_fd(&engine_fd);
		container_main(child);
	}
	if (channel_send(child->channel, CHANNEL_PID, &pid, sizeof(pid), -1) < 0)
		_exit(125);
	_exit(0);
}

/*
 * A child's first steps, outside any container still: of the monitor's descriptors it keeps what it needs. With the monitor's
 * end of the channel open it would never see the monitor die; with a directory of the host open, a container that it
 * joins could reach that through /proc.
 */
static void part_from_monitor(const struct child *child)
{
	static struct fd_set_builder set;
	be_a_child(child->channel);
	keep_fd(&set, child->channel);
	keep_fd(&set, engine_fd);
	keep_cgroup(&set);
	for (int i = 0; i < 3; i++)
		keep_fd(&set, child->io->child[i]);
	for (size_t i = 0; i < child->b->joins.count; i++)
		keep_fd(&set, join_fds[i]);
	keep_prepared_mounts(child->b, &set);
	close_other_fds(&set);
}

/* In exec mode the process between is born in the cgroup, which its child inherits: moving there would wait. */
static pid_t clone_intermediate(const struct bootstrap *b)
{
	return b->exec ? clone_process(0) : fork();
}

struct spawned spawn_container(const struct child *child)
{
	stage("clone");
	const struct bootstrap *b = child->b;
	int indirect = needs_intermediate(b);
	pid_t pid = indirect ? clone_intermediate(b) : clone_process(clone_flags(b));
	if (pid < 0)
		die_errno("create the container's process");
	if (pid == 0) {
		part_from_monitor(child);
		if (indirect)
			intermediate_main(child);
		close_joins(b);
		join_network(b);
		container_main(child);
	}
	close_joins(b);
	close_fd(&engine_fd);
	return indirect ? (struct spawned){ 0, pid } : (struct spawned){ pid, 0 };
}

/* In the child, first of all in a new user namespace: until the maps are there it is nobody. */
void become_mapped_root(const struct child *child)
{
	stage("id-maps");
	channel_expect(child->channel, CHANNEL_MAPPED);
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		die_errno("become root of the user namespace");
}

/* Host files are written by the monitor: it is in no container, so neither its privileges nor its paths are in doubt. */
static void write_file(const char *path, const char *text, size_t length)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die_errno("open %s", path);
	if (write(fd, text, length) != (ssize_t)length)
		die_errno("write %.64s to %s", text, path);
}

static void write_map(pid_t pid, const char *file, const struct id_map *maps, size_t count)
{
	char path[64], text[4096];
	size_t length = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	for (size_t i = 0; i < count; i++) {
		int n = snprintf(text + length, sizeof(text) - length, "%u %u %u\n", maps[i].inside, maps[i].outside, maps[i].size);
		if (n < 0 || (size_t)n >= sizeof(text) - length)
			die("too many lines for %s", file);
		length += (size_t)n;
	}
	if (length > 0)
		write_file(path, text, length);
}

void write_id_maps(const struct bootstrap *b, pid_t pid)
{
	stage("id-maps");
	write_map(pid, "uid_map", b->uid_maps.items, b->uid_maps.count);
	write_map(pid, "gid_map", b->gid_maps.items, b->gid_maps.count);
}

void write_oom_score(const struct bootstrap *b, pid_t pid)
{
	stage("oom-score");
	char path[64], text[32];
	if (!b->has_oom_score_adj)
		return;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	int length = snprintf(text, sizeof(text), "%d", b->oom_score_adj);
	write_file(path, text, (size_t)length);
}
