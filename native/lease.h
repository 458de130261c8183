/*
 * `tsrun-init --lease`: keeps the leased address of one endpoint, from the start of its container to the end.
 *
 *   keeper    on the host, root: watches the container's first process and the client, writes down what is granted, tells the
 *             engine (`tsrun lease-changed`), and at the end has the client give the lease back
 *   client    udhcpc, in the container's network namespace, an unprivileged user that may open raw sockets and nothing else:
 *             it reads what anybody on the network sends
 *   event     udhcpc's script: this program again, as the client's user; sends what it is told up to the keeper
 *
 * The engine says, as arguments:  --lease FOLDER PID quiet|tell COUNT CLIENT.. COMMAND..  and as descriptors 3 the namespace, 4 the lock.
 * FOLDER gets `lease` (the variables of the last bound or renew), `refused` (of a NAK) and `ended` (the exit code of a client that
 * ended by itself). The lock, held until the end, contains the keeper's pid.
 */
#pragma once

#include <sys/types.h>

enum {
	LEASE_NETNS_FD = 3,
	LEASE_LOCK_FD = 4,
	/* In the client and its events. Not 3 and 4: udhcpc puts its own there. */
	LEASE_EVENTS_FD = 20,
	LEASE_PROGRAM_FD, /* `-s /proc/self/fd/21`: a folder that is closed to the client's user may be above it */
	LEASE_TEXT_BYTES = 8192,
};

/* Of the client's environment: that is how the program knows that it is its script. */
#define LEASE_EVENT_VARIABLE "TSRUN_LEASE_EVENT"

_Noreturn void keep_lease(int argc, char **argv);

/* lease_client.c */
pid_t start_client(char *const *command, int events_fd);
int tell_event(const char *event);
