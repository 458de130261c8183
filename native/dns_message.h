/*
 * DNS messages as bytes (RFC 1035, 6891): what is asked, and the building of answers. Pure: no system calls, no state, no
 * allocation. Compression pointers are written but never followed, so there is nothing to loop in.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
	DNS_HEADER = 12,
	DNS_NAME_BYTES = 255, /* on the wire, the root's zero included */
	DNS_QUESTION_BYTES = DNS_NAME_BYTES + 4,
	DNS_QUERY_BYTES = 4096, /* a query longer than this is no query */
	DNS_FORWARD_BYTES = DNS_HEADER + DNS_QUESTION_BYTES + 11,
	DNS_UDP_BYTES = 512, /* what every client takes */
	DNS_EDNS_BYTES = 1232, /* what we offer to take: not fragmented anywhere */
	DNS_MAX_UDP_ANSWER = 4096,
	DNS_MESSAGE_BYTES = 65535,
};

enum dns_code {
	DNS_IGNORE = -1, /* not even worth an answer */
	DNS_OK = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16,
};

enum dns_type {
	DNS_A = 1,
	DNS_PTR = 12,
	DNS_AAAA = 28,
	DNS_OPT = 41,
	DNS_IXFR = 251,
	DNS_AXFR = 252,
	DNS_MAILB = 253,
	DNS_MAILA = 254,
	DNS_ANY = 255,
};

/* One query, checked. `question` is the client's own spelling: some compare it letter by letter. */
struct dns_query {
	uint16_t id, flags, type;
	uint16_t question_length; /* name, type and class; 0: could not be read */
	uint16_t payload; /* the longest answer over UDP */
	uint8_t has_edns, wants_dnssec;
	uint8_t question[DNS_QUESTION_BYTES];
};

/* An answer being built in somebody's buffer. */
struct dns_answer {
	uint8_t *bytes;
	size_t length, limit; /* without the room that the OPT record will take */
	uint16_t records;
	int truncated;
	enum dns_code code;
	int authoritative;
};

enum dns_code dns_parse_query(const uint8_t *bytes, size_t length, struct dns_query *query);

/*
 * The name asked for, in lower case, without the last dot. 0 when text cannot say it: with dots, blanks or control
 * characters in a label it is nobody's name here.
 */
int dns_question_text(const struct dns_query *query, char text[DNS_NAME_BYTES + 1]);

void dns_begin(struct dns_answer *answer, uint8_t *buffer, size_t limit, const struct dns_query *query);
void dns_add_address(struct dns_answer *answer, const uint8_t *address, unsigned length); /* 4 or 16 bytes */
void dns_add_pointer(struct dns_answer *answer, const char *name);
size_t dns_finish(struct dns_answer *answer, const struct dns_query *query);
size_t dns_refuse(uint8_t *buffer, size_t limit, const struct dns_query *query, enum dns_code code);

/* A query of our own for the same question. Options of the client's, cookies for instance, stay between it and us. */
size_t dns_build_forward(uint8_t buffer[DNS_FORWARD_BYTES], const struct dns_query *query, uint16_t id);
/* Whether this is the answer to that query, by id and question. */
int dns_is_answer(const uint8_t *bytes, size_t length, const struct dns_query *query, uint16_t id);
static inline int dns_is_truncated(const uint8_t *bytes)
{
	return (bytes[2] & 0x02) != 0;
}
static inline enum dns_code dns_code_of(const uint8_t *bytes)
{
	return (enum dns_code)(bytes[3] & 0x0f);
}
