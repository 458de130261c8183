/*
 * tsrun-init: starts one container (or one more process in one) as the engine says on fd 3, and stays outside as its monitor.
 *
 *   engine    posix_spawn, then BOOTSTRAP ... READY ... GO ... STARTED or FAILED on fd 3
 *   stage 0   this process exits at once, so that the engine has nothing to reap later
 *   stage 1   the monitor: ports, sockets, log; clones; relays; serves; writes the exit record    (monitor.c)
 *   stage 2   the container's first process: mounts, pivot, privileges, exec                       (container.c)
 *   stage 3   with --init only: pid 1 stays, the command is its child                              (pid1.c)
 *
 * With --dns it is the resolver that containers ask for names instead (dns.h), with --lease it keeps an address that a DHCP
 * server has granted (lease.h).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns.h"
#include "init.h"
#include "lease.h"

/* Names for containers, in the same program so that its pages are shared. As below, whoever starts it has nothing to reap. */
static _Noreturn void start_resolver(const char *empty_directory, const char *title)
{
	pid_t pid = fork();
	if (pid != 0)
		_exit(pid < 0 ? 1 : 0);
	dns_main(empty_directory, title);
}

static _Noreturn void start_lease_keeper(int argc, char **argv)
{
	pid_t pid = fork();
	if (pid != 0)
		_exit(pid < 0 ? 1 : 0);
	keep_lease(argc, argv);
}

int main(int argc, char **argv, char **envp)
{
	if (argc == 2 && strcmp(argv[1], "--fault-points") == 0) {
		print_fault_points();
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--hold-namespaces") == 0)
		return hold_namespaces();
	if (argc == 4 && strcmp(argv[1], "--dns") == 0) {
		keep_arguments(argc, argv, envp);
		start_resolver(argv[2], argv[3]);
	}
	if (argc > 2 && strcmp(argv[1], "--lease") == 0) {
		keep_arguments(argc, argv, envp);
		start_lease_keeper(argc, argv);
	}
	if (argc == 2 && getenv(LEASE_EVENT_VARIABLE))
		return tell_event(argv[1]);
	if (fcntl(CONTROL_FD, F_GETFD) < 0) {
		static const char message[] = "tsrun-init: this program is started by tsrun and does nothing by itself\n";
		(void)!write(2, message, sizeof(message) - 1);
		return 2;
	}
	keep_arguments(argc, argv, envp);
	pid_t pid = fork();
	if (pid != 0)
		_exit(pid < 0 ? 1 : 0);
	monitor_main();
}
