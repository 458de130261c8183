/*
 * Clients that ask over TCP (RFC 7766): a length in front of each message, several queries on one connection, answered one
 * after another. Few at a time, and a connection that says nothing is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns.h"

enum {
	MAX_STREAMS = 40, /* with the longest answers for each, less than 3 MB */
	MAX_STREAMS_EACH = 16,
	IDLE_MS = 10000,
	QUERY_BYTES = 1024,
};

struct stream {
	struct object object;
	struct watch watch;
	struct stream *next; /* the oldest first */
	struct user *user;
	int64_t deadline;
	int waiting; /* for the answer to the query at the start of `in` */
	size_t in_length, out_length, out_at;
	uint8_t *out;
	uint8_t in[2 + QUERY_BYTES];
};

static struct stream *streams;
static unsigned streams_count;

static void close_stream(struct stream *stream)
{
	struct stream **link = &streams;
	while (*link && *link != stream)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = stream->next;
	streams_count--;
	stream->user->streams--;
	forget_queries_of(stream->user, stream);
	close_watch(&stream->watch);
	free(stream->out);
	stream->out = NULL;
	bury(&stream->object);
}

void close_streams_of(const struct user *user)
{
	for (struct stream *stream = streams, *next; stream; stream = next) {
		next = stream->next;
		if (stream->user == user)
			close_stream(stream);
	}
}

static size_t query_length(const struct stream *stream)
{
	return (size_t)(stream->in[0] << 8 | stream->in[1]);
}

/* One query after the other, as long as each is answered at once. */
static void take_queries(struct stream *stream)
{
	while (stream->watch.fd >= 0 && !stream->waiting && !stream->out && stream->in_length >= 2) {
		size_t length = query_length(stream);
		if (length > QUERY_BYTES) {
			close_stream(stream);
			return;
		}
		if (stream->in_length < 2 + length)
			break;
		struct origin origin = { .user = stream->user, .stream = stream };
		stream->waiting = 1;
		memcpy(packet, stream->in + 2, length);
		stream->in_length -= 2 + length;
		memmove(stream->in, stream->in + 2 + length, stream->in_length);
		handle_query(&origin, packet, length);
	}
	if (stream->watch.fd < 0)
		return;
	int wants_more = !stream->waiting && !stream->out;
	watch(&stream->watch, (wants_more ? EPOLLIN : 0) | (stream->out ? EPOLLOUT : 0));
}

static int send_rest(struct stream *stream)
{
	ssize_t n = send(stream->watch.fd, stream->out + stream->out_at, stream->out_length - stream->out_at, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	stream->out_at += (size_t)n;
	stream->deadline = now_ms() + IDLE_MS;
	if (stream->out_at == stream->out_length) {
		free(stream->out);
		stream->out = NULL;
	}
	return 1;
}

static void stream_ready(struct watch *w, uint32_t events)
{
	struct stream *stream = (struct stream *)((char *)w - offsetof(struct stream, watch));
	if (events & (EPOLLERR | EPOLLHUP) || (stream->out && !send_rest(stream))) {
		close_stream(stream);
		return;
	}
	if (events & EPOLLIN) {
		ssize_t n = recv(w->fd, stream->in + stream->in_length, sizeof(stream->in) - stream->in_length, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			close_stream(stream);
			return;
		}
		stream->in_length += n > 0 ? (size_t)n : 0;
		take_news();
	}
	if (w->fd >= 0)
		take_queries(stream);
}

void answer_stream(struct stream *stream, const uint8_t *bytes, size_t length)
{
	stream->waiting = 0;
	stream->deadline = now_ms() + IDLE_MS;
	stream->out = malloc(2 + length);
	if (!stream->out) {
		close_stream(stream);
		return;
	}
	stream->out[0] = (uint8_t)(length >> 8);
	stream->out[1] = (uint8_t)length;
	memcpy(stream->out + 2, bytes, length);
	stream->out_length = 2 + length;
	stream->out_at = 0;
	if (!send_rest(stream))
		close_stream(stream);
	else /* the next query may be here already: it is taken from the loop, not from in here */
		watch(&stream->watch, EPOLLOUT);
}

void accept_streams(struct watch *w, uint32_t events)
{
	struct user *user = (struct user *)((char *)w - offsetof(struct user, tcp));
	(void)events;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct stream *stream = user->streams < fair_share(MAX_STREAMS_EACH, MAX_STREAMS) ? calloc(1, sizeof(*stream)) : NULL;
	if (!stream) {
		close(fd);
		return;
	}
	if (streams_count >= MAX_STREAMS)
		close_stream(streams);
	stream->user = user;
	stream->deadline = now_ms() + IDLE_MS;
	stream->watch = (struct watch){ .fd = fd, .ready = stream_ready };
	struct stream **last = &streams;
	while (*last)
		last = &(*last)->next;
	*last = stream;
	streams_count++;
	user->streams++;
	if (watch(&stream->watch, EPOLLIN) < 0)
		close_stream(stream);
}

int64_t expire_streams(int64_t now)
{
	int64_t soonest = INT64_MAX;
	for (struct stream *stream = streams, *next; stream; stream = next) {
		next = stream->next;
		if (stream->deadline <= now)
			close_stream(stream);
		else if (stream->deadline < soonest)
			soonest = stream->deadline;
	}
	return soonest;
}
