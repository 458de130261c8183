/* The containers that the answerer serves, each with a UDP and a TCP socket in its own network namespace. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "dns.h"

enum { QUERIES_PER_WAKE = 16 }; /* then it is the turn of the others */

struct user *users;
static unsigned users_count;

unsigned fair_share(unsigned most, unsigned total)
{
	unsigned share = users_count > 0 ? total / users_count : total;
	if (share < 2)
		share = 2;
	return share < most ? share : most;
}

static void receive_queries(struct watch *w, uint32_t events)
{
	struct user *user = (struct user *)((char *)w - offsetof(struct user, udp));
	(void)events;
	for (int i = 0; i < QUERIES_PER_WAKE; i++) {
		struct origin origin = { .user = user };
		socklen_t length = sizeof(origin.client);
		ssize_t n = recvfrom(w->fd, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&origin.client, &length);
		if (n < 0 && errno == EAGAIN)
			return;
		/* A query that was sent after a name had changed is answered with the change. */
		take_news();
		if (w->fd < 0)
			return;
		if (n > 0)
			handle_query(&origin, packet, (size_t)n);
	}
}

static struct user *find_user(const char *id)
{
	struct user *user = users;
	while (user && memcmp(user->id, id, DNS_ID_LENGTH) != 0)
		user = user->next;
	return user;
}

static void use_socket(struct watch *w, int fd, void (*ready)(struct watch *, uint32_t))
{
	close_watch(w);
	*w = (struct watch){ .fd = fd, .ready = ready };
	watch(w, EPOLLIN);
}

static struct user *add_user(const char *id)
{
	struct user *user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	memcpy(user->id, id, DNS_ID_LENGTH);
	user->udp.fd = user->tcp.fd = -1;
	user->next = users;
	users = user;
	users_count++;
	return user;
}

void put_user(const char *id, const char *text, size_t length, int udp, int tcp)
{
	struct user *user = find_user(id);
	struct dns_container *names = dns_enter(text, length);
	if (!user && udp >= 0)
		user = add_user(id);
	if (!user || !names) {
		dns_remove(names);
		close_fd(&udp);
		close_fd(&tcp);
		return;
	}
	dns_remove(user->names);
	user->names = names;
	if (udp >= 0) {
		close_streams_of(user);
		use_socket(&user->udp, udp, receive_queries);
		use_socket(&user->tcp, tcp, accept_streams);
	}
}

void remove_user(const char *id)
{
	struct user **link = &users, *user = find_user(id);
	if (!user)
		return;
	while (*link != user)
		link = &(*link)->next;
	*link = user->next;
	users_count--;
	close_streams_of(user);
	forget_queries_of(user, NULL);
	close_watch(&user->udp);
	close_watch(&user->tcp);
	dns_remove(user->names);
	user->names = NULL;
	bury(&user->object);
}
