/*
 * What the two processes may still do. Both: an unprivileged user of their own, no capabilities, an empty root, no way to
 * get more. The answerer besides: no system call but those that take and send packets.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dns.h"
#include "init.h"

enum {
	/* Nobody's: apart from the ranges of login users, systemd and subordinate ids. */
	OWN_ID = 2000000053,
	FILES = 65536,
};

/* linux/filter.h, linux/seccomp.h, linux/audit.h: not among musl's headers */
struct filter_instruction {
	uint16_t code;
	uint8_t jump_true, jump_false;
	uint32_t operand;
};
struct filter_program {
	unsigned short length;
	const struct filter_instruction *instructions;
};
struct call_data {
	int32_t number;
	uint32_t architecture;
	uint64_t address;
	uint64_t arguments[6];
};
enum { LOAD = 0x20, RETURN = 0x06, JUMP_IF_EQUAL = 0x15, JUMP_IF_SET = 0x45, FILTER_MODE = 2 };
#define ALLOW 0x7fff0000u
#define KILL_PROCESS 0x80000000u
#define EXECUTABLE 4u /* PROT_EXEC */

#if defined(__x86_64__)
#define ARCHITECTURE 0xc000003eu
#elif defined(__aarch64__)
#define ARCHITECTURE 0xc00000b7u
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE 0xc00000f3u
#endif

void drop_root(const char *empty_directory)
{
	struct rlimit files = { FILES, FILES }, none = { 0, 0 };
	/* Two sockets and a pidfd a container; without the right to more, what there is. */
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	setrlimit(RLIMIT_CORE, &none);
	if (chroot(empty_directory) < 0 || chdir("/") < 0)
		die_errno("change the root to %s", empty_directory);
	if (!become_unprivileged(OWN_ID))
		die_errno("become an unprivileged user");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		die_errno("set no_new_privs");
}

/* The sanitizers make system calls of their own. */
#if defined(ARCHITECTURE) && !defined(__SANITIZE_ADDRESS__)
#define HAS_FILTER 1
#define LOAD_WORD(field) { LOAD, 0, 0, offsetof(struct call_data, field) }
#define ALLOW_CALL(number) { JUMP_IF_EQUAL, 0, 1, (number) }, { RETURN, 0, 0, ALLOW }

/* Arguments are compared by their low words, which is where a little-endian machine keeps them first. */
static const struct filter_instruction answerer_filter[] = {
	LOAD_WORD(architecture),
	{ JUMP_IF_EQUAL, 1, 0, ARCHITECTURE },
	{ RETURN, 0, 0, KILL_PROCESS },
	LOAD_WORD(number),
#ifdef SYS_epoll_wait
	ALLOW_CALL(SYS_epoll_wait),
#endif
	ALLOW_CALL(SYS_epoll_pwait),
	ALLOW_CALL(SYS_recvfrom),
	ALLOW_CALL(SYS_sendto),
	ALLOW_CALL(SYS_recvmsg),
	ALLOW_CALL(SYS_epoll_ctl),
	ALLOW_CALL(SYS_clock_gettime),
	ALLOW_CALL(SYS_connect),
	ALLOW_CALL(SYS_close),
	ALLOW_CALL(SYS_getrandom),
	ALLOW_CALL(SYS_accept4),
	ALLOW_CALL(SYS_brk),
	ALLOW_CALL(SYS_munmap),
	ALLOW_CALL(SYS_mremap),
	ALLOW_CALL(SYS_madvise),
	ALLOW_CALL(SYS_rt_sigprocmask),
	ALLOW_CALL(SYS_rt_sigreturn),
	ALLOW_CALL(SYS_exit),
	ALLOW_CALL(SYS_exit_group),
	{ JUMP_IF_EQUAL, 0, 4, SYS_socket },
	LOAD_WORD(arguments[0]),
	ALLOW_CALL(AF_INET),
	{ JUMP_IF_EQUAL, 3, 4, AF_INET6 },
	{ JUMP_IF_EQUAL, 0, 3, SYS_mmap },
	LOAD_WORD(arguments[2]),
	{ JUMP_IF_SET, 1, 0, EXECUTABLE },
	{ RETURN, 0, 0, ALLOW },
	{ RETURN, 0, 0, KILL_PROCESS },
};
#endif

void confine_answerer(void)
{
	/* With the keeper its sockets would be nobody's any more; without a signal it could miss that. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		die_errno("follow the keeper");
#ifdef HAS_FILTER
	struct filter_program program = { sizeof(answerer_filter) / sizeof(*answerer_filter), answerer_filter };
	if (prctl(PR_SET_SECCOMP, FILTER_MODE, &program, 0, 0) < 0)
		die_errno("load the seccomp program");
#endif
}
