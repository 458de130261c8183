/* The client of a lease, and what it calls when something happens. See lease.h. */
#include "lease.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"
#include "kernel.h"

enum {
	/* Nobody's, as that of tsrun-dns. */
	OWN_ID = 2000000067,
	CAP_NET_BIND_SERVICE_BIT = 10,
	CAP_NET_RAW_BIT = 13,
};

static void place_fd(int fd, int target)
{
	if (dup2(fd, target) < 0)
		_exit(126);
}

/* Raw sockets and port 68, in the one namespace that it is in. */
static void confine_client(pid_t keeper)
{
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	become_unprivileged_with(OWN_ID, 1u << CAP_NET_BIND_SERVICE_BIT | 1u << CAP_NET_RAW_BIT);
	/* After the change of user, which forgets it. A client that nobody listens to must not go on. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != keeper)
		_exit(126);
}

pid_t start_client(char *const *command, int events_fd)
{
	static char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", LEASE_EVENT_VARIABLE "=1", NULL };
	pid_t keeper = getpid(), pid = fork();
	if (pid != 0)
		return pid;
	if (setns(LEASE_NETNS_FD, CLONE_NEWNET) < 0)
		_exit(126);
	int program = open("/proc/self/exe", O_PATH);
	place_fd(events_fd, LEASE_EVENTS_FD);
	place_fd(program, LEASE_PROGRAM_FD);
	k_close_range(3, LEASE_EVENTS_FD - 1, 0);
	k_close_range(LEASE_PROGRAM_FD + 1, ~0U, 0);
	reset_signals();
	confine_client(keeper);
	execve(command[0], command, environment);
	_exit(127);
}

/* What udhcpc has in its environment, and the engine wants to know. */
static const char *const variables[] = {
	"ip", "mask", "router", "staticroutes", "dns", "domain", "search", "mtu", "serverid", "lease", "message",
};

/* One line a variable. What the network has sent may hold anything: no character that would make two lines of one. */
int tell_event(const char *event)
{
	char text[LEASE_TEXT_BYTES];
	size_t length = (size_t)snprintf(text, sizeof(text), "event=%.32s\n", event);
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		const char *value = getenv(variables[i]);
		size_t room = sizeof(text) - length;
		if (!value || strlen(variables[i]) + strlen(value) + 3 > room || strpbrk(value, "\n\r"))
			continue;
		length += (size_t)snprintf(text + length, room, "%s=%s\n", variables[i], value);
	}
	return send(LEASE_EVENTS_FD, text, length, MSG_NOSIGNAL) < 0;
}
