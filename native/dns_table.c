/* See dns_table.h. The lines come from the engine; what is wrong in them is refused whole. */
#include "dns_table.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024 };

static struct dns_name *buckets[BUCKETS];

static struct dns_name **bucket_of(const char *text)
{
	uint32_t hash = 0x811c9dc5; /* FNV-1a */
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x01000193;
	return &buckets[(hash ^ hash >> 16) % BUCKETS];
}

static struct dns_name *matching(struct dns_name *name, const char *text)
{
	while (name && strcmp(name->text, text) != 0)
		name = name->next;
	return name;
}

struct dns_name *dns_find(const char *text)
{
	return matching(*bucket_of(text), text);
}

struct dns_name *dns_find_next(const struct dns_name *name)
{
	return matching(name->next, name->text);
}

void dns_reverse_name(const struct dns_address *address, char text[DNS_REVERSE_BYTES])
{
	const uint8_t *b = address->bytes;
	if (address->length == 4) {
		snprintf(text, DNS_REVERSE_BYTES, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
		return;
	}
	for (int i = 15; i >= 0; i--, text += 4)
		snprintf(text, 5, "%x.%x.", b[i] & 15, b[i] >> 4);
	strcpy(text, "ip6.arpa");
}

static int add_name(struct dns_endpoint *endpoint, const char *text, int is_reverse)
{
	struct dns_name *name = malloc(sizeof(*name) + strlen(text) + 1);
	if (!name)
		return 0;
	strcpy(name->text, text);
	name->endpoint = endpoint;
	name->is_reverse = is_reverse;
	name->sibling = endpoint->container->names;
	endpoint->container->names = name;
	name->link = bucket_of(text);
	name->next = *name->link;
	*name->link = name;
	if (name->next)
		name->next->link = &name->next;
	return 1;
}

static int parse_address(const char *text, struct dns_address *address)
{
	address->length = strchr(text, ':') ? 16 : 4;
	return inet_pton(address->length == 4 ? AF_INET : AF_INET6, text, address->bytes) == 1;
}

/* Few of them, once in a while: grown by one. */
static int append_address(struct dns_address **list, size_t *count, const struct dns_address *address)
{
	struct dns_address *grown = realloc(*list, (*count + 1) * sizeof(**list));
	if (!grown)
		return 0;
	*list = grown;
	grown[(*count)++] = *address;
	return 1;
}

static int add_endpoint(struct dns_container *container, const char *network)
{
	struct dns_endpoint *endpoint = calloc(1, sizeof(*endpoint)), **last = &container->endpoints;
	if (!endpoint)
		return 0;
	while (*last) /* in the order of the networks */
		last = &(*last)->next;
	*last = endpoint;
	endpoint->container = container;
	endpoint->network = strdup(network);
	return endpoint->network != NULL;
}

static int add_endpoint_address(struct dns_endpoint *endpoint, const struct dns_address *address)
{
	char reverse[DNS_REVERSE_BYTES];
	dns_reverse_name(address, reverse);
	return append_address(&endpoint->addresses, &endpoint->addresses_count, address) && add_name(endpoint, reverse, 1);
}

static int set_reverse(struct dns_endpoint *endpoint, const char *name)
{
	free(endpoint->reverse);
	endpoint->reverse = strdup(name);
	return endpoint->reverse != NULL;
}

static int read_forward(struct dns_container *container, const char *value)
{
	container->forwards_to_host = strcmp(value, "host") == 0;
	return container->forwards_to_host || strcmp(value, "none") == 0;
}

static int read_server(struct dns_container *container, const struct dns_address *address)
{
	if (container->servers_count < DNS_MAX_SERVERS)
		container->servers[container->servers_count++] = *address;
	return 1;
}

static int read_line(struct dns_container *container, const char *key, const char *value)
{
	struct dns_endpoint *endpoint = container->endpoints;
	struct dns_address address;
	while (endpoint && endpoint->next)
		endpoint = endpoint->next;
	if (strcmp(key, "endpoint") == 0)
		return add_endpoint(container, value);
	if (strcmp(key, "forward") == 0)
		return read_forward(container, value);
	if (strcmp(key, "name") == 0)
		return endpoint && add_name(endpoint, value, 0);
	if (strcmp(key, "reverse") == 0)
		return endpoint && set_reverse(endpoint, value);
	if (!parse_address(value, &address))
		return 0;
	if (strcmp(key, "address") == 0)
		return endpoint && add_endpoint_address(endpoint, &address);
	if (strcmp(key, "host") == 0)
		return append_address(&container->host, &container->host_count, &address);
	return strcmp(key, "server") == 0 && read_server(container, &address);
}

static int read_lines(struct dns_container *container, char *text)
{
	for (char *line = text; *line;) {
		char *end = strchr(line, '\n'), *space = strchr(line, ' ');
		if (!end || !space || space > end)
			return 0;
		*end = *space = 0;
		if (!read_line(container, line, space + 1))
			return 0;
		line = end + 1;
	}
	return 1;
}

struct dns_container *dns_enter(const char *text, size_t length)
{
	struct dns_container *container = calloc(1, sizeof(*container));
	char *copy = malloc(length + 1);
	int ok = container && copy;
	if (ok) {
		memcpy(copy, text, length);
		copy[length] = 0;
		ok = read_lines(container, copy);
	}
	free(copy);
	if (ok)
		return container;
	dns_remove(container);
	return NULL;
}

static void free_endpoints(struct dns_endpoint *endpoint)
{
	while (endpoint) {
		struct dns_endpoint *next = endpoint->next;
		free(endpoint->network);
		free(endpoint->reverse);
		free(endpoint->addresses);
		free(endpoint);
		endpoint = next;
	}
}

void dns_remove(struct dns_container *container)
{
	if (!container)
		return;
	for (struct dns_name *name = container->names, *next; name; name = next) {
		next = name->sibling;
		*name->link = name->next;
		if (name->next)
			name->next->link = name->link;
		free(name);
	}
	free_endpoints(container->endpoints);
	free(container->host);
	free(container);
}
