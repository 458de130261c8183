/*
 * Attached clients. Each speaks frames ({u8 type, 0, 0, 0, u32 length}); what a client may do wrong ends in dropping that
 * client and nobody else. Output is shared: one chunk for all, and it is not refilled before the slowest has taken it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "cleanup.h"
#include "monitor.h"

void accept_clients(struct monitor *m)
{
	while (m->listener >= 0 && m->clients_count < MAX_CLIENTS) {
		int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct client *c = fd < 0 ? NULL : calloc(1, sizeof(*c));
		int bytes = 4 * STREAM_BYTES;
		if (!c) {
			close_fd(&fd);
			return;
		}
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
		c->fd = fd;
		c->current = -1;
		c->subscription = SUBSCRIPTION_STDIN | SUBSCRIPTION_STDOUT | SUBSCRIPTION_STDERR;
		c->last_progress = now_ms();
		struct client **last = &m->clients;
		while (*last)
			last = &(*last)->next;
		*last = c;
		m->clients_count++;
	}
}

void close_stdin(struct monitor *m)
{
	if (m->stdin_fd < 0)
		return;
	if (m->tty) {
		/* A terminal has no end; ^D is what says so to a program that reads lines. */
		(void)!write(m->stdin_fd, "\x04", 1);
		return;
	}
	close_fd(&m->stdin_fd);
}

/* What the client wrote is with the container; with StdinOnce its end is the container's end of input. */
static void client_stdin_ended(struct monitor *m, struct client *c)
{
	if (c->wrote_stdin && has_flag(m->b, FLAG_STDIN_ONCE))
		close_stdin(m);
	c->wrote_stdin = 0;
}

void drop_client(struct monitor *m, struct client *c)
{
	if (c->dead)
		return;
	c->dead = 1;
	for (int chunk = 0; chunk < CHUNKS; chunk++)
		if (c->pending >> chunk & 1)
			m->chunks[chunk].waiting--;
	c->pending = 0;
	if (!m->tty)
		client_stdin_ended(m, c);
	close_fd(&c->fd);
}

/* Frees the dropped ones; nobody else may hold a pointer to a client meanwhile. */
void sweep_clients(struct monitor *m)
{
	for (struct client **at = &m->clients; *at;) {
		struct client *c = *at;
		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		if (c->input)
			munmap(c->input, STREAM_BYTES);
		free(c);
		m->clients_count--;
	}
}

