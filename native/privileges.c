/*
 * What the command may do: limits, ids, capabilities, no_new_privs, seccomp. The order is the kernel's: each step needs
 * a privilege that a later one takes away.
 */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"
#include "kernel.h"

enum { CAP_SYS_ADMIN_BIT = 21, CAPABILITY_VERSION = 0x20080522, FILTER_MODE = 1, NOBODY_ID = 65534 };

struct capability_header {
	uint32_t version;
	int pid;
};

struct capability_sets {
	uint32_t effective, permitted, inheritable;
};

struct filter_program {
	unsigned short length;
	const void *instructions;
};

static struct rlimit file_limit;

/* Each client and reserved port is a descriptor. The container gets the limit that the engine had. */
void raise_file_limit(void)
{
	if (getrlimit(RLIMIT_NOFILE, &file_limit) < 0)
		die_errno("read the limit of open files");
	struct rlimit raised = { file_limit.rlim_max, file_limit.rlim_max };
	if (setrlimit(RLIMIT_NOFILE, &raised) < 0)
		die_errno("raise the limit of open files");
}

void restore_file_limit(void)
{
	setrlimit(RLIMIT_NOFILE, &file_limit);
}

/* By the monitor and only now: the limits are the command's, the set-up before must not run into them. */
void apply_rlimits(const struct bootstrap *b, pid_t pid)
{
	stage("rlimits");
	for (size_t i = 0; i < b->rlimits.count; i++) {
		const struct rlimit_request *r = &b->rlimits.items[i];
		struct rlimit limit = { r->soft, r->hard };
		if (prlimit(pid, (int)r->resource, &limit, NULL) < 0)
			die_errno("set resource limit %u to %llu:%llu", r->resource, (unsigned long long)r->soft,
				  (unsigned long long)r->hard);
	}
}

/* SIG_IGN and blocked signals survive execve(2), and who knows what the engine was started with. */
void reset_signals(void)
{
	sigset_t none;
	for (int signal_number = 1; signal_number < 65; signal_number++)
		signal(signal_number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void drop_bounding_set(uint64_t keep)
{
	for (unsigned capability = 0; capability < 64; capability++) {
		int known = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
		if (known < 0)
			return; /* past the last one of this kernel */
		if (known == 1 && !(keep >> capability & 1) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			die_errno("drop capability %u from the bounding set", capability);
	}
}

static void set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct capability_header header = { CAPABILITY_VERSION, 0 };
	struct capability_sets sets[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32) },
	};
	if (syscall(SYS_capset, &header, sets) < 0)
		die_errno("set the capabilities");
}

/* What this host can give: in a nested container, or on an older kernel, some capabilities do not exist for us. */
static uint64_t available_capabilities(void)
{
	struct capability_header header = { CAPABILITY_VERSION, 0 };
	struct capability_sets sets[2];
	if (syscall(SYS_capget, &header, sets) < 0)
		die_errno("read the capabilities");
	return sets[0].permitted | (uint64_t)sets[1].permitted << 32;
}

static void raise_ambient(uint64_t capabilities)
{
	/* Nothing is raised yet, except what came from the engine. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		die_errno("clear the ambient capabilities");
	for (unsigned capability = 0; capability < 64; capability++)
		if (capabilities >> capability & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
			die_errno("raise ambient capability %u", capability);
}

static void set_ids(const struct bootstrap *b)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		die_errno("keep the capabilities over the change of user");
	if (syscall(SYS_setgroups, b->groups_count, b->groups) < 0)
		die_errno("set the additional groups");
	if (syscall(SYS_setresgid, b->gid, b->gid, b->gid) < 0)
		die_errno("set the group to %u", b->gid);
	if (syscall(SYS_setresuid, b->uid, b->uid, b->uid) < 0)
		die_errno("set the user to %u", b->uid);
	/* A change of ids makes a process dumpable as the sysctl says and forgets its parent-death signal. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		die_errno("protect the process");
}

static void load_seccomp(const struct bootstrap *b)
{
	struct filter_program program = { (unsigned short)b->seccomp_count, b->seccomp };
	if (b->seccomp && syscall(SYS_seccomp, FILTER_MODE, b->seccomp_flags, &program) < 0)
		die_errno("load the seccomp program");
}

/*
 * Without no_new_privs loading a filter takes CAP_SYS_ADMIN, so that capability stays until the filter is loaded, and what
 * the filter then still has to allow is capset and prctl. With it, the filter comes last and sees only the exec.
 */
void drop_privileges(const struct bootstrap *b)
{
	stage("privileges");
	umask(b->has_umask ? b->umask : 022);
	uint64_t available = available_capabilities();
	uint64_t effective = b->cap_effective & available, permitted = b->cap_permitted & available;
	uint64_t inheritable = b->cap_inheritable & available;
	drop_bounding_set(b->cap_bounding);
	set_ids(b);
	if (!has_flag(b, FLAG_NO_NEW_PRIVILEGES) && b->seccomp) {
		uint64_t load = 1ULL << CAP_SYS_ADMIN_BIT;
		set_capabilities(effective | load, permitted | load, inheritable);
		load_seccomp(b);
	}
	set_capabilities(effective, permitted, inheritable);
	raise_ambient(b->cap_ambient & permitted & inheritable);
	if (!has_flag(b, FLAG_NO_NEW_PRIVILEGES))
		return;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die_errno("set no_new_privs");
	load_seccomp(b);
}

static int become(uid_t id)
{
	gid_t gid = id;
	return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(id, id, id) == 0;
}

/* For programs beside the containers: a user of their own, or where that cannot be had, nobody. */
int become_unprivileged(uid_t own)
{
	/* In a user namespace that maps 65536 ids there is no larger one. */
	return become(own) || become(NOBODY_ID);
}

/* With these capabilities and no way to get more; they are kept over an exec. */
void become_unprivileged_with(uid_t own, uint64_t capabilities)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || !become_unprivileged(own))
		die_errno("become an unprivileged user");
	set_capabilities(capabilities, capabilities, capabilities);
	raise_ambient(capabilities);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die_errno("set no_new_privs");
}
