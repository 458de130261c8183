/* The bytes on fd 3 of tsrun-init. Whatever is accepted is gone through as the later phases would. */
/* with: bootstrap.c bootstrap_check.c bootstrap_ports.c cursor.c */
#include "guard.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bootstrap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t length_of(const struct list *list)
{
	size_t length = 0;
	for (size_t i = 0; i < list->count; i++)
		length += strlen(list->items[i]);
	if (list->items[list->count])
		abort();
	return length;
}

static size_t walk(const struct bootstrap *b)
{
	size_t length = strlen(b->id) + strlen(b->cwd) + length_of(&b->args) + length_of(&b->env) + length_of(&b->lower_dirs);
	for (size_t i = 0; i < b->mounts.count; i++)
		length += strlen(b->mounts.items[i].destination) + strlen(b->mounts.items[i].data);
	for (size_t i = 0; i < b->ports.count; i++)
		length += b->ports.items[i].address[b->ports.items[i].address_length - 1] + b->ports.items[i].target_length;
	for (size_t i = 0; i < b->seccomp_count * 8; i++)
		length += ((const uint8_t *)b->seccomp)[i];
	for (size_t i = 0; i < b->groups_count; i++)
		length += b->groups[i];
	return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	if (fd < 0)
		fd = memfd_create("bootstrap", 0);
	if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	if (setjmp(fuzz_died) == 0 && walk(read_bootstrap(fd)) == 0)
		abort(); /* there is an id and a command at least */
	fuzz_free_all();
	return 0;
}
