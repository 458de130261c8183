/* What the parts of the proxy share: one buffer to carry bytes through, one timer. */
#pragma once

#include <stdint.h>

#include "init.h"
#include "watch.h"

enum {
	SCRATCH_BYTES = 65536, /* the longest datagram, and what is carried at once */
	TICK_MS = 5000,
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
void start_ticking(void);

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
