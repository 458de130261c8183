/*
 * tsrun-dns: names for containers. Two processes, both an unprivileged user in an empty root:
 *
 *   keeper    hears from the engine who comes and goes, and keeps each container's sockets; reads the host's resolv.conf;
 *             has nothing to do with packets. Starts the answerer again when that dies.                    (dns_keeper.c)
 *   answerer  answers and forwards. May use its sockets and get new ones for forwarding, and nothing else. (dns_answerer.c)
 *
 * The sockets were made by the engine inside the containers' network namespaces; what is forwarded leaves from the host's.
 */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#include "dns_table.h"
#include "watch.h"

enum {
	CONTROL_LISTENER_FD = 3, /* SOCK_SEQPACKET; only root can connect */
	LOCK_FD = 4, /* locked as long as either process lives */
	CONTROL_VERSION = 1,
	DNS_PORT = 53,
};

/* src/kernel/resolver/control.ts: one message and one reply a connection. The keeper passes it on as it is. */
enum control_type {
	CONTROL_PUT = 1, /* names; with the UDP socket, the TCP socket and a pidfd of a container that is new */
	CONTROL_REMOVE = 2,
	CONTROL_SERVERS = 3, /* keeper to answerer: the host's servers, each a union address */
};
enum control_reply {
	REPLY_DONE = 0,
	REPLY_UNKNOWN = 1, /* names for a container that nobody has brought sockets for */
	REPLY_BAD = 2,
	REPLY_LAST = 3, /* removed, and with that the process ends */
	REPLY_VERSION = 4,
};
struct control_header {
	uint32_t version, type;
	char id[DNS_ID_LENGTH];
};
struct control_message {
	struct control_header header;
	char text[DNS_TEXT_BYTES];
	size_t text_length;
	int fds[3];
	int fds_count;
};

/* A container, as the answerer sees it. */
struct user {
	struct object object;
	struct watch udp, tcp;
	struct user *next;
	char id[DNS_ID_LENGTH];
	struct dns_container *names;
	unsigned turn; /* of the rotation */
	unsigned pending, streams;
};

struct stream;

/* Where an answer goes: to a UDP client, or back into a TCP connection. */
struct origin {
	struct user *user;
	struct stream *stream;
	struct sockaddr_in client;
};

/* dns_control.c */
int receive_control(int fd, struct control_message *message); /* 1, 0 at the end, -1 with errno */
int send_control(int fd, const struct control_message *message); /* 0 or -1 */
void close_control_fds(struct control_message *message);

/* dns_servers.c: the host's servers. */
struct servers {
	union address list[DNS_MAX_SERVERS];
	uint32_t count;
};
extern struct servers host_servers;
void parse_resolv_conf(char *text, struct servers *servers);
int reread_resolv_conf(int host_root); /* 1: they have changed */

/* dns_confine.c */
void drop_root(const char *empty_directory);
void confine_answerer(void);

/* dns_answerer.c */
struct member;
_Noreturn void answer_queries(int channel, const struct member *members);
void take_news(void); /* what the keeper has sent, before anything is answered */
void ask_for_servers(void); /* whether they have changed: asked now and then, never waited for */
void handle_query(const struct origin *origin, const uint8_t *bytes, size_t length);
void send_answer(const struct origin *origin, const struct dns_query *query, uint8_t *bytes, size_t length);
int64_t now_ms(void);
extern uint8_t packet[DNS_MESSAGE_BYTES + 1], reply[DNS_MESSAGE_BYTES + 1];

/* dns_users.c */
extern struct user *users;
void put_user(const char *id, const char *text, size_t length, int udp, int tcp); /* -1: the sockets it has */
void remove_user(const char *id);
unsigned fair_share(unsigned most, unsigned total); /* of `total`, and at most `most`, what one container may have */

/* dns_stream.c: TCP clients */
void accept_streams(struct watch *w, uint32_t events);
void answer_stream(struct stream *stream, const uint8_t *bytes, size_t length);
void close_streams_of(const struct user *user);
int64_t expire_streams(int64_t now); /* when the next one expires; INT64_MAX: none */

/* dns_forward.c: what is asked of others */
struct pending;
void forward_query(const struct origin *origin, const struct dns_query *query);
void forget_queries_of(const struct user *user, const struct stream *stream);
int64_t expire_queries(int64_t now);
void deliver(struct pending *pending, uint8_t *bytes, size_t length);
void try_next_server(struct pending *pending);

/* dns_fetch.c: over TCP, what a server could not say in a datagram */
struct fetch;
struct fetch *start_fetch(struct pending *pending, const struct dns_query *query, const union address *server);
void drop_fetch(struct fetch *fetch);

/* dns_keeper.c */
struct member {
	struct object object;
	struct watch watch; /* a pidfd of the container's first process */
	struct member *next;
	char id[DNS_ID_LENGTH];
	int udp, tcp;
	char *text;
	size_t text_length;
};
_Noreturn void dns_main(const char *empty_directory, const char *title);
