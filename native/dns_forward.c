/*
 * What is not known here is asked of the container's servers, from the host's network namespace. Each try has a socket of
 * its own, connected, with a port and an id that nobody can guess, and takes nothing but the answer to this very question.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns.h"

enum {
	MAX_PENDING = 1024,
	MAX_PENDING_EACH = 128,
	TRIES = 3,
	TRY_MS = 1500, /* all together less than the 5 s that resolvers wait */
	SERVERS_CHECK_MS = 1000,
};

struct try {
	struct watch watch;
	struct pending *pending;
	uint16_t id;
	union address server;
};

struct pending {
	struct object object;
	struct pending *next; /* the next deadline is the first one's: all wait equally long */
	struct origin origin;
	struct fetch *fetch;
	int64_t deadline;
	unsigned tries_count;
	struct try tries[TRIES];
	enum dns_code failure; /* what the last server that declined said */
	struct dns_query query;
};

static struct pending *queue;
static unsigned pending_count;

static void enqueue(struct pending *pending)
{
	struct pending **last = &queue;
	while (*last)
		last = &(*last)->next;
	*last = pending;
	pending->next = NULL;
	pending->deadline = now_ms() + TRY_MS;
}

static void dequeue(struct pending *pending)
{
	struct pending **link = &queue;
	while (*link && *link != pending)
		link = &(*link)->next;
	if (*link)
		*link = pending->next;
}

static void end_query(struct pending *pending)
{
	dequeue(pending);
	for (unsigned i = 0; i < pending->tries_count; i++)
		close_watch(&pending->tries[i].watch);
	drop_fetch(pending->fetch);
	pending->fetch = NULL;
	pending->origin.user->pending--;
	pending_count--;
	bury(&pending->object);
}

static void fail_query(struct pending *pending)
{
	enum dns_code code = pending->failure != DNS_OK ? pending->failure : DNS_SERVFAIL;
	size_t length = dns_refuse(reply, sizeof(reply), &pending->query, code);
	struct origin origin = pending->origin;
	struct dns_query query = pending->query;
	end_query(pending);
	send_answer(&origin, &query, reply, length);
}

void deliver(struct pending *pending, uint8_t *bytes, size_t length)
{
	struct origin origin = pending->origin;
	struct dns_query query = pending->query;
	bytes[0] = (uint8_t)(query.id >> 8);
	bytes[1] = (uint8_t)query.id;
	end_query(pending);
	send_answer(&origin, &query, bytes, length);
}

static unsigned servers_of(const struct user *user)
{
	return user->names->forwards_to_host ? host_servers.count : (unsigned)user->names->servers_count;
}

static void choose_server(const struct user *user, unsigned number, union address *server)
{
	if (user->names->forwards_to_host) {
		*server = host_servers.list[number];
		return;
	}
	const struct dns_address *address = &user->names->servers[number];
	make_address(server, address->bytes, address->length, DNS_PORT);
}

static int has_try_under_way(const struct pending *pending)
{
	int under_way = pending->fetch != NULL;
	for (unsigned i = 0; i < pending->tries_count; i++)
		under_way |= pending->tries[i].watch.fd >= 0;
	return under_way;
}

static void take_reply(struct watch *w, uint32_t events)
{
	struct try *try = (struct try *)w;
	struct pending *pending = try->pending;
	(void)events;
	ssize_t n = recv(w->fd, reply, sizeof(reply) - 1, MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN) { /* nobody is there */
		close_watch(w);
		if (!has_try_under_way(pending))
			try_next_server(pending);
		return;
	}
	if (n < 0 || !dns_is_answer(reply, (size_t)n, &pending->query, try->id))
		return;
	enum dns_code code = dns_code_of(reply);
	if ((code == DNS_SERVFAIL || code == DNS_REFUSED) && pending->tries_count < servers_of(pending->origin.user)) {
		close_watch(w);
		pending->failure = code;
		try_next_server(pending);
		return;
	}
	if (dns_is_truncated(reply) && pending->origin.stream) {
		close_watch(w);
		pending->fetch = start_fetch(pending, &pending->query, &try->server);
		if (pending->fetch)
			return;
	}
	deliver(pending, reply, (size_t)n);
}

