/* Where clients attach: a socket in the container's folder, which goes with the monitor. */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor.h"

static int directory = -1;
static char name[92];

/* Bound through a descriptor of its directory: the path itself may be longer than a socket address can be. */
void open_attach_socket(const struct bootstrap *b, struct monitor *m)
{
	char dir[PATH_MAX], base[PATH_MAX];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	stage("attach-socket");
	if (!b->attach_socket)
		return;
	if (strlen(b->attach_socket) >= PATH_MAX)
		die("the attach socket's path is too long");
	strcpy(dir, b->attach_socket);
	strcpy(base, b->attach_socket);
	if ((size_t)snprintf(name, sizeof(name), "%s", basename(base)) >= sizeof(name))
		die("the attach socket's name is too long");
	int dir_fd = open(dirname(dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (dir_fd < 0 || listener < 0)
		die_errno("create the socket %s", b->attach_socket);
	/* Left by a monitor that was killed: the engine's lock says that there is none now. */
	unlinkat(dir_fd, name, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
	mode_t mask = umask(0177);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0)
		die_errno("bind the socket %s", b->attach_socket);
	umask(mask);
	directory = dir_fd;
	m->listener = listener;
	if (listen(listener, MAX_CLIENTS) < 0)
		die_errno("listen on the socket %s", b->attach_socket);
}

void remove_attach_socket(const struct monitor *m)
{
	(void)m;
	if (directory >= 0)
		unlinkat(directory, name, 0);
}
