/* Failure reports and fault points; see die.h for the contract. */
#include "die.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* In the order in which a run passes them. `tsrun-init --fault-points` prints this list. */
static const char *const fault_points[] = {
	"bootstrap", "reserve-port", "attach-socket", "log", "stdio", "clone", "join-namespaces", "id-maps", "cgroup",
	"oom-score", "session", "rootfs", "mounts", "console", "devices", "protect-paths", "sysctls", "labels", "pivot-root",
	"hostname", "ready", "go", "rlimits", "stdio-child", "cwd", "privileges", "pid1", "exec", "started", "drain",
	"exit-record", "exit-draft", "exit-frame", "exit-command",
};

static const char *stage_name = "start";
static const char *fault = "";
static void (*report)(const struct failure *);

void set_fault(const char *point)
{
	fault = point;
}

void print_fault_points(void)
{
	for (size_t i = 0; i < sizeof(fault_points) / sizeof(*fault_points); i++)
		puts(fault_points[i]);
}

/* Until SIGCONT comes, but no longer than 20 s. Not by SIGSTOP, which pid 1 of a pid namespace would not get. */
static void stand_still(void)
{
	char name[16];
	sigset_t wanted, before;
	struct timespec bound = { .tv_sec = 20 };
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCONT);
	sigprocmask(SIG_BLOCK, &wanted, &before);
	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, "fault-stopped"); /* who waits for it finds it by this */
	while (sigtimedwait(&wanted, NULL, &bound) < 0 && errno == EINTR)
		;
	prctl(PR_SET_NAME, name);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

void stage(const char *name)
{
	stage_name = name;
	size_t length = strlen(name);
	if (strncmp(fault, name, length) != 0 || fault[length] != ':')
		return;
	if (strcmp(fault + length, ":kill") == 0) {
		kill(getpid(), SIGKILL);
		_exit(128 + SIGKILL); /* pid 1 of a pid namespace cannot kill itself */
	}
	if (strcmp(fault + length, ":stop") == 0)
		stand_still();
	errno = EIO;
	if (strcmp(fault + length, ":fail") == 0)
		die_errno("injected fault at %s", name);
}

const char *current_stage(void)
{
	return stage_name;
}

void report_failures_to(void (*to)(const struct failure *))
{
	report = to;
}

static _Noreturn void fail(int error, int exec, const char *format, va_list arguments)
{
	struct failure failure = { .stage = stage_name, .error = error, .exec = exec };
	vsnprintf(failure.what, sizeof(failure.what), format, arguments);
	if (report)
		report(&failure);
	_exit(!exec ? 125 : error == ENOENT || error == ENOTDIR ? 127 : 126);
}

void die(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fail(0, 0, format, arguments);
}

void die_errno(const char *format, ...)
{
	int error = errno;
	va_list arguments;
	va_start(arguments, format);
	fail(error, 0, format, arguments);
}

void die_exec(int error, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fail(error, 1, format, arguments);
}
