/* One question over TCP to a server whose datagram was not enough. Freed with its query, or when the server hangs up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns.h"

struct fetch {
	struct object object;
	struct watch watch;
	struct pending *pending;
	const struct dns_query *query; /* the pending one's */
	uint16_t id;
	size_t out_at, out_length, in_at, in_length;
	uint8_t prefix[2];
	uint8_t *in;
	uint8_t out[2 + DNS_FORWARD_BYTES];
};

void drop_fetch(struct fetch *fetch)
{
	if (!fetch)
		return;
	close_watch(&fetch->watch);
	free(fetch->in);
	fetch->in = NULL;
	bury(&fetch->object);
}

/* 1: there is more to come, 0: the whole answer is here, -1: nothing will come of it. */
static int receive_some(struct fetch *fetch)
{
	int is_prefix = fetch->in_at < 2;
	uint8_t *to = is_prefix ? fetch->prefix + fetch->in_at : fetch->in + fetch->in_at - 2;
	size_t wanted = (is_prefix ? 2 : 2 + fetch->in_length) - fetch->in_at;
	ssize_t n = recv(fetch->watch.fd, to, wanted, 0);
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR) ? 1 : -1;
	fetch->in_at += (size_t)n;
	if (!is_prefix)
		return fetch->in_at < 2 + fetch->in_length;
	if (fetch->in_at < 2)
		return 1;
	fetch->in_length = (size_t)(fetch->prefix[0] << 8 | fetch->prefix[1]);
	if (fetch->in_length < DNS_HEADER)
		return -1;
	fetch->in = malloc(fetch->in_length);
	return fetch->in ? 1 : -1;
}

static int send_some(struct fetch *fetch)
{
	ssize_t n = send(fetch->watch.fd, fetch->out + fetch->out_at, fetch->out_length - fetch->out_at, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 1 : -1;
	fetch->out_at += (size_t)n;
	if (fetch->out_at == fetch->out_length)
		watch(&fetch->watch, EPOLLIN);
	return 1;
}

static void fetch_ready(struct watch *w, uint32_t events)
{
	struct fetch *fetch = (struct fetch *)((char *)w - offsetof(struct fetch, watch));
	(void)events;
	int state = fetch->out_at < fetch->out_length ? send_some(fetch) : receive_some(fetch);
	if (state > 0)
		return;
	if (state == 0 && dns_is_answer(fetch->in, fetch->in_length, fetch->query, fetch->id)) {
		memcpy(reply, fetch->in, fetch->in_length);
		deliver(fetch->pending, reply, fetch->in_length);
		return;
	}
	/* Its query goes on to the next server when its time is over. */
	close_watch(w);
}

struct fetch *start_fetch(struct pending *pending, const struct dns_query *query, const union address *server)
{
	socklen_t length = server->any.sa_family == AF_INET6 ? sizeof(server->v6) : sizeof(server->v4);
	struct fetch *fetch = calloc(1, sizeof(*fetch));
	if (!fetch)
		return NULL;
	fetch->pending = pending;
	fetch->query = query;
	fetch->watch = (struct watch){ .ready = fetch_ready };
	fetch->watch.fd = socket(server->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fetch->watch.fd < 0 || getrandom(&fetch->id, sizeof(fetch->id), 0) != sizeof(fetch->id) ||
	    (connect(fetch->watch.fd, &server->any, length) < 0 && errno != EINPROGRESS) ||
	    watch(&fetch->watch, EPOLLOUT) < 0) {
		drop_fetch(fetch);
		return NULL;
	}
	size_t message = dns_build_forward(fetch->out + 2, query, fetch->id);
	fetch->out[0] = (uint8_t)(message >> 8);
	fetch->out[1] = (uint8_t)message;
	fetch->out_length = 2 + message;
	return fetch;
}
