/*
 * The floor: the least system calls that do what `run --rm -p 80:80 busybox true` does for its user - a root file system of
 * its own over a shared layer, all namespaces, an interface on a bridge with an address and a route, a process, and nothing of
 * it afterwards - with no records, no limits, no filters, no log and nobody who would clean up after a crash. What an engine
 * takes beyond that is the engine's.
 *
 *	floor LAYER WORKDIR BRIDGE [none]	prints nothing; exits with the command's code
 *
 * BRIDGE must exist in the namespace this runs in. The program is /bin/true in LAYER.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PEER "eth0"

static char request[2048];
static struct nlmsghdr *last;

static void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static void check(int result, const char *what)
{
	if (result < 0)
		die(what);
}

/* A message behind those that the request already has: all travel in one send. */
static void *begin(int type, int flags, size_t length)
{
	size_t at = last ? (size_t)((char *)last - request) + NLMSG_ALIGN(last->nlmsg_len) : 0;
	last = (struct nlmsghdr *)(request + at);
	*last = (struct nlmsghdr){ .nlmsg_len = NLMSG_LENGTH(length), .nlmsg_type = (unsigned short)type, .nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags) };
	return NLMSG_DATA(last);
}

static struct rtattr *put(int type, const void *data, size_t length)
{
	struct rtattr *attribute = (struct rtattr *)((char *)last + NLMSG_ALIGN(last->nlmsg_len));
	*attribute = (struct rtattr){ .rta_len = (unsigned short)RTA_LENGTH(length), .rta_type = (unsigned short)type };
	if (length)
		memcpy(RTA_DATA(attribute), data, length);
	last->nlmsg_len = NLMSG_ALIGN(last->nlmsg_len) + RTA_ALIGN(attribute->rta_len);
	return attribute;
}

static void end_nested(struct rtattr *nested)
{
	nested->rta_len = (unsigned short)((char *)last + last->nlmsg_len - (char *)nested);
}

static void flush(int fd, const char *what)
{
	last->nlmsg_flags |= NLM_F_ACK;
	size_t length = (size_t)((char *)last - request) + last->nlmsg_len;
	check((int)send(fd, request, length, 0), what);
	char answer[8192];
	ssize_t got = recv(fd, answer, sizeof(answer), 0);
	check((int)got, what);
	struct nlmsghdr *head = (struct nlmsghdr *)answer;
	if (head->nlmsg_type == NLMSG_ERROR) {
		errno = -((struct nlmsgerr *)NLMSG_DATA(head))->error;
		if (errno)
			die(what);
	}
	memset(request, 0, sizeof(request));
	last = NULL;
}

static int netlink(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	check(fd, "netlink");
	return fd;
}

/* One pair, its far end born in the namespace of `pid`, its near end on the bridge and up. */
static void plug(int fd, const char *bridge, const char *name, pid_t pid)
{
	int master = (int)if_nametoindex(bridge);
	if (!master)
		die("bridge");
	struct ifinfomsg *link = begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*link));
	link->ifi_flags = link->ifi_change = IFF_UP;
	put(IFLA_IFNAME, name, strlen(name) + 1);
	put(IFLA_MASTER, &master, sizeof(master));
	struct rtattr *info = put(IFLA_LINKINFO, NULL, 0);
	put(IFLA_INFO_KIND, "veth", 5);
	struct rtattr *data = put(IFLA_INFO_DATA, NULL, 0);
	struct ifinfomsg peer = { .ifi_family = AF_UNSPEC };
	struct rtattr *end = put(VETH_INFO_PEER, &peer, sizeof(peer));
	put(IFLA_IFNAME, PEER, sizeof(PEER));
	unsigned target = (unsigned)pid;
	put(IFLA_NET_NS_PID, &target, sizeof(target));
	end_nested(end);
	end_nested(data);
	end_nested(info);
	flush(fd, "add veth");
}

static void configure(void)
{
	int fd = netlink();
	int lo = 1, eth = (int)if_nametoindex(PEER);
	struct ifinfomsg *up = begin(RTM_NEWLINK, 0, sizeof(*up));
	up->ifi_index = lo;
	up->ifi_flags = up->ifi_change = IFF_UP;
	if (eth) {
		in_addr_t address = inet_addr("10.99.0.2"), gateway = inet_addr("10.99.0.1");
		struct ifaddrmsg *a = begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*a));
		*a = (struct ifaddrmsg){ .ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = (unsigned)eth };
		put(IFA_LOCAL, &address, 4);
		struct ifinfomsg *e = begin(RTM_NEWLINK, 0, sizeof(*e));
		e->ifi_index = eth;
		e->ifi_flags = e->ifi_change = IFF_UP;
		struct rtmsg *r = begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*r));
		*r = (struct rtmsg){ .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST };
		put(RTA_GATEWAY, &gateway, 4);
	}
	flush(fd, "configure");
	close(fd);
}

static void enter_root(const char *layer, const char *work)
{
	char options[4096];
	check(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "make / a slave");
	check(chdir(work), work);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=upper,workdir=work", layer);
	check(mount("overlay", "root", "overlay", 0, options), "mount overlay");
	check(chdir("root"), "root");
	check(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount proc");
	check((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
	check(umount2(".", MNT_DETACH), "detach the old root");
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fputs("usage: floor LAYER WORKDIR BRIDGE [none]\n", stderr);
		return 2;
	}
	const char *layer = argv[1], *bridge = argc > 4 ? NULL : argv[3];
	char work[4096], path[4200], name[IFNAMSIZ];
	snprintf(work, sizeof(work), "%s/%d", argv[2], getpid());
	snprintf(name, sizeof(name), "fl%d", getpid());
	const char *folders[] = { "", "/upper", "/work", "/root" };
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s%s", work, folders[i]);
		check(mkdir(path, 0700), path);
	}
	int ready[2];
	check(pipe2(ready, O_CLOEXEC), "pipe");
	unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
	pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
	check(pid, "clone");
	if (pid == 0) {
		close(ready[1]);
		enter_root(layer, work);
		char go;
		if (read(ready[0], &go, 1) != 1)
			_exit(125);
		configure();
		execl("/bin/true", "true", (char *)NULL);
		die("exec /bin/true");
	}
	int fd = netlink();
	if (bridge)
		plug(fd, bridge, name, pid);
	check((int)write(ready[1], "g", 1), "go");
	int status;
	check(waitpid(pid, &status, 0), "wait");
	/* The pair goes with the namespace; the process's own end waits for nothing. */
	for (size_t i = 4; i-- > 0;) {
		if (i == 2) {
			snprintf(path, sizeof(path), "%s/work/work", work);
			rmdir(path);
		}
		snprintf(path, sizeof(path), "%s%s", work, folders[i]);
		check(rmdir(path), path);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
