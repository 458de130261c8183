/*
 * The event loop. One buffer a stream: it is read, logged, sent to every client, and not read again until all of them
 * have it, so a slow client slows the container down and nothing is ever gathered in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "monitor.h"

enum {
	READS_PER_WAKE = 16, /* then look at the other descriptors again */
	PTY_SETTLE_MS = 20, /* what a terminal's line discipline may still be carrying when its writer is gone */
	LINGER_MS = 1000, /* how long clients may take to hang up once they have been told the end */
	IDLE_MS = 2000, /* then the buffers go back to the kernel */
	OWN_SLOTS = 6,
	SLOTS = OWN_SLOTS + MAX_CLIENTS,
};

static int buffers_used;

/* A container that says nothing for hours should not cost what it last said. Not while any of it is still to be sent. */
static void release_buffers(struct monitor *m)
{
	buffers_used = 0;
	for (int chunk = 0; chunk < CHUNK_EXIT; chunk++) {
		buffers_used |= m->chunks[chunk].waiting > 0;
		if (m->chunks[chunk].waiting == 0)
			madvise(m->chunks[chunk].bytes, FRAME_HEADER + STREAM_BYTES, MADV_DONTNEED);
	}
	for (struct client *c = m->clients; c; c = c->next)
		if (c->input && !c->blocked)
			madvise(c->input, STREAM_BYTES, MADV_DONTNEED);
	release_log_buffer();
	release_proxy_buffer();
}

