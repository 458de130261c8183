/*
 * UDP through the proxy. Each client address gets a socket of its own towards the container, so that the answers find their
 * way back; the container sees that socket as its client. Clients that were silent for a minute are forgotten.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "monitor.h"
#include "proxy.h"

enum {
	MAX_UDP_CLIENTS = 256, /* one more takes the place of the one that was silent for longest */
	DATAGRAMS_PER_WAKE = 32,
	UDP_IDLE_MS = 60000,
};

/* A client, and which of the host's addresses it talks to: an answer from another one would be thrown away. */
struct route {
	union address client;
	socklen_t length;
	struct in6_addr local; /* IPv6 only */
};

struct udp_client {
	struct watch watch;
	struct udp_client *next;
	const struct proxied *port;
	struct route route;
	int64_t last_active;
};

union control {
	struct cmsghdr header;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static struct udp_client *clients; /* the most recent first */
static unsigned clients_count;
static int any_forgotten;

int prepare_udp_port(int fd, const struct port *port)
{
	int on = 1;
	return port->address_length == 16 ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) : 0;
}

/* The datagram is in the shared buffer. Its length, or -1 when there is none. */
static ssize_t receive(int fd, struct route *from)
{
	union control control;
	struct iovec part = { scratch, SCRATCH_BYTES };
	struct msghdr message = {
		.msg_name = &from->client, .msg_namelen = sizeof(from->client), .msg_iov = &part, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	memset(from, 0, sizeof(*from));
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);
	if (n < 0)
		return -1;
	from->length = message.msg_namelen;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			memcpy(&from->local, CMSG_DATA(c), sizeof(from->local)); /* in6_pktinfo begins with the address */
	/* One cannot answer from a group's address. */
	if (IN6_IS_ADDR_MULTICAST(&from->local))
		memset(&from->local, 0, sizeof(from->local));
	return n;
}

static void answer(const struct udp_client *c, size_t length)
{
	union control control;
	struct in6_pktinfo source = { .ipi6_addr = c->route.local };
	struct iovec part = { scratch, length };
	struct msghdr message = {
		.msg_name = (void *)&c->route.client, .msg_namelen = c->route.length, .msg_iov = &part, .msg_iovlen = 1,
	};
	if (c->route.client.any.sa_family == AF_INET6) {
		memset(&control, 0, sizeof(control));
		control.header.cmsg_level = IPPROTO_IPV6;
		control.header.cmsg_type = IPV6_PKTINFO;
		control.header.cmsg_len = CMSG_LEN(sizeof(source));
		memcpy(CMSG_DATA(&control.header), &source, sizeof(source));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	/* What cannot be sent is lost, as datagrams are. */
	(void)!sendmsg(c->port->watch.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void forget(struct udp_client *c)
{
	close_watch(&c->watch);
	clients_count--;
	any_forgotten = 1;
}

static void receive_from_container(struct watch *w, uint32_t events)
{
	struct udp_client *c = (struct udp_client *)w;
	(void)events;
	for (int i = 0; i < DATAGRAMS_PER_WAKE; i++) {
		ssize_t n = recv(w->fd, scratch, SCRATCH_BYTES, MSG_DONTWAIT);
		/* ECONNREFUSED: nobody listens in the container just now. The read has taken note of it. */
		if (n < 0)
			return;
		c->last_active = now_ms();
		answer(c, (size_t)n);
	}
}

static void forget_oldest(void)
{
	struct udp_client *oldest = NULL;
	for (struct udp_client *c = clients; c; c = c->next)
		if (c->watch.fd >= 0 && (!oldest || c->last_active <= oldest->last_active))
			oldest = c;
	if (oldest)
		forget(oldest);
}

static struct udp_client *add_client(const struct proxied *p, const struct route *route)
{
	if (clients_count == MAX_UDP_CLIENTS)
		forget_oldest();
	struct udp_client *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->watch.fd = socket(p->target.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->watch.ready = receive_from_container;
	c->port = p;
	c->route = *route;
	if (c->watch.fd < 0 || connect(c->watch.fd, &p->target.any, p->target_length) < 0 || watch(&c->watch, EPOLLIN) < 0) {
		close_watch(&c->watch);
		free(c);
		return NULL;
	}
	c->next = clients;
	clients = c;
	clients_count++;
	start_ticking();
	return c;
}

static struct udp_client *find_client(const struct proxied *p, const struct route *route)
{
	for (struct udp_client **at = &clients; *at; at = &(*at)->next) {
		struct udp_client *c = *at;
		if (c->watch.fd < 0 || c->port != p || memcmp(&c->route, route, sizeof(*route)) != 0)
			continue;
		*at = c->next;
		c->next = clients;
		clients = c;
		return c;
	}
	return add_client(p, route);
}

void receive_from_clients(struct watch *w, uint32_t events)
{
	(void)events;
	for (int i = 0; i < DATAGRAMS_PER_WAKE; i++) {
		struct route route;
		ssize_t n = receive(w->fd, &route);
		if (n < 0)
			return;
		struct udp_client *c = find_client((const struct proxied *)w, &route);
		if (!c)
			continue;
		c->last_active = now_ms();
		/* Once more where the first try only told of an earlier datagram that nobody took. */
		if (send(c->watch.fd, scratch, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED)
			(void)!send(c->watch.fd, scratch, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

void forget_clients_of(const struct proxied *p)
{
	for (struct udp_client *c = clients; c; c = c->next)
		if (c->watch.fd >= 0 && c->port == p)
			forget(c);
	sweep_udp();
}

int tick_udp(void)
{
	int64_t now = now_ms();
	for (struct udp_client *c = clients; c; c = c->next)
		if (c->watch.fd >= 0 && now - c->last_active > UDP_IDLE_MS)
			forget(c);
	return clients_count > 0;
}

void sweep_udp(void)
{
	if (!any_forgotten)
		return;
	any_forgotten = 0;
	for (struct udp_client **at = &clients; *at;) {
		struct udp_client *c = *at;
		if (c->watch.fd >= 0) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		free(c);
	}
}
