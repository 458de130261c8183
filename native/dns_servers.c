/*
 * The servers that the host itself asks, from its /etc/resolv.conf: loopback ones too, since the asking is done from the
 * host's network namespace. The file is found anew each time, through the host's root, as it is replaced rather than written.
 */
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "cleanup.h"
#include "dns.h"
#include "kernel.h"

enum { RESOLV_CONF_BYTES = 65536 };

struct servers host_servers;

static int parse_server(char *text, union address *address)
{
	uint8_t bytes[16];
	char *scope = strchr(text, '%');
	if (scope)
		*scope++ = 0;
	int is_v6 = strchr(text, ':') != NULL;
	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, text, bytes) != 1)
		return 0;
	make_address(address, bytes, is_v6 ? 16 : 4, DNS_PORT);
	if (is_v6 && scope)
		address->v6.sin6_scope_id = if_nametoindex(scope);
	return 1;
}

/* resolv.conf(5): a keyword at the start of a line, its value behind blanks. The first three servers count. */
void parse_resolv_conf(char *text, struct servers *servers)
{
	memset(servers, 0, sizeof(*servers));
	for (char *rest = text, *line; (line = strsep(&rest, "\n")) && servers->count < DNS_MAX_SERVERS;) {
		char *words = line, *keyword = strsep(&words, " \t\r");
		if (strcmp(keyword, "nameserver") != 0 || !words)
			continue;
		words += strspn(words, " \t");
		char *value = strsep(&words, " \t\r#;");
		servers->count += (uint32_t)parse_server(value, &servers->list[servers->count]);
	}
}

int reread_resolv_conf(int host_root)
{
	static char text[RESOLV_CONF_BYTES];
	struct servers found;
	size_t length = 0;
	/* Never blocks on what somebody put there, and follows links as the host does, from its root. */
	cleanup_fd int fd =
		k_openat2(host_root, "etc/resolv.conf", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, K_RESOLVE_IN_ROOT);
	if (fd < 0)
		return 0; /* it may be between being removed and made: what was true stays so */
	for (ssize_t n; length < sizeof(text) - 1 && (n = read(fd, text + length, sizeof(text) - 1 - length)) > 0;)
		length += (size_t)n;
	text[length] = 0;
	parse_resolv_conf(text, &found);
	if (memcmp(&found, &host_servers, sizeof(found)) == 0)
		return 0;
	host_servers = found;
	return 1;
}