static int start_try(struct try *try, const struct dns_query *query)
{
	uint8_t bytes[DNS_FORWARD_BYTES];
	socklen_t address_length = try->server.any.sa_family == AF_INET6 ? sizeof(try->server.v6) : sizeof(try->server.v4);
	if (getrandom(&try->id, sizeof(try->id), 0) != sizeof(try->id))
		return 0;
	try->watch.ready = take_reply;
	try->watch.fd = socket(try->server.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	size_t length = dns_build_forward(bytes, query, try->id);
	if (try->watch.fd >= 0 && connect(try->watch.fd, &try->server.any, address_length) == 0 &&
	    send(try->watch.fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length && watch(&try->watch, EPOLLIN) == 0)
		return 1;
	close_watch(&try->watch);
	return 0;
}

/* Servers that cannot even be asked are passed over at once; earlier ones may still answer. */
void try_next_server(struct pending *pending)
{
	unsigned servers = servers_of(pending->origin.user);
	dequeue(pending);
	while (servers > 0 && pending->tries_count < TRIES) {
		struct try *try = &pending->tries[pending->tries_count++];
		try->pending = pending;
		choose_server(pending->origin.user, (pending->tries_count - 1) % servers, &try->server);
		if (start_try(try, &pending->query)) {
			enqueue(pending);
			return;
		}
	}
	if (!has_try_under_way(pending))
		fail_query(pending);
	else
		enqueue(pending);
}

/* A client that asks again, because the answer takes its time, is already being served. */
static int is_repeated(const struct origin *origin, const struct dns_query *query)
{
	if (origin->stream)
		return 0;
	for (const struct pending *p = queue; p; p = p->next)
		if (p->origin.user == origin->user && !p->origin.stream && p->query.id == query->id &&
		    p->origin.client.sin_port == origin->client.sin_port &&
		    p->origin.client.sin_addr.s_addr == origin->client.sin_addr.s_addr &&
		    p->query.question_length == query->question_length &&
		    memcmp(p->query.question, query->question, query->question_length) == 0)
			return 1;
	return 0;
}

static void check_servers_now_and_then(void)
{
	static int64_t checked;
	if (now_ms() - checked < SERVERS_CHECK_MS)
		return;
	checked = now_ms();
	ask_for_servers();
}

void forward_query(const struct origin *origin, const struct dns_query *query)
{
	struct user *user = origin->user;
	if (user->pending > 0 && is_repeated(origin, query))
		return;
	if (user->names->forwards_to_host)
		check_servers_now_and_then();
	int has_room = pending_count < MAX_PENDING && user->pending < fair_share(MAX_PENDING_EACH, MAX_PENDING);
	struct pending *pending = has_room ? calloc(1, sizeof(*pending)) : NULL;
	if (!pending) {
		send_answer(origin, query, reply, dns_refuse(reply, sizeof(reply), query, DNS_SERVFAIL));
		return;
	}
	for (int i = 0; i < TRIES; i++)
		pending->tries[i].watch.fd = -1;
	pending->origin = *origin;
	pending->query = *query;
	user->pending++;
	pending_count++;
	try_next_server(pending);
}

void forget_queries_of(const struct user *user, const struct stream *stream)
{
	for (struct pending *pending = queue, *next; pending; pending = next) {
		next = pending->next;
		if (pending->origin.user == user && (!stream || pending->origin.stream == stream))
			end_query(pending);
	}
}

int64_t expire_queries(int64_t now)
{
	while (queue && queue->deadline <= now) {
		struct pending *pending = queue;
		/* A connection that was under way is late as well. */
		drop_fetch(pending->fetch);
		pending->fetch = NULL;
		if (pending->tries_count < TRIES && servers_of(pending->origin.user) > 0)
			try_next_server(pending);
		else
			fail_query(pending);
	}
	return queue ? queue->deadline : INT64_MAX;
}
