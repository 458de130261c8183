/* The answerer: the only process that reads what containers and servers send. Its loop, and the way of one query. */
#include "dns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

uint8_t packet[DNS_MESSAGE_BYTES + 1], reply[DNS_MESSAGE_BYTES + 1];

static struct watch channel;

static void take_servers(const struct control_message *message)
{
	struct servers *servers = &host_servers;
	if (message->text_length == sizeof(*servers))
		memcpy(servers, message->text, sizeof(*servers));
}

void take_news(void)
{
	static struct control_message message;
	for (int got; (got = receive_control(channel.fd, &message)) != 0;) {
		if (got < 0)
			return;
		if (message.header.type == CONTROL_SERVERS)
			take_servers(&message);
		else if (message.header.type == CONTROL_REMOVE)
			remove_user(message.header.id);
		else
			put_user(message.header.id, message.text, message.text_length, message.fds_count > 0 ? message.fds[0] : -1,
				 message.fds_count > 1 ? message.fds[1] : -1);
	}
	_exit(0); /* the keeper has ended */
}

static void news_ready(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	take_news();
}

void ask_for_servers(void)
{
	(void)!send(channel.fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static size_t longest_answer(const struct origin *origin, const struct dns_query *query)
{
	return origin->stream ? DNS_MESSAGE_BYTES : query->payload;
}

/* What does not fit into the client's buffer is told to be asked for again over TCP. */
void send_answer(const struct origin *origin, const struct dns_query *query, uint8_t *bytes, size_t length)
{
	if (length > longest_answer(origin, query)) {
		struct dns_answer answer;
		enum dns_code code = dns_code_of(bytes);
		dns_begin(&answer, bytes, longest_answer(origin, query), query);
		answer.truncated = 1;
		answer.code = code;
		length = dns_finish(&answer, query);
	}
	if (origin->stream)
		answer_stream(origin->stream, bytes, length);
	else
		(void)!sendto(origin->user->udp.fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL,
			      (const struct sockaddr *)&origin->client, sizeof(origin->client));
}

static void refuse_query(const struct origin *origin, const struct dns_query *query, enum dns_code code)
{
	send_answer(origin, query, reply, dns_refuse(reply, sizeof(reply), query, code));
}

void handle_query(const struct origin *origin, const uint8_t *bytes, size_t length)
{
	struct user *user = origin->user;
	struct dns_query query;
	enum dns_code code = dns_parse_query(bytes, length, &query);
	if (code == DNS_IGNORE) {
		if (origin->stream)
			refuse_query(origin, &query, DNS_FORMERR);
		return;
	}
	if (code != DNS_OK) {
		refuse_query(origin, &query, code);
		return;
	}
	size_t answered = dns_answer_here(user->names, &query, reply, longest_answer(origin, &query), &user->turn);
	if (answered > 0)
		send_answer(origin, &query, reply, answered);
	else if (user->names->forwards_to_host || user->names->servers_count > 0)
		forward_query(origin, &query);
	else /* nothing outside exists for it; musl would wait for anything but this */
		refuse_query(origin, &query, DNS_NXDOMAIN);
}

static void take_over(const struct member *members)
{
	for (const struct member *m = members; m; m = m->next)
		put_user(m->id, m->text, m->text_length, m->udp, m->tcp);
}

_Noreturn void answer_queries(int channel_fd, const struct member *members)
{
	if (open_watches() < 0)
		_exit(1);
	channel = (struct watch){ .fd = channel_fd, .ready = news_ready };
	if (watch(&channel, EPOLLIN) < 0)
		_exit(1);
	take_over(members);
	confine_answerer();
	for (;;) {
		int64_t now = now_ms(), queries = expire_queries(now), streams = expire_streams(now);
		int64_t soonest = queries < streams ? queries : streams;
		serve_watches(soonest == INT64_MAX ? -1 : soonest > now ? (int)(soonest - now) : 0);
	}
}
