/* See watch.h. */
#include "watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "cleanup.h"

enum { EVENTS_PER_WAKE = 16 };

static int epoll = -1;
static struct object *graves;

int open_watches(void)
{
	if (epoll < 0)
		epoll = epoll_create1(EPOLL_CLOEXEC);
	return epoll;
}

void forget_watches(void)
{
	close_fd(&epoll);
}

int watch(struct watch *w, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = w };
	if (w->listed && w->events == events)
		return 0;
	if (epoll_ctl(epoll, w->listed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &event) < 0)
		return -1;
	w->listed = 1;
	w->events = events;
	return 0;
}

void unwatch(struct watch *w)
{
	if (w->listed)
		epoll_ctl(epoll, EPOLL_CTL_DEL, w->fd, NULL);
	w->listed = 0;
}

void close_watch(struct watch *w)
{
	unwatch(w);
	close_fd(&w->fd);
}

void serve_watches(int timeout_ms)
{
	struct epoll_event events[EVENTS_PER_WAKE];
	int count = epoll_wait(epoll, events, EVENTS_PER_WAKE, timeout_ms);
	for (int i = 0; i < count; i++) {
		struct watch *w = events[i].data.ptr;
		if (w->fd >= 0)
			w->ready(w, events[i].events);
	}
	while (graves) {
		struct object *next = graves->next_grave;
		free(graves);
		graves = next;
	}
}

void bury(struct object *object)
{
	object->next_grave = graves;
	graves = object;
}

socklen_t make_address(union address *to, const uint8_t *address, uint32_t length, uint32_t port)
{
	memset(to, 0, sizeof(*to));
	if (length == 16) {
		to->v6.sin6_family = AF_INET6;
		to->v6.sin6_port = htons((uint16_t)port);
		memcpy(&to->v6.sin6_addr, address, 16);
		return sizeof(to->v6);
	}
	to->v4.sin_family = AF_INET;
	to->v4.sin_port = htons((uint16_t)port);
	memcpy(&to->v4.sin_addr, address, 4);
	return sizeof(to->v4);
}
