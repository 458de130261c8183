/*
 * Who is called what: the containers, the networks each is on, its names and addresses there, found by name and by
 * reverse name in a hash table. Built from the lines that src/engine/dns/names-text.ts writes:
 *
 *   forward host | forward none | server ADDRESS ...   where to send what is not known here
 *   host ADDRESS                                       what host.docker.internal means to this container
 *   endpoint NETWORK                                   the lines behind it are about this network
 *   address ADDRESS
 *   name NAME                                          in lower case
 *   reverse NAME                                       the answer to a reverse lookup of the addresses
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dns_message.h"

enum {
	DNS_ID_LENGTH = 64,
	DNS_TEXT_BYTES = 65536, /* of one container's lines */
	DNS_MAX_SERVERS = 3, /* as in resolv.conf(5) */
	DNS_REVERSE_BYTES = 73, /* 32 digits and dots, ip6.arpa */
};

struct dns_address {
	uint8_t length; /* 4 or 16 */
	uint8_t bytes[16];
};

struct dns_endpoint {
	struct dns_endpoint *next;
	struct dns_container *container;
	char *network, *reverse;
	struct dns_address *addresses;
	size_t addresses_count;
};

/* One name of one endpoint, in the chain of its bucket. */
struct dns_name {
	struct dns_name *next, **link; /* in the bucket; `link` is what points here */
	struct dns_name *sibling; /* of the same container */
	struct dns_endpoint *endpoint;
	int is_reverse;
	char text[];
};

struct dns_container {
	struct dns_endpoint *endpoints;
	struct dns_name *names;
	struct dns_address *host;
	size_t host_count;
	int forwards_to_host;
	struct dns_address servers[DNS_MAX_SERVERS];
	size_t servers_count;
};

/* Reads the lines and enters the names. NULL: a line is wrong, or there is no memory. */
struct dns_container *dns_enter(const char *text, size_t length);
void dns_remove(struct dns_container *container);
/* The first name with this text, then the next of them; they may be on networks that the asker is not on. */
struct dns_name *dns_find(const char *text);
struct dns_name *dns_find_next(const struct dns_name *name);

void dns_reverse_name(const struct dns_address *address, char text[DNS_REVERSE_BYTES]);

/*
 * The answer to what this container asks, if it is known here: returns its length, or 0 for what is to be forwarded. Pure but
 * for `turn`, which moves the order of several addresses on.
 */
size_t dns_answer_here(const struct dns_container *asker, const struct dns_query *query, uint8_t *buffer, size_t limit,
		       unsigned *turn);
