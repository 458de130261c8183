/*
 * --init: pid 1 that passes signals on and reaps orphans, for commands that do neither. It has already dropped every
 * privilege and knows nothing of the host any more; not being dumpable keeps its memory and its executable to itself.
 */
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "init.h"
#include "kernel.h"

/* A process group of its own in the foreground: Ctrl-C reaches the command, not also its init. */
static void take_foreground(void)
{
	signal(SIGTTOU, SIG_IGN);
	setpgid(0, 0);
	if (tcsetpgrp(0, getpgrp()) < 0 && errno != ENOTTY && errno != ENXIO && errno != EBADF)
		die_errno("take the terminal");
	signal(SIGTTOU, SIG_DFL);
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Ends with the command: as pid 1 it takes what is left of the container with it. */
static void reap(pid_t command)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		if (pid == command)
			_exit(exit_code(status));
}

static _Noreturn void serve(pid_t command, const sigset_t *all)
{
	for (;;) {
		int signal_number = sigwaitinfo(all, NULL);
		if (signal_number == SIGCHLD)
			reap(command);
		else if (signal_number > 0 && signal_number != SIGTTIN && signal_number != SIGTTOU && signal_number != SIGPIPE)
			kill(command, signal_number);
	}
}

/* Returns in the process that is to become the command. */
void become_init(int channel)
{
	sigset_t all, none;
	stage("pid1");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &none);
	pid_t command = fork();
	if (command < 0)
		die_errno("fork the command");
	if (command == 0) {
		take_foreground();
		sigprocmask(SIG_SETMASK, &none, NULL);
		return;
	}
	/* The copies of the channel, the terminal and the pipes would keep them open after the command has closed its own. */
	close(channel);
	k_close_range(0, ~0U, 0);
	set_title("tsrun-init");
	serve(command, &all);
}
