/*
 * Host ports that come and go while the container runs, as clients of the attach socket ask for. A request is
 * {u8 protocol, u8 address bytes, u8 target bytes (0: only held), 0, u16 port, u16 target port, address, target}, numbers in
 * network order; the answer is an errno, 0 for done. Each asks for a state, so the same request twice is no error.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "monitor.h"

enum { REQUEST_HEADER = 8, ADDRESS_MAX = 16 };

struct live_port {
	struct live_port *next;
	struct port port; /* its addresses are those below */
	uint8_t address[ADDRESS_MAX], target[ADDRESS_MAX];
};

static struct live_port *live_ports;

static int is_address_length(unsigned length)
{
	return length == 4 || length == 16;
}

/* -1: nonsense. `port` points into `request`. */
static int parse_request(const uint8_t *request, size_t length, struct port *port)
{
	if (length < REQUEST_HEADER)
		return -1;
	unsigned address = request[1], target = request[2];
	if (!is_address_length(address) || (target && !is_address_length(target)) || length != REQUEST_HEADER + address + target)
		return -1;
	*port = (struct port){
		.protocol = request[0],
		.port = (uint32_t)(request[4] << 8 | request[5]),
		.address_length = address,
		.address = request + REQUEST_HEADER,
		.target_port = (uint32_t)(request[6] << 8 | request[7]),
		.target_length = target,
		.target = target ? request + REQUEST_HEADER + address : NULL,
		.fd = -1,
	};
	if (port->protocol != IPPROTO_TCP && port->protocol != IPPROTO_UDP && (port->protocol != IPPROTO_SCTP || target))
		return -1;
	return port->port == 0 ? -1 : 0;
}

static int is_same_place(const struct port *a, const struct port *b)
{
	return a->held && a->protocol == b->protocol && a->port == b->port && a->address_length == b->address_length &&
	       memcmp(a->address, b->address, a->address_length) == 0;
}

static int is_same_target(const struct port *a, const struct port *b)
{
	return a->target_length == b->target_length && a->target_port == b->target_port &&
	       (!a->target_length || memcmp(a->target, b->target, a->target_length) == 0);
}

static struct port *find_port(const struct monitor *m, const struct port *wanted)
{
	for (size_t i = 0; i < m->b->ports.count; i++)
		if (is_same_place(&m->b->ports.items[i], wanted))
			return &m->b->ports.items[i];
	for (struct live_port *l = live_ports; l; l = l->next)
		if (is_same_place(&l->port, wanted))
			return &l->port;
	return NULL;
}

static void forget_released(void)
{
	for (struct live_port **at = &live_ports; *at;) {
		struct live_port *l = *at;
		if (l->port.held) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		free(l);
	}
}

static int add_port(const struct port *wanted)
{
	struct live_port *l = calloc(1, sizeof(*l));
	if (!l)
		return -1;
	l->port = *wanted;
	memcpy(l->address, wanted->address, wanted->address_length);
	l->port.address = l->address;
	if (wanted->target) {
		memcpy(l->target, wanted->target, wanted->target_length);
		l->port.target = l->target;
	}
	if (hold_port(&l->port) < 0) {
		int error = errno;
		free(l);
		errno = error;
		return -1;
	}
	l->next = live_ports;
	live_ports = l;
	return 0;
}

/*
 * The container has ended: whoever starts it again at once must find its ports free. Those that the proxy serves are closed with
 * it: answers may still be on their way.
 */
void release_reservations(struct monitor *m)
{
	for (size_t i = 0; i < m->b->ports.count; i++)
		if (m->b->ports.items[i].held && !m->b->ports.items[i].target)
			release_port(&m->b->ports.items[i]);
	for (struct live_port *l = live_ports; l; l = l->next)
		if (l->port.held && !l->port.target)
			release_port(&l->port);
}

int change_port(struct monitor *m, int hold, const uint8_t *request, size_t length)
{
	struct port wanted;
	if (parse_request(request, length, &wanted) < 0)
		return EINVAL;
	struct port *found = find_port(m, &wanted);
	if (found && hold && is_same_target(found, &wanted))
		return 0;
	if (found)
		release_port(found);
	forget_released();
	if (!hold)
		return 0;
	if (add_port(&wanted) < 0)
		return errno;
	m->proxy = open_proxy();
	return 0;
}