/* At once, past the chunks that all share: only for a client that has asked for no output. */
static int answer_port_request(struct monitor *m, struct client *c)
{
	if (c->subscription || c->pending)
		return -1;
	uint32_t error = (uint32_t)change_port(m, c->header[0] == FRAME_HOLD_PORT, c->small, c->small_length);
	uint8_t reply[FRAME_HEADER + 4] = { FRAME_PORT_RESULT, 0, 0, 0, 0, 0, 0, 4, 0, 0, (uint8_t)(error >> 8), (uint8_t)error };
	ssize_t n = send(c->fd, reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
	return n == (ssize_t)sizeof(reply) ? 0 : -1;
}

/* A control frame that is complete. -1: nonsense. */
static int control_frame(struct monitor *m, struct client *c)
{
	const uint8_t *p = c->small;
	switch (c->header[0]) {
	case FRAME_STDIN:
		return 0;
	case FRAME_STDIN_EOF:
		c->wrote_stdin = 1;
		client_stdin_ended(m, c);
		return 0;
	case FRAME_RESIZE: {
		struct winsize size = { .ws_row = (unsigned short)(p[0] << 8 | p[1]), .ws_col = (unsigned short)(p[2] << 8 | p[3]) };
		if (c->small_length != 4)
			return -1;
		if (m->tty && m->output[0] >= 0)
			ioctl(m->output[0], TIOCSWINSZ, &size);
		return 0;
	}
	case FRAME_OWNER:
		c->owner = 1;
		return 0;
	case FRAME_RELEASED:
		m->released |= c->owner;
		return 0;
	case FRAME_SUBSCRIBE:
		if (c->small_length != 1)
			return -1;
		c->subscription = p[0];
		/* Who asks for stdin has it, whether or not something is written. */
		c->wrote_stdin |= p[0] & SUBSCRIPTION_STDIN;
		return 0;
	case FRAME_HOLD_PORT:
	case FRAME_RELEASE_PORT:
		return answer_port_request(m, c);
	}
	return -1;
}

/* Passes stdin on. 0: all of it; 1: the container takes no more just now. */
static int pass_stdin(struct monitor *m, struct client *c, size_t length)
{
	while (length > 0) {
		ssize_t n = m->stdin_fd < 0 || !(c->subscription & SUBSCRIPTION_STDIN) ? (ssize_t)length
			    : write(m->stdin_fd, c->input + c->input_at, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 1;
		if (n < 0) {
			/* The command has closed its stdin; a terminal's end shows on its output. */
			if (!m->tty)
				close_fd(&m->stdin_fd);
			n = (ssize_t)length;
		}
		c->wrote_stdin |= c->subscription & SUBSCRIPTION_STDIN;
		c->input_at += (size_t)n;
		c->payload_left -= (uint32_t)n;
		length -= (size_t)n;
	}
	return 0;
}

static int frame_is_sane(const struct client *c)
{
	uint8_t type = c->header[0];
	if (type == FRAME_STDIN)
		return c->payload_left <= FRAME_LIMIT_MAX_BYTES;
	if (type == FRAME_HOLD_PORT || type == FRAME_RELEASE_PORT)
		return c->payload_left <= sizeof(c->small);
	return type <= FRAME_SUBSCRIBE && c->payload_left <= 8;
}

static void take_header(struct client *c)
{
	while (c->header_length < FRAME_HEADER && c->input_at < c->input_length)
		c->header[c->header_length++] = c->input[c->input_at++];
	c->payload_left = (uint32_t)c->header[4] << 24 | (uint32_t)c->header[5] << 16 | (uint32_t)c->header[6] << 8 | c->header[7];
	c->small_length = 0;
}

/* Works off what has been received; stops early when stdin is full. */
static void parse_input(struct monitor *m, struct client *c)
{
	while (!c->dead) {
		if (c->header_length < FRAME_HEADER) {
			if (c->input_at == c->input_length)
				return;
			take_header(c);
			if (c->header_length < FRAME_HEADER)
				return;
			if (!frame_is_sane(c))
				return drop_client(m, c);
		}
		size_t length = c->input_length - c->input_at;
		if (length > c->payload_left)
			length = c->payload_left;
		if (c->header[0] == FRAME_STDIN) {
			c->blocked = pass_stdin(m, c, length);
			if (c->blocked)
				return;
		} else {
			memcpy(c->small + c->small_length, c->input + c->input_at, length);
			c->small_length += (unsigned)length;
			c->input_at += length;
			c->payload_left -= (uint32_t)length;
		}
		if (c->payload_left > 0)
			return;
		c->header_length = 0;
		if (control_frame(m, c) < 0)
			return drop_client(m, c);
	}
}

void client_readable(struct monitor *m, struct client *c)
{
	if (!c->input) {
		void *map = mmap(NULL, STREAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (map == MAP_FAILED)
			return drop_client(m, c);
		c->input = map;
	}
	ssize_t n = recv(c->fd, c->input, STREAM_BYTES, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		return drop_client(m, c);
	if (n == 0) {
		/* It may have closed one direction only and still want the output; the end of both is POLLHUP. */
		c->input_ended = 1;
		/* A shell outlives the window that looks at it: only who says so ends the input of a terminal. */
		if (!m->tty)
			client_stdin_ended(m, c);
		return;
	}
	c->input_at = 0;
	c->input_length = (size_t)n;
	parse_input(m, c);
}

/* stdin takes data again. */
void client_resume_input(struct monitor *m)
{
	for (struct client *c = m->clients; c; c = c->next)
		if (c->blocked && !c->dead) {
			c->blocked = 0;
			parse_input(m, c);
		}
}

/* Sends what the socket takes. A frame that has begun is finished before another one begins. */
void client_send(struct monitor *m, struct client *c)
{
	while (!c->dead && c->pending) {
		if (c->current < 0) {
			c->current = __builtin_ctz(c->pending);
			c->sent = 0;
		}
		struct chunk *chunk = &m->chunks[c->current];
		ssize_t n = send(c->fd, chunk->bytes + c->sent, chunk->length - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			return drop_client(m, c);
		c->last_progress = now_ms();
		c->sent += (size_t)n;
		if (c->sent < chunk->length)
			continue;
		c->pending &= ~(1U << c->current);
		c->current = -1;
		chunk->waiting--;
	}
}

/* Gives the chunk to every client that wants it; `subscription` 0: to all. */
void broadcast(struct monitor *m, int chunk, uint8_t subscription)
{
	for (struct client *c = m->clients; c; c = c->next) {
		if (c->dead || (subscription && !(c->subscription & subscription)))
			continue;
		c->pending |= 1U << chunk;
		m->chunks[chunk].waiting++;
		client_send(m, c);
	}
}
