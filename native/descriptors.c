/* Which descriptors a process has: a child of the monitor must not carry the monitor's own into a container. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

void close_fds(int *fds, int count)
{
	for (int i = 0; i < count; i++)
		close_fd(&fds[i]);
}

void keep_fd(struct fd_set_builder *set, int fd)
{
	if (fd < 0)
		return;
	if (set->count == sizeof(set->fds) / sizeof(*set->fds))
		die("too many descriptors to hand to the container");
	/* Sorted on the way in; there are a handful. */
	size_t at = set->count++;
	for (; at > 0 && set->fds[at - 1] > fd; at--)
		set->fds[at] = set->fds[at - 1];
	set->fds[at] = fd;
}

/* Closes everything but the standard streams and the set: the gaps between its members. */
void close_other_fds(const struct fd_set_builder *set)
{
	unsigned first = 3;
	for (size_t i = 0; i < set->count; i++) {
		unsigned fd = (unsigned)set->fds[i];
		if (fd > first && k_close_range(first, fd - 1, 0) < 0)
			die_errno("close inherited files");
		first = fd + 1;
	}
	if (k_close_range(first, ~0U, 0) < 0)
		die_errno("close inherited files");
}
