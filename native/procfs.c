/*
 * Sysctls and security labels, written through the host's procfs, opened before the container's mounts exist. What the image
 * or a volume puts on /proc is never written to (CVE-2019-16884, CVE-2025-52881); the kernel takes the writer's own
 * namespaces, not those that /proc was mounted in, so the effect is inside.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

static int procfs = -1;

void open_procfs(void)
{
	procfs = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (procfs < 0)
		die_errno("open /proc");
}

void close_procfs(void)
{
	close_fd(&procfs);
}

static void write_proc(const char *path, const char *value, uint64_t resolve)
{
	struct statfs fs;
	cleanup_fd int fd = k_openat2(procfs, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC, K_RESOLVE_BENEATH | resolve);
	if (fd < 0)
		die_errno("open /proc/%s", path);
	if (fstatfs(fd, &fs) < 0 || fs.f_type != K_PROC_SUPER_MAGIC)
		die("/proc/%s is not on a procfs", path);
	if (write(fd, value, strlen(value)) < 0)
		die_errno("write %s to /proc/%s", value, path);
}

/* The first separator decides, as sysctl(8) has it: net.ipv4.conf.eth0/100.forwarding, or net/ipv4/conf/eth0.100/forwarding. */
static void sysctl_path(const char *name, char path[256])
{
	const char *first = strpbrk(name, "./");
	int dotted = first && *first == '.';
	int length = snprintf(path, 256, "sys/%s", name);
	if (length >= 256)
		die("sysctl %.64s: the name is too long", name);
	for (char *c = path + 4; dotted && *c; c++)
		*c = *c == '.' ? '/' : *c == '/' ? '.' : *c;
}

void write_sysctls(const struct bootstrap *b)
{
	stage("sysctls");
	for (size_t i = 0; i < b->sysctls.count; i++) {
		char path[256];
		sysctl_path(b->sysctls.items[i].name, path);
		write_proc(path, b->sysctls.items[i].value, K_RESOLVE_NO_SYMLINKS);
	}
}

/* The kernel keeps these until execve(2), whatever happens in between. */
void write_labels(const struct bootstrap *b)
{
	stage("labels");
	char value[512];
	if (b->apparmor && *b->apparmor) {
		snprintf(value, sizeof(value), "exec %s", b->apparmor);
		struct statfs fs;
		cleanup_fd int modern = k_openat2(procfs, "thread-self/attr/apparmor/exec", O_PATH | O_CLOEXEC, K_RESOLVE_BENEATH);
		int found = modern >= 0 && fstatfs(modern, &fs) == 0;
		write_proc(found ? "thread-self/attr/apparmor/exec" : "thread-self/attr/exec", value, 0);
	}
	if (b->selinux && *b->selinux)
		write_proc("thread-self/attr/exec", b->selinux, 0);
}