void open_chunks(struct monitor *m)
{
	for (int chunk = 0; chunk < CHUNKS; chunk++) {
		m->chunks[chunk].bytes = mmap(NULL, FRAME_HEADER + STREAM_BYTES, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (m->chunks[chunk].bytes == MAP_FAILED)
			die_errno("allocate the output buffers");
	}
}

static void put_header(uint8_t *bytes, uint8_t type, size_t length)
{
	memset(bytes, 0, FRAME_HEADER);
	bytes[0] = type;
	bytes[4] = (uint8_t)(length >> 24);
	bytes[5] = (uint8_t)(length >> 16);
	bytes[6] = (uint8_t)(length >> 8);
	bytes[7] = (uint8_t)length;
}

static void end_output(struct monitor *m, int stream)
{
	if (m->tty && m->stdin_fd == m->output[stream])
		m->stdin_fd = -1;
	close_fd(&m->output[stream]);
}

/* One read. 0: there is no more for now. */
static int read_once(struct monitor *m, int stream)
{
	struct chunk *chunk = &m->chunks[stream];
	ssize_t n = read(m->output[stream], chunk->bytes + FRAME_HEADER, STREAM_BYTES);
	if (n < 0 && (errno == EINTR || (errno == EAGAIN && !m->exited)))
		return 0;
	if (n <= 0) {
		/* EIO is a terminal's end. EAGAIN after the exit: somebody else holds the pipe, and it is not ours to wait for. */
		struct pollfd settle = { .fd = m->output[stream], .events = POLLIN };
		if (n < 0 && errno == EAGAIN && m->tty && poll(&settle, 1, PTY_SETTLE_MS) > 0 && settle.revents & POLLIN)
			return 1;
		end_output(m, stream);
		return 0;
	}
	buffers_used = 1;
	log_output(stream, chunk->bytes + FRAME_HEADER, (size_t)n);
	put_header(chunk->bytes, stream == CHUNK_STDOUT ? FRAME_STDOUT : FRAME_STDERR, (size_t)n);
	chunk->length = FRAME_HEADER + (size_t)n;
	broadcast(m, stream, stream == CHUNK_STDOUT ? SUBSCRIPTION_STDOUT : SUBSCRIPTION_STDERR);
	return 1;
}

static void read_output(struct monitor *m, int stream)
{
	for (int i = 0; i < READS_PER_WAKE && m->output[stream] >= 0 && m->chunks[stream].waiting == 0; i++)
		if (!read_once(m, stream))
			return;
}

static void reap_child(struct monitor *m)
{
	struct signalfd_siginfo info;
	while (read(m->signals, &info, sizeof(info)) > 0)
		;
	if (!m->exited && waitpid(m->child, &m->status, WNOHANG) == m->child) {
		m->exited = 1;
		m->child = 0;
		int64_t now = now_ms();
		for (struct client *c = m->clients; c; c = c->next)
			c->last_progress = now;
	}
}

static int any_blocked(const struct monitor *m)
{
	for (const struct client *c = m->clients; c; c = c->next)
		if (c->blocked && !c->dead)
			return 1;
	return 0;
}

static short client_events(const struct client *c)
{
	return (short)((c->blocked || c->input_ended ? 0 : POLLIN) | (c->pending ? POLLOUT : 0));
}

static void serve_client(struct monitor *m, struct client *c, short revents)
{
	if (revents & POLLOUT)
		client_send(m, c);
	if (!c->dead && revents & (POLLIN | POLLHUP | POLLERR) && !c->input_ended && !c->blocked)
		client_readable(m, c);
	else if (!c->dead && revents & (POLLHUP | POLLERR) && c->input_ended)
		drop_client(m, c);
}

/* Once the container has ended a client must keep taking what is left. */
static void drop_stuck(struct monitor *m)
{
	int64_t now = now_ms();
	for (struct client *c = m->clients; c; c = c->next)
		if (c->pending && now - c->last_progress > STUCK_MS)
			drop_client(m, c);
}

static struct pollfd slot(int fd, short events)
{
	return (struct pollfd){ .fd = events ? fd : -1, .events = events };
}

/* Waits for the next thing to happen and does what it asks for. */
static void serve_once(struct monitor *m)
{
	struct pollfd slots[SLOTS];
	struct client *served[MAX_CLIENTS];
	int timeout = m->exited && (m->chunks[0].waiting || m->chunks[1].waiting || m->chunks[CHUNK_EXIT].waiting) ? 1000 : -1;
	nfds_t count = 0;

	slots[count++] = slot(m->exited ? -1 : m->signals, POLLIN);
	slots[count++] = slot(m->listener, m->clients_count < MAX_CLIENTS ? POLLIN : 0);
	slots[count++] = slot(m->stdin_fd, any_blocked(m) ? POLLOUT : 0);
	for (int stream = 0; stream < 2; stream++) {
		slots[count++] = slot(m->output[stream], m->chunks[stream].waiting ? 0 : POLLIN);
		/* After the exit a silent stream has ended, so there is nothing to wait for. */
		if (m->exited && m->output[stream] >= 0 && m->chunks[stream].waiting == 0)
			timeout = 0;
	}
	slots[count++] = slot(m->proxy, POLLIN);
	for (struct client *c = m->clients; c; c = c->next) {
		served[count - OWN_SLOTS] = c;
		/* A blocked client is left alone: its hang-up would only spin here, and its data is still to be passed on. */
		int wanted = !c->blocked || c->pending;
		slots[count++] = (struct pollfd){ .fd = wanted ? c->fd : -1, .events = client_events(c) };
	}
	if (timeout < 0 && m->linger_until)
		timeout = LINGER_MS;
	if (timeout < 0 && buffers_used)
		timeout = IDLE_MS;
	int ready = poll(slots, count, timeout);
	if (ready < 0 && errno != EINTR)
		die_errno("poll");
	if (ready == 0 && timeout == IDLE_MS)
		release_buffers(m);
	if (ready < 0)
		return;
	if (slots[0].revents)
		reap_child(m);
	if (slots[2].revents)
		client_resume_input(m);
	for (int stream = 0; stream < 2; stream++)
		if (slots[3 + stream].revents || (m->exited && m->output[stream] >= 0))
			read_output(m, stream);
	for (nfds_t i = OWN_SLOTS; i < count; i++)
		if (slots[i].revents)
			serve_client(m, served[i - OWN_SLOTS], slots[i].revents);
	if (slots[1].revents)
		accept_clients(m);
	if (slots[5].revents) {
		serve_proxy();
		buffers_used = 1;
	}
	if (m->exited)
		drop_stuck(m);
	sweep_clients(m);
}

/* Until the container is gone and everything it wrote has been passed on. */
void serve_container(struct monitor *m)
{
	while (!m->exited || m->output[0] >= 0 || m->output[1] >= 0 || m->chunks[0].waiting || m->chunks[1].waiting)
		serve_once(m);
	close_fd(&m->stdin_fd);
	/* What is still meant for stdin is thrown away, or an owner's RELEASED behind it would never be read. */
	client_resume_input(m);
}

static int has_owner(const struct monitor *m)
{
	for (const struct client *c = m->clients; c; c = c->next)
		if (c->owner && !c->dead)
			return 1;
	return 0;
}

/* The exit code to everybody; then whoever declared to own the teardown is waited for, as long as it takes. */
void serve_farewell(struct monitor *m)
{
	struct chunk *farewell = &m->chunks[CHUNK_EXIT];
	uint32_t code = (uint32_t)exit_code_of(m->status);
	stage("exit-frame");
	put_header(farewell->bytes, FRAME_EXIT, 4);
	for (int i = 0; i < 4; i++)
		farewell->bytes[FRAME_HEADER + i] = (uint8_t)(code >> (24 - 8 * i));
	farewell->length = FRAME_HEADER + 4;
	accept_clients(m);
	/* Who has just come may have said already that the teardown is theirs. */
	for (struct client *c = m->clients; c; c = c->next)
		client_readable(m, c);
	sweep_clients(m);
	for (struct client *c = m->clients; c; c = c->next)
		c->last_progress = now_ms();
	broadcast(m, CHUNK_EXIT, 0);
	sweep_clients(m);
	close_fd(&m->listener);
	/*
	 * A client may be sending (a terminal's size, the rest of its input) while it is told the end. To hang up on it would be an
	 * error on its side, for which it might throw away what it has not read yet: it hangs up first.
	 */
	m->linger_until = now_ms() + LINGER_MS;
	while (farewell->waiting || (has_owner(m) && !m->released) || (m->clients && now_ms() < m->linger_until))
		serve_once(m);
}
