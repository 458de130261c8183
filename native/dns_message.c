/* Reading: queries of containers, which may be anything, and answers of servers. See dns_message.h. */
#include "dns_message.h"

#include <string.h>

enum {
	FLAG_ANSWER = 0x8000,
	FLAG_OPCODE = 0x7800,
	CLASS_IN = 1,
	MAX_LABEL = 63,
	OPT_DO = 0x8000,
};

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint8_t lower(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte;
}

/* How long the name at `at` is, or 0. Pointers are refused: in front of a question there is nothing to point to. */
static size_t plain_name_length(const uint8_t *bytes, size_t length, size_t at)
{
	size_t start = at;
	while (at < length) {
		uint8_t label = bytes[at++];
		if (at - start + label > DNS_NAME_BYTES || label > MAX_LABEL)
			return 0;
		if (label == 0)
			return at - start;
		at += label;
	}
	return 0;
}

/*
 * The only record that a query may carry besides its question. Owner: the root. The version is the second byte of what
 * is the TTL elsewhere, DO the first bit of the third.
 */
static enum dns_code parse_opt(const uint8_t *bytes, size_t length, struct dns_query *query)
{
	if (length < 11 || bytes[0] != 0 || get16(bytes + 1) != DNS_OPT || get16(bytes + 9) != length - 11)
		return DNS_FORMERR;
	for (size_t at = 11; at < length;) {
		if (length - at < 4 || get16(bytes + at + 2) > length - at - 4)
			return DNS_FORMERR;
		at += 4u + get16(bytes + at + 2);
	}
	query->has_edns = 1;
	query->payload = get16(bytes + 3);
	if (query->payload < DNS_UDP_BYTES)
		query->payload = DNS_UDP_BYTES;
	if (query->payload > DNS_MAX_UDP_ANSWER)
		query->payload = DNS_MAX_UDP_ANSWER;
	query->wants_dnssec = (get16(bytes + 7) & OPT_DO) != 0;
	return bytes[6] == 0 ? DNS_OK : DNS_BADVERS;
}

static int is_question_type(uint16_t type)
{
	return type != 0 && type != DNS_OPT && (type < DNS_IXFR || type > DNS_MAILA);
}

enum dns_code dns_parse_query(const uint8_t *bytes, size_t length, struct dns_query *query)
{
	memset(query, 0, offsetof(struct dns_query, question));
	query->payload = DNS_UDP_BYTES;
	if (length < DNS_HEADER)
		return DNS_IGNORE;
	query->id = get16(bytes);
	query->flags = get16(bytes + 2);
	/* An answer that is answered may come back as a query, and so on for ever. */
	if (query->flags & FLAG_ANSWER)
		return DNS_IGNORE;
	if (query->flags & FLAG_OPCODE)
		return DNS_NOTIMP;
	if (length > DNS_QUERY_BYTES || get16(bytes + 4) != 1 || get16(bytes + 6) != 0 || get16(bytes + 8) != 0 ||
	    get16(bytes + 10) > 1)
		return DNS_FORMERR;
	size_t name = plain_name_length(bytes, length, DNS_HEADER);
	if (name == 0 || length - DNS_HEADER - name < 4)
		return DNS_FORMERR;
	size_t end = DNS_HEADER + name + 4;
	memcpy(query->question, bytes + DNS_HEADER, name + 4);
	query->question_length = (uint16_t)(name + 4);
	query->type = get16(bytes + end - 4);
	enum dns_code code = DNS_OK;
	if (get16(bytes + 10) == 1)
		code = parse_opt(bytes + end, length - end, query);
	else if (length != end)
		code = DNS_FORMERR;
	if (code != DNS_OK)
		return code;
	return get16(bytes + end - 2) == CLASS_IN && is_question_type(query->type) ? DNS_OK : DNS_REFUSED;
}

int dns_question_text(const struct dns_query *query, char text[DNS_NAME_BYTES + 1])
{
	size_t at = 0, to = 0;
	while (query->question[at] != 0) {
		if (to > 0)
			text[to++] = '.';
		for (unsigned left = query->question[at++]; left > 0; left--) {
			uint8_t byte = lower(query->question[at++]);
			if (byte <= ' ' || byte == '.' || byte >= 0x7f)
				return 0;
			text[to++] = (char)byte;
		}
	}
	text[to] = 0;
	return 1;
}

int dns_is_answer(const uint8_t *bytes, size_t length, const struct dns_query *query, uint16_t id)
{
	if (length < DNS_HEADER + (size_t)query->question_length || get16(bytes) != id || get16(bytes + 4) != 1)
		return 0;
	if ((get16(bytes + 2) & (FLAG_ANSWER | FLAG_OPCODE)) != FLAG_ANSWER)
		return 0;
	/* Lengths of labels are below 'A', so that the whole question can be compared in one go; type and class exactly. */
	const uint8_t *question = bytes + DNS_HEADER;
	size_t name = (size_t)query->question_length - 4;
	for (size_t i = 0; i < name; i++)
		if (lower(question[i]) != lower(query->question[i]))
			return 0;
	return memcmp(question + name, query->question + name, 4) == 0;
}
