/*
 * The child: from its birth in new namespaces to the exec of the command. Up to READY it prepares everything that can
 * fail; after GO comes only what must be last.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

enum { JOIN_SESSION_KEYRING = 1 };

static int channel = -1;

static void report_to_monitor(const struct failure *failure)
{
	uint8_t payload[1024];
	channel_send(channel, MESSAGE_FAILED, payload, encode_failure(failure, payload), -1);
}

/* The first thing after a fork: until then a failure would be handled as the monitor's own. */
void be_a_child(int channel_fd)
{
	channel = channel_fd;
	report_failures_to(report_to_monitor);
}

/*
 * A session, a keyring and a death of its own. First, so that from here on this process cannot outlive its monitor (a
 * monitor that died before is noticed at the next message) nor be looked into by anybody inside (CVE-2016-9962; the monitor
 * was not dumpable when it cloned, so there was no moment before this one).
 */
static void start_session(const struct bootstrap *b)
{
	char name[128];
	stage("session");
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		die_errno("protect the process");
	if (setsid() < 0)
		die_errno("start a session");
	/* Keys are not namespaced: without this the container would share the engine's session keyring. Some kernels have no
	 * keys and root's quota of them may be full; neither is a reason not to run. */
	snprintf(name, sizeof(name), "_ses.%.64s", b->id);
	if (syscall(SYS_keyctl, JOIN_SESSION_KEYRING, name) < 0 && errno != ENOSYS && errno != EPERM && errno != EDQUOT &&
	    errno != EACCES)
		die_errno("join a session keyring");
	umask(022);
	restore_file_limit();
}

/* The cgroup that the process is in becomes the root of what it sees, so it goes there first. */
static void enter_cgroup_namespace(const struct bootstrap *b)
{
	if (!b->exec)
		enter_cgroups(b);
	if (b->namespaces & K_CLONE_NEWCGROUP && unshare((int)K_CLONE_NEWCGROUP) < 0)
		die_errno("create a cgroup namespace");
}

static void set_host_names(const struct bootstrap *b)
{
	stage("hostname");
	if (b->hostname && sethostname(b->hostname, strlen(b->hostname)) < 0)
		die_errno("set the hostname to %s", b->hostname);
	if (b->domainname && setdomainname(b->domainname, strlen(b->domainname)) < 0)
		die_errno("set the domain name to %s", b->domainname);
}

/* Docker makes a missing working directory. Failing is not fatal here: entering it is what counts, and that comes later. */
static void make_cwd(const struct bootstrap *b, int rootfs)
{
	cleanup_fd int fd = make_in_root(rootfs, b->cwd, 1);
	(void)fd;
}

/* Returns the terminal's slave, or -1 without one. */
static int set_up_rootfs(const struct bootstrap *b)
{
	cleanup_fd int rootfs = attach_rootfs(b);
	int slave = -1;
	make_mounts(b, rootfs);
	if (has_flag(b, FLAG_TTY)) {
		slave = open_terminal(b, channel, rootfs);
		bind_console(rootfs, slave);
	}
	make_devices(b, rootfs);
	make_cwd(b, rootfs);
	protect_paths(b, rootfs);
	finish_rootfs(b, rootfs);
	return slave;
}

/* Everything that can be done before the engine says GO. Returns the terminal's slave, or -1. */
static int prepare(const struct bootstrap *b)
{
	int slave = -1;
	start_session(b);
	open_procfs();
	write_labels(b);
	write_sysctls(b);
	close_procfs();
	if (b->has_rootfs)
		slave = set_up_rootfs(b);
	else if (has_flag(b, FLAG_TTY))
		slave = open_terminal(b, channel, -1);
	set_host_names(b);
	return slave;
}

/*
 * CVE-2024-21626: no magic links, so /proc/self/fd/N leads nowhere, and nothing outside the root is accepted.
 * 0, or -1 with errno.
 */
