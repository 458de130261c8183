/* What a client writes to the attach socket: frames, and requests for ports in them. The first byte chooses the container. */
/* with: attach.c */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor.h"

/* Its list of ports must begin anew with each input. */
#include "live_ports.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int hold_port(struct port *port)
{
	port->held = port->port % 7 != 0;
	errno = EADDRINUSE;
	return port->held ? 0 : -1;
}

void release_port(struct port *port)
{
	port->held = 0;
}

int open_proxy(void)
{
	return -1;
}

int64_t now_ms(void)
{
	return 0;
}

static void drain(int fd)
{
	char bytes[4096];
	while (read(fd, bytes, sizeof(bytes)) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bootstrap b = { .flags = size && data[0] & 1 ? FLAG_STDIN_ONCE : 0 };
	int ends[2], pipe_ends[2];
	if (size == 0)
		return 0;
	signal(SIGPIPE, SIG_IGN); /* as the monitor does */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0 || pipe2(pipe_ends, O_NONBLOCK) < 0)
		abort();
	struct monitor m = { .b = &b, .stdin_fd = pipe_ends[1], .output = { -1, -1 }, .listener = -1, .tty = data[0] >> 1 & 1 };
	struct client *client = fuzz_calloc(1, sizeof(*client));
	if (!client)
		abort();
	*client = (struct client){ .fd = ends[0], .current = -1, .subscription = data[0] & 4 ? 0 : 7 };
	m.clients = client;
	m.clients_count = 1;
	/* In pieces of a length that the input chooses, as a client may write them. */
	size_t piece = size > 1 ? 1 + data[1] * 16u : 1;
	for (size_t at = 1; at < size && !client->dead; at += piece) {
		size_t length = size - at < piece ? size - at : piece;
		if (send(ends[1], data + at, length, MSG_NOSIGNAL) != (ssize_t)length)
			break;
		client_readable(&m, client);
		while (!client->dead && client->blocked) {
			drain(pipe_ends[0]);
			client_resume_input(&m);
		}
		drain(ends[1]);
		if (client->header_length > FRAME_HEADER || client->small_length > CONTROL_BYTES)
			abort();
	}
	drop_client(&m, client);
	sweep_clients(&m);
	if (m.clients_count != 0)
		abort();
	close(ends[1]);
	close(pipe_ends[0]);
	close_stdin(&m);
	if (m.stdin_fd >= 0)
		close(m.stdin_fd);
	live_ports = NULL;
	fuzz_free_all();
	return 0;
}
