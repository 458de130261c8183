/*
 * TCP through the proxy. Bytes go from one socket through the shared buffer into the other one; only what that does not
 * take is kept, and then nothing more is read until it is gone. So an idle connection has no buffer at all, and a stuck one
 * at most 64 KiB a direction.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "proxy.h"

enum {
	MAX_CONNECTIONS = 512, /* further ones wait in the listen queue */
	ACCEPTS_PER_WAKE = 16,
	READS_PER_WAKE = 4,
	KEEPALIVE_SECONDS = 60, /* a peer that vanished without a word must not keep its place for ever */
};

struct side {
	struct watch watch;
	struct connection *connection;
	uint8_t *rest; /* what it has not taken yet; NULL: everything */
	size_t rest_at, rest_length;
	int ended; /* nothing more is read from it */
	int shut; /* nothing more is written to it */
	int parked; /* out of the epoll set, which would report its end over and over */
};

struct connection {
	struct connection *next;
	struct side client, server;
	int connecting, broken;
};

static struct connection *connections;
static unsigned connections_count;
static int paused, any_dropped;

static struct side *other(const struct side *s)
{
	struct connection *c = s->connection;
	return s == &c->client ? &c->server : &c->client;
}

static void listen_to_clients(uint32_t events)
{
	for (struct proxied *p = proxied_ports; p; p = p->next)
		if (p->port->protocol == IPPROTO_TCP && p->watch.fd >= 0)
			watch(&p->watch, events);
	paused = events == 0;
}

static void release_rest(struct side *s)
{
	if (s->rest)
		munmap(s->rest, s->rest_length);
	s->rest = NULL;
}

