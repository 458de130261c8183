/*
 * Packets of containers, and answers of servers: parsed, answered out of a small table, refused, passed on, and held against the
 * query that was passed on. The first two bytes are the room for the answer.
 */
/* with: dns_message.c dns_build.c dns_local.c dns_table.c */
#include "guard.h"

#include <stdint.h>

#include "dns_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char table[] = "forward host\nhost 10.0.0.1\nendpoint net\naddress 10.0.0.2\naddress fd00::2\nname web\nname a.b\nreverse web.net\n"
			    "endpoint other\naddress 10.1.0.2\nname web\n";

/* A message that we made is one that others can read. */
static void check_answer(const uint8_t *bytes, size_t length, size_t limit, const struct dns_query *query)
{
	if (length < DNS_HEADER || length > limit)
		abort();
	if (query->question_length && !dns_is_answer(bytes, length, query, query->id))
		abort();
}

static void answer(const struct dns_query *query, size_t limit)
{
	static uint8_t out[DNS_MESSAGE_BYTES];
	unsigned turn = query->id;
	struct dns_container *asker = dns_enter(table, sizeof(table) - 1);
	if (!asker)
		abort();
	size_t length = dns_answer_here(asker, query, out, limit, &turn);
	if (length > 0)
		check_answer(out, length, limit, query);
	check_answer(out, dns_refuse(out, limit, query, DNS_NXDOMAIN), limit, query);
	dns_remove(asker);
}

static void pass_on(const struct dns_query *query)
{
	uint8_t out[DNS_FORWARD_BYTES];
	struct dns_query again;
	size_t length = dns_build_forward(out, query, 0x1234);
	if (length > sizeof(out) || dns_parse_query(out, length, &again) != DNS_OK || again.type != query->type)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t question[] = { 3, 'w', 'e', 'b', 0, 0, 1, 0, 1 };
	struct dns_query query = { .id = 1, .question_length = sizeof(question), .type = DNS_A };
	if (size < 2)
		return 0;
	size_t limit = DNS_UDP_BYTES + (size_t)(data[0] << 8 | data[1]) % (DNS_MESSAGE_BYTES - DNS_UDP_BYTES + 1);
	/* As an answer of a server to a query of ours ... */
	memcpy(query.question, question, sizeof(question));
	if (dns_is_answer(data + 2, size - 2, &query, 1))
		(void)(dns_is_truncated(data + 2) + (int)dns_code_of(data + 2));
	/* ... and as a query of a container. */
	enum dns_code code = dns_parse_query(data + 2, size - 2, &query);
	if (code == DNS_OK) {
		answer(&query, limit);
		pass_on(&query);
	} else if (code != DNS_IGNORE) {
		static uint8_t out[DNS_MESSAGE_BYTES];
		if (dns_refuse(out, limit, &query, code) > limit)
			abort();
	}
	fuzz_free_all();
	return 0;
}
