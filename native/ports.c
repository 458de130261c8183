/*
 * Holds host ports for the monitor's life. As a rule nothing is served on them, packets are translated before they get
 * here; a bound socket is how everybody else, a second container or a program of the host, learns at bind(2) that the port is
 * taken. Those that the kernel cannot translate are handed to the proxy.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "init.h"

enum { BACKLOG = 512 }; /* of a proxied port */

struct filter_instruction {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};

struct filter_program {
	unsigned short length;
	struct filter_instruction *instructions;
};

static int open_socket(const struct port *port)
{
	int family = port->address_length == 16 ? AF_INET6 : AF_INET;
	int type = port->protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(family, type | SOCK_CLOEXEC, (int)port->protocol);
	int on = 1;

	if (fd >= 0 && family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		close_fd(&fd);
	return fd;
}

static int bind_port(int fd, const struct port *port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port->port) };

	if (port->address_length == 16) {
		memcpy(&v6.sin6_addr, port->address, 16);
		return bind(fd, (struct sockaddr *)&v6, sizeof(v6));
	}
	memcpy(&v4.sin_addr, port->address, 4);
	return bind(fd, (struct sockaddr *)&v4, sizeof(v4));
}

/*
 * A plain bind excludes everyone, but it also fails on connections in TIME_WAIT, left by a server that is gone. SO_REUSEADDR
 * looks past those; it would also look past another socket that is bound that way and does not listen, so here the socket
 * listens, which no second one can, with a filter that drops each packet before a connection could be made.
 */
static int bind_past_time_wait(int fd, const struct port *port)
{
	struct filter_instruction drop = { .code = 0x06 /* BPF_RET | BPF_K */ };
	struct filter_program program = { 1, &drop };
	int on = 1;

	if (!port->target && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 || bind_port(fd, port) < 0)
		return -1;
	return listen(fd, port->target ? BACKLOG : 0);
}

/*
 * SO_REUSEADDR after the exclusive bind is for the connections: they inherit it, and with it those that are left in
 * TIME_WAIT do not keep the next one out.
 */
static int serve_port(int fd, const struct port *port)
{
	int on = 1;
	if (port->protocol == IPPROTO_TCP &&
	    (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 || listen(fd, BACKLOG) < 0))
		return -1;
	return proxy_port(port, fd);
}

static _Noreturn void refuse(const struct port *port)
{
	int error = errno;
	char address[INET6_ADDRSTRLEN] = "?";
	const char *protocol = port->protocol == IPPROTO_TCP ? "tcp" : port->protocol == IPPROTO_UDP ? "udp" : "sctp";

	inet_ntop(port->address_length == 16 ? AF_INET6 : AF_INET, port->address, address, sizeof(address));
	errno = error;
	die_errno(port->address_length == 16 ? "%s [%s]:%u" : "%s %s:%u", protocol, address, port->port);
}

/* The socket, left open on purpose, is the reservation. */
static int open_reservation(const struct port *port, int *fd)
{
	*fd = open_socket(port);
	if (*fd < 0)
		return -1;
	if (bind_port(*fd, port) == 0)
		return port->target ? serve_port(*fd, port) : 0;
	if (errno != EADDRINUSE || port->protocol != IPPROTO_TCP)
		return -1;
	close_fd(fd);
	*fd = open_socket(port);
	if (*fd < 0 || bind_past_time_wait(*fd, port) < 0)
		return -1;
	return port->target ? proxy_port(port, *fd) : 0;
}

int hold_port(struct port *port)
{
	int fd = -1;
	if (open_reservation(port, &fd) < 0) {
		int error = errno;
		close_fd(&fd);
		errno = error;
		/* Without SCTP in the kernel nothing on the host can hold an SCTP port either. */
		if (port->protocol != IPPROTO_SCTP || (error != EPROTONOSUPPORT && error != ESOCKTNOSUPPORT))
			return -1;
	}
	port->fd = fd;
	port->held = 1;
	return 0;
}

/* Connections through the port go on; who comes now is nobody's. */
void release_port(struct port *port)
{
	if (port->target)
		unproxy_port(port);
	else
		close_fd(&port->fd);
	port->fd = -1;
	port->held = 0;
}

void reserve_ports(const struct bootstrap *b)
{
	stage("reserve-port");
	for (size_t i = 0; i < b->ports.count; i++)
		if (hold_port(&b->ports.items[i]) < 0 && !b->ports.items[i].optional)
			refuse(&b->ports.items[i]);
}
