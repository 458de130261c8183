/* The host ports in the bootstrap: one, or a range of which the first is spelled out. */
#include <netinet/in.h>

#include "bootstrap.h"
#include "cursor.h"
#include "die.h"

/* {u32 length, bytes} */
static const uint8_t *take_address(struct cursor *c, uint32_t *length)
{
	*length = take_u32(c);
	if (*length != 4 && *length != 16)
		die("bootstrap: a reserved port with an address of %u bytes", *length);
	need(c, *length);
	const uint8_t *address = c->at;
	c->at += *length;
	return address;
}

void take_port(struct bootstrap *b, struct cursor *c, int optional)
{
	struct port *port = APPEND(b->ports);
	port->protocol = take_u32(c);
	port->port = take_u32(c);
	port->address = take_address(c, &port->address_length);
	port->optional = optional;
	port->fd = -1;
	if (c->at < c->end) {
		port->target_port = take_u32(c);
		port->target = take_address(c, &port->target_length);
		if (port->protocol != IPPROTO_TCP && port->protocol != IPPROTO_UDP)
			die("bootstrap: protocol %u cannot be proxied", port->protocol);
	}
	if (port->port > 65535 || port->target_port > 65535)
		die("bootstrap: %u:%u is no port", port->port, port->target_port);
}

enum { MAX_PORTS = 1 << 18 }; /* all of a protocol on four addresses: a few bytes of bootstrap could ask for any number */

/* The last port stands for a range that begins with it. */
void take_port_count(struct bootstrap *b, struct cursor *c)
{
	uint32_t count = take_u32(c);
	if (b->ports.count == 0)
		die("bootstrap: a number of ports without a port");
	struct port first = b->ports.items[b->ports.count - 1];
	uint32_t highest = first.port > first.target_port ? first.port : first.target_port;
	if (count == 0 || count > 65536 - highest || b->ports.count + count > MAX_PORTS)
		die("bootstrap: %u ports from %u:%u on", count, first.port, first.target_port);
	for (uint32_t i = 1; i < count; i++) {
		struct port *next = APPEND(b->ports);
		*next = first;
		next->port += i;
		if (first.target)
			next->target_port += i;
	}
}