static void close_side(struct side *s)
{
	struct linger at_once = { .l_onoff = 1 };
	/* A connection that broke on one side must not look like a regular end on the other: RST, not FIN. */
	if (s->connection->broken && s->watch.fd >= 0)
		setsockopt(s->watch.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	release_rest(s);
	close_watch(&s->watch);
}

static void drop(struct connection *c)
{
	close_side(&c->client);
	close_side(&c->server);
	any_dropped = 1;
	connections_count--;
	if (paused)
		listen_to_clients(EPOLLIN);
}

static void drop_broken(struct connection *c)
{
	c->broken = 1;
	drop(c);
}

/* `s` takes no more, whatever there is. What it has sent itself may still be read. */
static void lose(struct side *s)
{
	s->connection->broken = 1;
	s->shut = 1;
	other(s)->ended = 1;
	release_rest(s);
}

static void keep_rest(struct side *s, const uint8_t *bytes, size_t length)
{
	void *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return lose(s);
	memcpy(map, bytes, length);
	s->rest = map;
	s->rest_at = 0;
	s->rest_length = length;
}

/* Bytes taken, 0 when there is no room, -1 when it is lost. */
static ssize_t try_send(struct side *s, const uint8_t *bytes, size_t length)
{
	ssize_t n = send(s->watch.fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	lose(s);
	return -1;
}

/* 1: it has taken what was left over and may get more. */
static int send_rest(struct side *s)
{
	if (!s->rest)
		return 1;
	ssize_t n = try_send(s, s->rest + s->rest_at, s->rest_length - s->rest_at);
	if (n < 0)
		return 0;
	s->rest_at += (size_t)n;
	if (s->rest_at < s->rest_length)
		return 0;
	release_rest(s);
	return 1;
}

/* One read and what follows from it. 0: there is no more, or no room for more, just now. */
static int carry(struct side *from, struct side *to)
{
	ssize_t n = recv(from->watch.fd, scratch, SCRATCH_BYTES, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		from->ended = 1;
		if (n < 0) /* reset: nothing can reach it either */
			lose(from);
		return 0;
	}
	ssize_t sent = try_send(to, scratch, (size_t)n);
	if (sent >= 0 && sent < n)
		keep_rest(to, scratch + sent, (size_t)(n - sent));
	/* After a short read there is nothing left, as a rule; if there is, epoll says so. */
	return sent == n && n == SCRATCH_BYTES;
}

static void relay(struct side *from, struct side *to)
{
	if (!send_rest(to))
		return;
	for (int i = 0; i < READS_PER_WAKE && !from->ended; i++)
		if (!carry(from, to))
			break;
	if (from->ended && !to->rest && !to->shut && !from->connection->broken) {
		shutdown(to->watch.fd, SHUT_WR);
		to->shut = 1;
	}
}

static uint32_t wanted(const struct side *s)
{
	if (s->connection->connecting)
		return s == &s->connection->server ? EPOLLOUT : 0;
	return (s->rest ? EPOLLOUT : 0) | (!s->ended && !other(s)->rest ? EPOLLIN : 0);
}

static int watch_side(struct side *s)
{
	uint32_t events = wanted(s);
	if (s->parked && events == 0)
		return 0;
	s->parked = 0;
	return watch(&s->watch, events);
}

/* Waits for what can go on, or ends what cannot. */
static void settle(struct connection *c)
{
	struct side *client = &c->client, *server = &c->server;
	if (client->ended && server->ended && !client->rest && !server->rest)
		return drop(c);
	if (watch_side(client) < 0 || watch_side(server) < 0)
		drop_broken(c);
}

static void connected(struct connection *c)
{
	int error = 0;
	socklen_t length = sizeof(error);
	if (getsockopt(c->server.watch.fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error)
		return drop_broken(c);
	c->connecting = 0;
	settle(c);
}

static void side_ready(struct watch *w, uint32_t events)
{
	struct side *s = (struct side *)w, *peer = other(s);
	struct connection *c = s->connection;
	int gone = (events & (EPOLLERR | EPOLLHUP)) != 0;
	uint32_t asked = wanted(s);

	if (c->connecting && s == &c->server)
		return connected(c);
	if (c->connecting && gone)
		return drop_broken(c);
	if (asked & EPOLLIN && (gone || events & EPOLLIN))
		relay(s, peer);
	if (asked & EPOLLOUT && s->rest && (gone || events & EPOLLOUT))
		relay(peer, s);
	/* It has said its last word and was still listening for ours. */
	if (events & EPOLLERR && s->ended && !s->shut)
		lose(s);
	if (gone && asked == 0) {
		unwatch(w);
		s->parked = 1;
	}
	settle(c);
}

static int open_upstream(const struct proxied *p)
{
	int fd = socket(p->target.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, &p->target.any, p->target_length) < 0 && errno != EINPROGRESS)
		close_fd(&fd);
	return fd;
}

static void set_options(int fd)
{
	int on = 1, seconds = KEEPALIVE_SECONDS;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
}

static void open_connection(const struct proxied *p, int client)
{
	struct connection *c = calloc(1, sizeof(*c));
	if (!c) {
		close(client);
		return;
	}
	c->client.watch.fd = client;
	c->server.watch.fd = open_upstream(p);
	c->client.watch.ready = c->server.watch.ready = side_ready;
	c->client.connection = c->server.connection = c;
	c->connecting = 1;
	c->next = connections;
	connections = c;
	connections_count++;
	if (c->server.watch.fd < 0)
		return drop_broken(c);
	set_options(client);
	set_options(c->server.watch.fd);
	settle(c);
}

void accept_connections(struct watch *w, uint32_t events)
{
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_WAKE && connections_count < MAX_CONNECTIONS; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
			/* It would be reported again at once; a tick or the end of a connection tries anew. */
			listen_to_clients(0);
			start_ticking();
		}
		if (fd < 0)
			return;
		open_connection((const struct proxied *)w, fd);
	}
	if (connections_count == MAX_CONNECTIONS)
		listen_to_clients(0);
}

int tick_connections(void)
{
	if (paused && connections_count < MAX_CONNECTIONS)
		listen_to_clients(EPOLLIN);
	return 0;
}

void sweep_connections(void)
{
	if (!any_dropped)
		return;
	any_dropped = 0;
	for (struct connection **at = &connections; *at;) {
		struct connection *c = *at;
		if (c->client.watch.fd >= 0) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free(c);
	}
}

/* Whether some client has not got all of what the container sent it. */
int connections_draining(void)
{
	for (const struct connection *c = connections; c; c = c->next)
		if (!c->server.ended || c->client.rest)
			return 1;
	return 0;
}
