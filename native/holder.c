/*
 * `tsrun-init --hold-namespaces`: a user namespace and a network namespace that belongs to it, made here because the
 * engine has several threads and cannot (user_namespaces(7)). With a user namespace on fd 5 it is that one. Says 0 or an errno
 * on fd 3 and stays until that is closed; meanwhile the engine writes the id maps and opens both namespaces, which live on by its
 * descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "init.h"

static int make_namespaces(void)
{
	/* Nobody in the namespace may look into a process that has files of the host open. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -1;
	if (fcntl(ENGINE_FD, F_GETFD) < 0)
		return unshare(CLONE_NEWUSER | CLONE_NEWNET);
	return setns(ENGINE_FD, CLONE_NEWUSER) < 0 ? -1 : unshare(CLONE_NEWNET);
}

int hold_namespaces(void)
{
	char byte;
	ssize_t n;
	uint32_t error = make_namespaces() < 0 ? (uint32_t)errno : 0;
	if (write(CONTROL_FD, &error, sizeof(error)) != sizeof(error))
		return 1;
	do {
		n = read(CONTROL_FD, &byte, 1);
	} while (n > 0 || (n < 0 && errno == EINTR));
	return 0;
}
