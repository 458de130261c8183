/* Writing: answers of our own, and the query that is passed on. See dns_message.h. */
#include "dns_message.h"

#include <string.h>

enum {
	FLAGS_QR = 0x8000,
	FLAGS_AA = 0x0400,
	FLAGS_TC = 0x0200,
	FLAGS_RD = 0x0100,
	FLAGS_RA = 0x0080,
	FLAGS_AD = 0x0020,
	FLAGS_CD = 0x0010,
	FLAGS_OPCODE = 0x7800,
	CLASS_IN = 1,
	OPT_BYTES = 11,
	TTL_SECONDS = 1, /* the next query after a container has moved must find it */
	POINTER_TO_QUESTION = 0xc000 | DNS_HEADER,
};

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static size_t put_opt(uint8_t *at, unsigned extended_code, int wants_dnssec)
{
	memset(at, 0, OPT_BYTES);
	put16(at + 1, DNS_OPT);
	put16(at + 3, DNS_EDNS_BYTES);
	at[5] = (uint8_t)extended_code;
	at[7] = wants_dnssec ? 0x80 : 0;
	return OPT_BYTES;
}

void dns_begin(struct dns_answer *answer, uint8_t *buffer, size_t limit, const struct dns_query *query)
{
	*answer = (struct dns_answer){ .bytes = buffer, .limit = limit - (query->has_edns ? OPT_BYTES : 0) };
	memset(buffer, 0, DNS_HEADER);
	memcpy(buffer + DNS_HEADER, query->question, query->question_length);
	answer->length = DNS_HEADER + (size_t)query->question_length;
}

/* The fixed part of a record that belongs to the name asked for. NULL: no room, and the answer says so. */
static uint8_t *begin_record(struct dns_answer *answer, unsigned type, size_t data_length)
{
	uint8_t *at = answer->bytes + answer->length;
	if (answer->truncated || answer->limit - answer->length < 12 + data_length) {
		answer->truncated = 1;
		return NULL;
	}
	put16(at, POINTER_TO_QUESTION);
	put16(at + 2, type);
	put16(at + 4, CLASS_IN);
	put16(at + 6, 0);
	put16(at + 8, TTL_SECONDS);
	put16(at + 10, (unsigned)data_length);
	answer->length += 12 + data_length;
	answer->records++;
	return at + 12;
}

void dns_add_address(struct dns_answer *answer, const uint8_t *address, unsigned length)
{
	uint8_t *data = begin_record(answer, length == 4 ? DNS_A : DNS_AAAA, length);
	if (data)
		memcpy(data, address, length);
}

void dns_add_pointer(struct dns_answer *answer, const char *name)
{
	uint8_t wire[DNS_NAME_BYTES];
	size_t length = 0;
	for (const char *label = name; *label;) {
		size_t letters = strcspn(label, ".");
		/* A container may have a name that cannot be one in DNS. */
		if (letters == 0 || letters > 63 || length + letters + 2 > sizeof(wire))
			return;
		wire[length++] = (uint8_t)letters;
		memcpy(wire + length, label, letters);
		length += letters;
		label += letters + (label[letters] == '.');
	}
	wire[length++] = 0;
	uint8_t *data = begin_record(answer, DNS_PTR, length);
	if (data)
		memcpy(data, wire, length);
}

size_t dns_finish(struct dns_answer *answer, const struct dns_query *query)
{
	unsigned flags = FLAGS_QR | FLAGS_RA | (query->flags & (FLAGS_OPCODE | FLAGS_RD | FLAGS_CD));
	flags |= (answer->authoritative ? FLAGS_AA : 0) | (answer->truncated ? FLAGS_TC : 0) | ((unsigned)answer->code & 15);
	put16(answer->bytes, query->id);
	put16(answer->bytes + 2, flags);
	put16(answer->bytes + 4, query->question_length > 0);
	put16(answer->bytes + 6, answer->records);
	if (query->has_edns) {
		put16(answer->bytes + 10, 1);
		answer->length += put_opt(answer->bytes + answer->length, (unsigned)answer->code >> 4, query->wants_dnssec);
	}
	return answer->length;
}

size_t dns_refuse(uint8_t *buffer, size_t limit, const struct dns_query *query, enum dns_code code)
{
	struct dns_answer answer;
	dns_begin(&answer, buffer, limit, query);
	answer.code = code;
	return dns_finish(&answer, query);
}

size_t dns_build_forward(uint8_t buffer[DNS_FORWARD_BYTES], const struct dns_query *query, uint16_t id)
{
	size_t length = DNS_HEADER + (size_t)query->question_length;
	memset(buffer, 0, DNS_HEADER);
	put16(buffer, id);
	put16(buffer + 2, query->flags & (FLAGS_RD | FLAGS_AD | FLAGS_CD));
	put16(buffer + 4, 1);
	memcpy(buffer + DNS_HEADER, query->question, query->question_length);
	if (query->has_edns) {
		put16(buffer + 10, 1);
		size_t opt = length;
		length += put_opt(buffer + opt, 0, query->wants_dnssec);
		/* What does not fit into the client's buffer is better cut by the server, which knows where. */
		if (query->payload < DNS_EDNS_BYTES)
			put16(buffer + opt + 3, query->payload);
	}
	return length;
}