static int enter_cwd(const struct bootstrap *b)
{
	char path[4096];
	cleanup_fd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int cwd = root < 0 ? -1 : open_in_root(root, b->cwd, O_PATH | O_DIRECTORY);
	if (cwd < 0 || fchdir(cwd) < 0)
		return -1;
	if (syscall(SYS_getcwd, path, sizeof(path)) < 0 || path[0] != '/') {
		errno = ENOENT;
		return -1;
	}
	return 0;
}

static int joins_user_namespace(const struct bootstrap *b)
{
	for (size_t i = 0; i < b->joins.count; i++)
		if (b->joins.items[i].flag == K_CLONE_NEWUSER)
			return 1;
	return 0;
}

/* Ends with the channel as descriptor 3 and nothing above it. */
static void close_everything_else(void)
{
	if (channel != 3 && dup3(channel, 3, O_CLOEXEC) < 0)
		die_errno("move the channel");
	channel = 3;
	if (k_close_range(4, ~0U, 0) < 0)
		die_errno("close inherited files");
}

void container_main(const struct child *child)
{
	const struct bootstrap *b = child->b;
	set_title("tsrun[setup]");
	enter_cgroup_namespace(b);
	if (b->namespaces & K_CLONE_NEWUSER)
		become_mapped_root(child);
	else if (joins_user_namespace(b) && (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0))
		die_errno("become root of the user namespace");

	int slave = prepare(b);
	stage("ready");
	if (channel_send(channel, CHANNEL_READY, NULL, 0, -1) < 0)
		_exit(125);
	channel_expect(channel, CHANNEL_GO);

	stage("go");
	if (slave >= 0)
		use_terminal(slave);
	use_stdio(b, child->io);
	close_everything_else();
	stage("cwd");
	/* As root, since a parent may be closed to the user; then as the user, since root may be squashed (NFS). */
	int entered = enter_cwd(b) == 0;
	if (!entered && errno != EACCES)
		die_errno("chdir to %s", b->cwd);
	reset_signals();
	/* From here on the end of the channel is good news, unless a failure is reported after all. Sent before the seccomp
	 * program, which may forbid it. */
	channel_send(channel, CHANNEL_EXECING, NULL, 0, -1);
	drop_privileges(b);
	if (!entered && enter_cwd(b) < 0)
		die_errno("chdir to %s", b->cwd);
	if (has_flag(b, FLAG_INIT))
		become_init(channel);
	exec_command(b);
}

static const char *container_path(const struct bootstrap *b)
{
	for (size_t i = 0; i < b->env.count; i++)
		if (strncmp(b->env.items[i], "PATH=", 5) == 0)
			return b->env.items[i] + 5;
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static int try_exec(const struct bootstrap *b, const char *path)
{
	execve(path, (char **)b->args.items, (char **)b->env.items);
	return errno;
}

/* A shell's search: what may not be executed is remembered, but the search goes on (127 or 126 in the end). */
static int search_and_exec(const struct bootstrap *b, const char *name)
{
	char path[4096];
	int result = ENOENT;
	for (const char *at = container_path(b); at; at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
		int length = (int)strcspn(at, ":");
		int n = snprintf(path, sizeof(path), "%.*s%s%s", length, at, length ? "/" : "./", name);
		if (n < 0 || (size_t)n >= sizeof(path))
			continue;
		int error = try_exec(b, path);
		if (error == EACCES)
			result = EACCES;
		else if (error == ENOENT && access(path, F_OK) == 0)
			die_exec(ENOENT, "exec %s: its interpreter or loader is missing", path);
		else if (error != ENOENT && error != ENOTDIR)
			die_exec(error, "exec %s", path);
	}
	return result;
}

void exec_command(const struct bootstrap *b)
{
	const char *name = b->args.items[0];
	stage("exec");
	if (!strchr(name, '/'))
		die_exec(*name ? search_and_exec(b, name) : ENOENT, "exec %s", name);
	int error = try_exec(b, name);
	if (error == ENOENT && access(name, F_OK) == 0)
		die_exec(error, "exec %s: its interpreter or loader is missing", name);
	die_exec(error, "exec %s", name);
}
