/* What the monitor brings in order before it looks at the bootstrap: its descriptors, its signals, its name. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "kernel.h"
#include "monitor.h"

/* Descriptors exactly as agreed: 0-3, and 5 when something was passed there. */
void set_up_descriptors(void)
{
	int flags = fcntl(CONTROL_FD, F_GETFL);
	if (flags < 0)
		_exit(1);
	fcntl(CONTROL_FD, F_SETFL, flags & ~O_NONBLOCK);
	fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
	take_engine_fd();
	close(4);
	k_close_range(6, ~0U, 0);
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			die_errno("open /dev/null");
}

/* All signals are blocked; the descriptor says when a child has ended. */
int open_child_signals(void)
{
	sigset_t all, child;
	sigfillset(&all);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	/* A SIGCHLD that is ignored, as the engine may have had it, would reap the child behind our back. */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
		die_errno("block signals");
	int fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		die_errno("create a signalfd");
	return fd;
}

void set_monitor_title(const char *id)
{
	char title[64];
	snprintf(title, sizeof(title), "tsrun-monitor %.12s", id);
	set_title(title);
	prctl(PR_SET_NAME, "tsrun-mon");
}
