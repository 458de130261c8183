/* A process's sockets and who looks after each: one epoll set, and addresses as the socket calls want them. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * The first member of what comes and goes while events are served: another event of the same turn may still mean it, so it
 * is freed at the end of the turn.
 */
struct object {
	struct object *next_grave;
};

/* A socket in the epoll set, a member of what it belongs to. `fd` is -1 once that is given up. */
struct watch {
	int fd;
	int listed;
	uint32_t events;
	void (*ready)(struct watch *w, uint32_t events);
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

int open_watches(void); /* the set, made on first use; -1: the kernel has none to give */
void forget_watches(void); /* after a fork: the set is the parent's, and a new one will be made */
int watch(struct watch *w, uint32_t events); /* -1: the kernel has no room for it */
void unwatch(struct watch *w);
void close_watch(struct watch *w);
void serve_watches(int timeout_ms); /* a bounded number of events, so that the caller can look at other things in between */
void bury(struct object *object); /* frees it when this turn, or outside of one the next, is over */
socklen_t make_address(union address *to, const uint8_t *address, uint32_t length, uint32_t port);
