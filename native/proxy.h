/* What the parts of the proxy share: one epoll set, one buffer to carry bytes through, one timer. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "init.h"

enum {
	SCRATCH_BYTES = 65536, /* the longest datagram, and what is carried at once */
	TICK_MS = 5000,
};

/* A socket in the epoll set, as the first member of what it belongs to. `fd` is -1 once that is given up. */
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

/* A published port that is served here, and where its clients want to get to. */
struct proxied {
	struct watch watch;
	struct proxied *next;
	const struct port *port;
	union address target;
	socklen_t target_length;
};

extern struct proxied *proxied_ports;
extern uint8_t *scratch;

/* proxy.c */
int watch(struct watch *w, uint32_t events); /* -1: the kernel has no room for it */
void unwatch(struct watch *w);
void close_watch(struct watch *w);
void start_ticking(void);
socklen_t make_address(union address *to, const uint8_t *address, uint32_t length, uint32_t port);

/* proxy_tcp.c */
void accept_connections(struct watch *w, uint32_t events);
int tick_connections(void); /* 1: tick again */
void sweep_connections(void);
int connections_draining(void);

/* proxy_udp.c */
int prepare_udp_port(int fd, const struct port *port);
void receive_from_clients(struct watch *w, uint32_t events);
int tick_udp(void);
void forget_clients_of(const struct proxied *p);
void sweep_udp(void);
