/*
 * The container's stdin, stdout and stderr. Pipes are made by the monitor; a terminal is made by the child in the
 * container's own devpts, so that ttyname() and /dev/pts work inside, and its master travels to the monitor.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif

/* Fewer, larger reads: at 64 KiB the writer and the monitor take turns on every page. */
enum { PIPE_BYTES = 262144 };

static void open_pipe(int *reader, int *writer)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		die_errno("create a pipe for the container");
	fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); /* may be refused; the default works too */
	*reader = ends[0];
	*writer = ends[1];
}

void open_stdio(const struct bootstrap *b, struct stdio *io)
{
	stage("stdio");
	*io = (struct stdio){ .tty = has_flag(b, FLAG_TTY), .child = { -1, -1, -1 }, .monitor = { -1, -1, -1 } };
	if (io->tty)
		return;
	if (has_flag(b, FLAG_STDIN))
		open_pipe(&io->child[0], &io->monitor[0]);
	open_pipe(&io->monitor[1], &io->child[1]);
	open_pipe(&io->monitor[2], &io->child[2]);
	/* In a user namespace the command cannot take what belongs to the host's root, as use_stdio() would have it. */
	uint32_t owner = host_id(b->uid_maps.items, b->uid_maps.count, b->uid);
	for (int fd = 0; fd < 3; fd++)
		if (owner != (uint32_t)-1 && io->child[fd] >= 0 && fchown(io->child[fd], owner, (gid_t)-1) < 0)
			die_errno("give the container its pipes");
}

/* The descriptor comes out of the container's devpts: make sure that it is the master of a terminal and nothing else. */
void check_pty_master(int fd)
{
	struct stat st;
	unsigned number;

	if (fstat(fd, &st) < 0 || ioctl(fd, TIOCGPTN, &number) < 0)
		die_errno("check the container's terminal");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
		die("the container's terminal is not a pty");
}

/* `rootfs` is the container's root, or -1 when the process is already in it. */
int open_terminal(const struct bootstrap *b, int channel, int rootfs)
{
	stage("console");
	int root = rootfs < 0 ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : rootfs;
	if (root < 0)
		die_errno("open the container's root");
	/* In a user's image /dev/pts could be a link to anywhere, hence no symlinks and a look at what was opened. */
	int master = k_openat2(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, K_RESOLVE_IN_ROOT | K_RESOLVE_NO_SYMLINKS);
	if (master < 0)
		die_errno("open /dev/pts/ptmx of the container");
	if (rootfs < 0)
		close(root);

	struct statfs fs;
	if (fstatfs(master, &fs) < 0 || fs.f_type != K_DEVPTS_SUPER_MAGIC)
		die("/dev/pts of the container is not a devpts");
	check_pty_master(master);

	int unlock = 0;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		die_errno("unlock the container's terminal");
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		die_errno("open the container's terminal");
	struct winsize size = { .ws_row = (unsigned short)b->rows, .ws_col = (unsigned short)b->columns };
	if (b->has_console_size && ioctl(master, TIOCSWINSZ, &size) < 0)
		die_errno("set the terminal's size");
	if (channel_send(channel, CHANNEL_PTY, NULL, 0, master) < 0)
		die_errno("hand over the container's terminal");
	close(master);
	return slave;
}

void use_terminal(int slave)
{
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		die_errno("set the controlling terminal");
	for (int fd = 0; fd < 3; fd++)
		if (dup2(slave, fd) < 0)
			die_errno("set file descriptor %d", fd);
	close(slave);
}

/* The image's /dev/null when it is one, else the null device that came with the process as fd 0. */
static void use_null(void)
{
	struct stat st;
	cleanup_fd int fd = open("/dev/null", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)) {
		fcntl(fd, F_SETFL, 0);
		if (dup2(fd, 0) < 0)
			die_errno("set file descriptor 0");
	} else if (fstat(0, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
		die("the container has no /dev/null to use as its standard input");
	}
}

void use_stdio(const struct bootstrap *b, struct stdio *io)
{
	stage("stdio-child");
	if (!io->tty) {
		for (int fd = 0; fd < 3; fd++)
			if (io->child[fd] >= 0 && dup2(io->child[fd], fd) < 0)
				die_errno("set file descriptor %d", fd);
		if (io->child[0] < 0)
			use_null();
		close_fds(io->child, 3);
	}
	/* So that the command may open /dev/stdout again by its name when it is not root. EPERM and EINVAL: the file is
	 * not ours, or the id is not mapped; then it stays as it is, as with runc. */
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;
		if (fstat(fd, &st) < 0 || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)) || st.st_uid == b->uid)
			continue;
		if (fchown(fd, b->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL && errno != EROFS)
			die_errno("give file descriptor %d to uid %u", fd, b->uid);
	}
}
