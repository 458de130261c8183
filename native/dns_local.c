/*
 * What a container may know: names and addresses on the networks it is on, and the host. A name that is known and has no
 * record of the type asked for is answered with none, and never forwarded: to musl the NXDOMAIN of some server outside
 * would mean that the name does not exist at all.
 */
#include <string.h>

#include "dns_table.h"

static const char *const host_names[] = { "host.docker.internal", "gateway.docker.internal", "host.containers.internal" };

static int is_host_name(const char *text)
{
	for (size_t i = 0; i < sizeof(host_names) / sizeof(*host_names); i++)
		if (strcmp(text, host_names[i]) == 0)
			return 1;
	return 0;
}

static int wants(const struct dns_query *query, unsigned length)
{
	return query->type == DNS_ANY || query->type == (length == 4 ? DNS_A : DNS_AAAA);
}

static size_t count_wanted(const struct dns_query *query, const struct dns_address *addresses, size_t count)
{
	size_t wanted = 0;
	for (size_t i = 0; i < count; i++)
		wanted += (size_t)wants(query, addresses[i].length);
	return wanted;
}

static int is_on(const struct dns_name *name, const struct dns_endpoint *asked_from, int is_reverse)
{
	return name->is_reverse == is_reverse && strcmp(name->endpoint->network, asked_from->network) == 0;
}

/* The addresses from number `skip` on, then those before it. */
static void add_rotated(struct dns_answer *answer, const struct dns_query *query, const char *text,
			const struct dns_endpoint *asked_from, size_t skip)
{
	for (int round = 0; round < 2; round++) {
		size_t number = 0;
		for (const struct dns_name *name = dns_find(text); name; name = dns_find_next(name)) {
			if (!is_on(name, asked_from, 0))
				continue;
			for (size_t i = 0; i < name->endpoint->addresses_count; i++) {
				const struct dns_address *address = &name->endpoint->addresses[i];
				if (wants(query, address->length) && (number++ >= skip) == (round == 0))
					dns_add_address(answer, address->bytes, address->length);
			}
		}
	}
}

/* On the first of the asker's networks that has an answer. 1: the name is known, with or without addresses. */
static int add_addresses(struct dns_answer *answer, const struct dns_container *asker, const struct dns_query *query,
			 const char *text, unsigned *turn)
{
	int known = 0;
	for (const struct dns_endpoint *from = asker->endpoints; from; from = from->next) {
		size_t count = 0;
		for (const struct dns_name *name = dns_find(text); name; name = dns_find_next(name)) {
			if (!is_on(name, from, 0))
				continue;
			known = 1;
			count += count_wanted(query, name->endpoint->addresses, name->endpoint->addresses_count);
		}
		if (count > 0) {
			add_rotated(answer, query, text, from, (*turn)++ % count);
			return 1;
		}
	}
	return known;
}

static int add_host(struct dns_answer *answer, const struct dns_container *asker, const struct dns_query *query,
		    const char *text)
{
	if (asker->host_count == 0 || !is_host_name(text))
		return 0;
	for (size_t i = 0; i < asker->host_count; i++)
		if (wants(query, asker->host[i].length))
			dns_add_address(answer, asker->host[i].bytes, asker->host[i].length);
	return 1;
}

static int add_reverse(struct dns_answer *answer, const struct dns_container *asker, const struct dns_query *query,
		       const char *text)
{
	char reverse[DNS_REVERSE_BYTES];
	int is_pointer = query->type == DNS_PTR || query->type == DNS_ANY;
	for (const struct dns_endpoint *from = asker->endpoints; from; from = from->next)
		for (const struct dns_name *name = dns_find(text); name; name = dns_find_next(name))
			if (is_on(name, from, 1)) {
				if (is_pointer && name->endpoint->reverse)
					dns_add_pointer(answer, name->endpoint->reverse);
				return 1;
			}
	for (size_t i = 0; i < asker->host_count; i++) {
		dns_reverse_name(&asker->host[i], reverse);
		if (strcmp(reverse, text) == 0) {
			if (is_pointer)
				dns_add_pointer(answer, host_names[0]);
			return 1;
		}
	}
	return 0;
}

size_t dns_answer_here(const struct dns_container *asker, const struct dns_query *query, uint8_t *buffer, size_t limit,
		       unsigned *turn)
{
	char text[DNS_NAME_BYTES + 1];
	struct dns_answer answer;
	if (!dns_question_text(query, text))
		return 0;
	dns_begin(&answer, buffer, limit, query);
	answer.authoritative = 1;
	if (add_addresses(&answer, asker, query, text, turn) || add_host(&answer, asker, query, text) ||
	    add_reverse(&answer, asker, query, text))
		return dns_finish(&answer, query);
	return 0;
}
