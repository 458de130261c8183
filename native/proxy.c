/*
 * Published ports that the kernel cannot translate: ::1, which it routes nowhere else, and IPv6 addresses in front of a
 * container that has none. The monitor holds these ports anyway; here it serves them and carries the bytes. Everything is
 * non-blocking and bounded for each turn, since the same process carries the container's own streams.
 */
#include "proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "monitor.h"

enum {
	DRAIN_MS = 300, /* what slow clients get of a container that has ended */
};

struct proxied *proxied_ports;
uint8_t *scratch;
static int epoll = -1; /* the set of watch.h, once there is something in it */
static int ticking;

static void tick(struct watch *w, uint32_t events);
static struct watch ticker = { .fd = -1, .ready = tick };

/* The timer runs only while somebody needs it: an idle monitor is never woken. */
void start_ticking(void)
{
	struct itimerspec once = { .it_value.tv_sec = TICK_MS / 1000 };
	if (ticking)
		return;
	if (ticker.fd < 0)
		ticker.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	ticking = ticker.fd >= 0 && timerfd_settime(ticker.fd, 0, &once, NULL) == 0 && watch(&ticker, EPOLLIN) == 0;
}

static void tick(struct watch *w, uint32_t events)
{
	uint64_t count;
	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	ticking = 0;
	if (tick_connections() | tick_udp())
		start_ticking();
}

/* Takes the bound socket over. Who connects from now on waits in the kernel until the container runs. */
int proxy_port(const struct port *port, int fd)
{
	struct proxied *p = calloc(1, sizeof(*p));
	if (!p || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return -1;
	if (port->protocol == IPPROTO_UDP && prepare_udp_port(fd, port) < 0)
		return -1;
	p->watch.fd = fd;
	p->watch.ready = port->protocol == IPPROTO_UDP ? receive_from_clients : accept_connections;
	p->port = port;
	p->target_length = make_address(&p->target, port->target, port->target_length, port->target_port);
	p->next = proxied_ports;
	proxied_ports = p;
	return 0;
}

/* Datagrams answer through the port's socket, so their clients go along; connections have sockets of their own. */
void unproxy_port(const struct port *port)
{
	for (struct proxied **at = &proxied_ports; *at; at = &(*at)->next) {
		struct proxied *p = *at;
		if (p->port != port)
			continue;
		if (port->protocol == IPPROTO_UDP)
			forget_clients_of(p);
		*at = p->next;
		close_watch(&p->watch);
		free(p);
		return;
	}
}

/*
 * Only now, when no child has copies of the sockets any more: an epoll set goes by the open file, not by the descriptor.
 * Again for each port that comes later.
 */
int open_proxy(void)
{
	if (!proxied_ports)
		return epoll;
	if (epoll < 0)
		epoll = open_watches();
	for (struct proxied *p = proxied_ports; p && epoll >= 0; p = p->next)
		if (!p->watch.listed)
			watch(&p->watch, EPOLLIN);
	return epoll;
}

static int has_scratch(void)
{
	if (!scratch) {
		void *map = mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		scratch = map == MAP_FAILED ? NULL : map;
	}
	return scratch != NULL;
}

void serve_proxy(void)
{
	if (has_scratch())
		serve_watches(0);
	/* Not before: another event of this turn may belong to what was given up. */
	sweep_connections();
	sweep_udp();
}

void release_proxy_buffer(void)
{
	if (scratch)
		madvise(scratch, SCRATCH_BYTES, MADV_DONTNEED);
}

/* The container has ended: nobody new. */
void close_proxied_ports(void)
{
	for (struct proxied *p = proxied_ports; p; p = p->next)
		if (p->port->protocol == IPPROTO_TCP)
			close_watch(&p->watch);
}

/* What it said last is still on its way. Clients that take it get a moment; the kernel sends what it has by itself. */
void finish_proxy(void)
{
	int64_t left = 0, end = now_ms() + DRAIN_MS;
	while (epoll >= 0 && connections_draining() && (left = end - now_ms()) > 0) {
		struct pollfd slot = { .fd = epoll, .events = POLLIN };
		if (poll(&slot, 1, (int)left) > 0)
			serve_proxy();
	}
}
