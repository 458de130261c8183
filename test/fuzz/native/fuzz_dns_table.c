/* The lines about a container, and the host's resolv.conf: both are text, and both are tried. */
/* with: dns_table.c dns_servers.c watch.c */
#include "guard.h"

#include <stdint.h>
#include <sys/socket.h>

#include "dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct servers servers;
	char *text = fuzz_malloc(size + 1);
	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = 0;
	parse_resolv_conf(text, &servers);
	if (servers.count > DNS_MAX_SERVERS)
		abort();
	struct dns_container *container = dns_enter((const char *)data, size);
	if (container)
		dns_remove(container);
	/* What was refused half way has left the table as well. */
	if (dns_find("web"))
		abort();
	fuzz_free_all();
	return 0;
}
