/* The keeper of a lease. See lease.h. */
#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

enum { FIRST_PAUSE_MS = 1000, LONGEST_PAUSE_MS = 30000, FAREWELL_MS = 2000 };

static struct keeper {
	char **client, **command;
	int container, signals, events[2], folder;
	pid_t client_pid, command_pid;
	int is_bound; /* by the client that runs now */
	int is_quiet; /* the engine waits for the first lease by itself */
	int is_told_again; /* something has happened while the engine was being told */
	int pause_ms;
} k = { .container = -1, .signals = -1, .events = { -1, -1 }, .folder = -1, .pause_ms = FIRST_PAUSE_MS };

/* Whole or not at all: the engine may look at any moment. */
static void write_fact(const char *name, const char *text, size_t length)
{
	char temporary[32];
	snprintf(temporary, sizeof(temporary), ".%s", name);
	unlinkat(k.folder, temporary, 0);
	cleanup_fd int fd = openat(k.folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	/* Where there is no room it is told again at the next renewal. */
	if (fd < 0 || write(fd, text, length) != (ssize_t)length || renameat(k.folder, temporary, k.folder, name) < 0)
		unlinkat(k.folder, temporary, 0);
}

/* One at a time: each looks at what holds then. */
static void tell_engine(void)
{
	static char *const environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	if (k.command_pid > 0) {
		k.is_told_again = 1;
		return;
	}
	k.is_told_again = 0;
	k.command_pid = fork();
	if (k.command_pid != 0)
		return;
	reset_signals();
	k_close_range(3, ~0U, 0);
	execve(k.command[0], k.command, environment);
	_exit(127);
}

static void client_starts(void)
{
	k.is_bound = 0;
	k.client_pid = start_client(k.client, k.events[1]);
	if (k.client_pid < 0)
		die_errno("fork");
}

static void event_came(void)
{
	static char text[LEASE_TEXT_BYTES];
	ssize_t length = recv(k.events[0], text, sizeof(text) - 1, MSG_DONTWAIT);
	if (length <= 0)
		return;
	text[length] = 0;
	if (strncmp(text, "event=bound\n", 12) == 0 || strncmp(text, "event=renew\n", 12) == 0) {
		write_fact("lease", text, (size_t)length);
		unlinkat(k.folder, "refused", 0);
		k.is_bound = 1;
		k.pause_ms = FIRST_PAUSE_MS;
		if (!k.is_quiet)
			tell_engine();
		k.is_quiet = 0;
	} else if (strncmp(text, "event=nak\n", 10) == 0) {
		write_fact("refused", text, (size_t)length);
	} else if (strncmp(text, "event=deconfig\n", 15) == 0 && k.is_bound) {
		/* It has run out. At its start a client says the same, and that means nothing. */
		k.is_bound = 0;
		unlinkat(k.folder, "lease", 0);
		tell_engine();
	}
}

/* @returns whether the client has ended */
static int reap(void)
{
	int status, ended = 0;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == k.command_pid) {
			k.command_pid = 0;
			if (k.is_told_again)
				tell_engine();
		} else if (pid == k.client_pid) {
			char text[16];
			int length = snprintf(text, sizeof(text), "%d\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
			write_fact("ended", text, (size_t)length);
			k.client_pid = 0;
			ended = 1;
		}
	}
	return ended;
}

/* udhcpc gives the lease back (-R); the namespace lives until it has. */
static _Noreturn void say_farewell(void)
{
	if (k.client_pid > 0) {
		kill(k.client_pid, SIGTERM);
		for (int waited = 0; waited < FAREWELL_MS && waitpid(k.client_pid, NULL, WNOHANG) == 0; waited += 5)
			poll(NULL, 0, 5);
		kill(k.client_pid, SIGKILL);
	}
	_exit(0);
}

/* Where somebody has wiped our folder, another keeper may be there: this one goes without giving anything back. */
static void check_lock(void)
{
	struct stat lock;
	if (fstat(LEASE_LOCK_FD, &lock) == 0 && lock.st_nlink > 0)
		return;
	if (k.client_pid > 0)
		kill(k.client_pid, SIGKILL);
	_exit(0);
}

static void handle_signals(void)
{
	struct signalfd_siginfo info;
	while (read(k.signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGTERM)
			say_farewell();
}

/* The pid was said by number: it is the container's if its network namespace is the one that we were given. */
static void find_container(pid_t pid)
{
	char path[64];
	struct stat ours, theirs;
	k.container = (int)syscall(NR_PIDFD_OPEN, pid, 0);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	if (k.container < 0 || fstat(LEASE_NETNS_FD, &ours) < 0 || stat(path, &theirs) < 0 || ours.st_ino != theirs.st_ino)
		_exit(1);
	fcntl(k.container, F_SETFD, FD_CLOEXEC);
}

static void set_up(const char *folder)
{
	char pid[16];
	sigset_t wanted;
	setsid();
	reset_signals();
	k_close_range(LEASE_LOCK_FD + 1, ~0U, 0);
	fcntl(LEASE_NETNS_FD, F_SETFD, FD_CLOEXEC);
	fcntl(LEASE_LOCK_FD, F_SETFD, FD_CLOEXEC);
	k.folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int length = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (k.folder < 0 || chdir("/") < 0 || ftruncate(LEASE_LOCK_FD, 0) < 0 || pwrite(LEASE_LOCK_FD, pid, (size_t)length, 0) != length)
		die_errno("use %s", folder);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGCHLD);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	k.signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k.signals < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, k.events) < 0)
		die_errno("set up");
}

/* A copy: the title is written over the arguments. */
static char **copy_arguments(int count, char **arguments)
{
	char **copy = calloc((size_t)count + 1, sizeof(*copy));
	for (int i = 0; copy && i < count; i++)
		copy[i] = strdup(arguments[i]);
	return copy;
}

_Noreturn void keep_lease(int argc, char **argv)
{
	int count = argc > 6 ? atoi(argv[5]) : 0;
	if (count < 1 || count > argc - 7)
		_exit(2);
	pid_t container = atoi(argv[3]);
	k.is_quiet = strcmp(argv[4], "quiet") == 0;
	k.client = copy_arguments(count, argv + 6);
	k.command = copy_arguments(argc - 6 - count, argv + 6 + count);
	set_up(argv[2]);
	if (!k.client || !k.command)
		_exit(1);
	set_title("tsrun-lease");
	find_container(container);
	client_starts();
	for (;;) {
		struct pollfd fds[] = { { k.container, POLLIN, 0 }, { k.signals, POLLIN, 0 }, { k.events[0], POLLIN, 0 } };
		if (poll(fds, 3, k.client_pid == 0 ? k.pause_ms : -1) < 0 && errno != EINTR)
			die_errno("wait");
		check_lock();
		if (fds[0].revents)
			say_farewell();
		if (fds[2].revents)
			event_came();
		handle_signals();
		if (reap())
			continue;
		if (k.client_pid == 0) {
			k.pause_ms = k.pause_ms * 2 < LONGEST_PAUSE_MS ? k.pause_ms * 2 : LONGEST_PAUSE_MS;
			client_starts();
		}
	}
}
