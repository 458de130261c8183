/* The end of a container: the record that says how it ended, and the command that clears up after it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "kernel.h"
#include "monitor.h"

int exit_code_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* "oom_kill N" in memory.events (v2) or memory.oom_control (v1). */
static int saw_oom_kill(const char *path)
{
	char text[4096];
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	const char *line = strncmp(text, "oom_kill ", 9) == 0 ? text : strstr(text, "\noom_kill ");
	return line && strtoull(strchr(line, ' '), NULL, 10) > 0;
}

static int was_oom_killed(const struct bootstrap *b)
{
	for (size_t i = 0; i < b->oom_files.count; i++)
		if (saw_oom_kill(b->oom_files.items[i]))
			return 1;
	return 0;
}

enum { K_O_TMPFILE = 020000000 | O_DIRECTORY, K_AT_EMPTY_PATH = 0x1000 };

/* Without a name, so that a monitor that is killed leaves nothing; with `temporary` where the file system wants one. */
static int open_draft(const char *exit_file, char *temporary, size_t size)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(exit_file, '/');
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - exit_file) : 1, slash ? exit_file : ".");
	int fd = open(folder, K_O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	*temporary = 0;
	if (fd >= 0)
		return fd;
	snprintf(temporary, size, "%s.tmp", exit_file);
	unlink(temporary);
	return open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int name_draft(int fd, const char *temporary, const char *exit_file)
{
	if (*temporary)
		return rename(temporary, exit_file);
	/* The last life's record is removed at the start, so that one in the way is nobody's. */
	unlink(exit_file);
	return linkat(fd, "", AT_FDCWD, exit_file, K_AT_EMPTY_PATH);
}

/* Whole or not at all: a reader may look at any moment, and this process may be killed at any moment. */
void write_exit_record(struct monitor *m)
{
	char text[320], temporary[4200], finished_at[TIME_BYTES];
	stage("exit-record");
	if (!m->b->exit_file)
		return;
	format_time(finished_at);
	int length = snprintf(text, sizeof(text),
			      "{\"exitCode\":%d,\"signal\":%d,\"oomKilled\":%s,\"startedAt\":\"%s\",\"finishedAt\":\"%s\"}\n",
			      exit_code_of(m->status), WIFSIGNALED(m->status) ? WTERMSIG(m->status) : 0,
			      was_oom_killed(m->b) ? "true" : "false", m->started_at, finished_at);
	cleanup_fd int fd = open_draft(m->b->exit_file, temporary, sizeof(temporary));
	/* Nobody is left to tell: whoever waits finds the monitor gone and no record, and says so. */
	int written = fd >= 0 && write(fd, text, (size_t)length) == length;
	if (written)
		stage("exit-draft");
	if ((!written || name_draft(fd, temporary, m->b->exit_file) < 0) && *temporary)
		unlink(temporary);
}

/* The monitor turns into the command: no process more, and the reserved ports are free for the next container. */
void run_exit_command(const struct bootstrap *b)
{
	stage("exit-command");
	if (b->exit_args.count == 0)
		_exit(0);
	reset_signals();
	restore_file_limit();
	k_close_range(3, ~0U, 0);
	execve(b->exit_args.items[0], (char **)b->exit_args.items, (char **)b->exit_env.items);
	_exit(127);
}
