/* Ownership in one word: a cleanup_fd is closed when its scope ends, unless steal_fd() hands it on. */
#pragma once

#include <errno.h>
#include <unistd.h>

static inline void close_fd(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
	*fd = -1;
}

static inline int steal_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

#define cleanup_fd __attribute__((cleanup(close_fd)))
