/*
 * Turns the bytes on fd 3 into a struct bootstrap. The bytes may be anything (the parser is fuzzed): each length is checked
 * against what is left before it is used, strings must end where they say, and an unknown tag is refused, because an
 * engine that asks for something this init does not know must not get a container without it.
 */
#include "bootstrap.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "die.h"
#include "kernel.h"

struct cursor {
	const uint8_t *at, *end;
	uint32_t tag;
};

static void need(const struct cursor *c, size_t bytes)
{
	if ((size_t)(c->end - c->at) < bytes)
		die("bootstrap: attribute %u is truncated", c->tag);
}

static uint32_t take_u32(struct cursor *c)
{
	uint32_t value;
	need(c, sizeof(value));
	memcpy(&value, c->at, sizeof(value));
	c->at += sizeof(value);
	return value;
}

static uint64_t take_u64(struct cursor *c)
{
	uint64_t value;
	need(c, sizeof(value));
	memcpy(&value, c->at, sizeof(value));
	c->at += sizeof(value);
	return value;
}

/* `length` bytes that hold exactly one NUL, the last. */
static const char *take_text(struct cursor *c, size_t length)
{
	need(c, length);
	if (length == 0 || memchr(c->at, 0, length) != c->at + length - 1)
		die("bootstrap: attribute %u is not a string", c->tag);
	const char *text = (const char *)c->at;
	c->at += length;
	return text;
}

static const char *take_str(struct cursor *c)
{
	uint32_t length = take_u32(c);
	if (length > BOOTSTRAP_MAX_BYTES)
		die("bootstrap: attribute %u holds a string of %u bytes", c->tag, length);
	return take_text(c, (size_t)length + 1);
}

static const char *take_rest(struct cursor *c)
{
	return take_text(c, (size_t)(c->end - c->at));
}

/* Grows by doubling: the element that is new is at the returned address, zeroed. */
static void *append(void *items_pointer, size_t *count, size_t size)
{
	void *items = *(void **)items_pointer;
	if ((*count & (*count + 1)) == 0 || !items) {
		items = reallocarray(items, 2 * *count + 2, size);
		if (!items)
			die_errno("allocate the bootstrap");
		*(void **)items_pointer = items;
	}
	void *item = (char *)items + (*count)++ * size;
	memset(item, 0, size);
	return item;
}

#define APPEND(array) append(&(array).items, &(array).count, sizeof(*(array).items))

static void append_text(struct list *list, struct cursor *c)
{
	const char **item = append(&list->items, &list->count, sizeof(*list->items));
	*item = take_rest(c);
}

/* Lists are used as argv and envp, which end with NULL. */
static void terminate(struct list *list)
{
	append(&list->items, &list->count, sizeof(*list->items));
	list->count--;
}

static void take_user(struct bootstrap *b, struct cursor *c)
{
	b->uid = take_u32(c);
	b->gid = take_u32(c);
	uint32_t count = take_u32(c);
	need(c, (size_t)count * sizeof(uint32_t));
	b->groups = calloc(count ? count : 1, sizeof(uint32_t));
	if (!b->groups)
		die_errno("allocate the bootstrap");
	for (b->groups_count = 0; b->groups_count < count; b->groups_count++)
		b->groups[b->groups_count] = take_u32(c);
}

static void take_seccomp(struct bootstrap *b, struct cursor *c)
{
	b->seccomp_flags = take_u32(c);
	size_t length = (size_t)(c->end - c->at);
	if (length == 0 || length % 8 != 0 || length / 8 > 4096)
		die("bootstrap: a seccomp program of %zu bytes", length);
	b->seccomp = c->at;
	b->seccomp_count = length / 8;
	c->at = c->end;
}

static void take_rootfs(struct bootstrap *b, struct cursor *c)
{
	b->has_rootfs = 1;
	b->rootfs.overlay = take_u32(c);
	b->rootfs.readonly = take_u32(c);
	b->rootfs.propagation = take_u32(c);
	b->rootfs.target = take_str(c);
	b->rootfs.upper_or_path = take_str(c);
	b->rootfs.work = take_str(c);
	b->rootfs.options = take_str(c);
}

static void take_mount(struct bootstrap *b, struct cursor *c)
{
	struct mount *mount = APPEND(b->mounts);
	mount->flags = take_u32(c);
	mount->options = take_u32(c);
	mount->propagation = take_u32(c);
	mount->destination = take_str(c);
	mount->type = take_str(c);
	mount->source = take_str(c);
	mount->data = take_str(c);
}

static void take_device(struct bootstrap *b, struct cursor *c)
{
	struct device *device = APPEND(b->devices);
	device->type = take_u32(c);
	device->major = take_u32(c);
	device->minor = take_u32(c);
	device->mode = take_u32(c);
	device->uid = take_u32(c);
	device->gid = take_u32(c);
	device->path = take_str(c);
	device->host_path = take_str(c);
}

/* {u32 length, bytes} */
static const uint8_t *take_address(struct cursor *c, uint32_t *length)
{
	*length = take_u32(c);
	if (*length != 4 && *length != 16)
		die("bootstrap: a reserved port with an address of %u bytes", *length);
	need(c, *length);
	const uint8_t *address = c->at;
	c->at += *length;
	return address;
}

static void take_port(struct bootstrap *b, struct cursor *c, int optional)
{
	struct port *port = APPEND(b->ports);
	port->protocol = take_u32(c);
	port->port = take_u32(c);
	port->address = take_address(c, &port->address_length);
	port->optional = optional;
	port->fd = -1;
	if (c->at < c->end) {
		port->target_port = take_u32(c);
		port->target = take_address(c, &port->target_length);
		if (port->protocol != IPPROTO_TCP && port->protocol != IPPROTO_UDP)
			die("bootstrap: protocol %u cannot be proxied", port->protocol);
	}
	if (port->port > 65535 || port->target_port > 65535)
		die("bootstrap: %u:%u is no port", port->port, port->target_port);
}

static void take_id_map(struct id_map *map, struct cursor *c)
{
	map->inside = take_u32(c);
	map->outside = take_u32(c);
	map->size = take_u32(c);
}

/* Attributes about the process. Returns 0 when the tag is none of them. */
static int take_process(struct bootstrap *b, struct cursor *c)
{
	switch (c->tag) {
	case TAG_ARG: append_text(&b->args, c); return 1;
	case TAG_ENV: append_text(&b->env, c); return 1;
	case TAG_CWD: b->cwd = take_rest(c); return 1;
	case TAG_USER:
		if (b->groups)
			die("bootstrap: two users");
		take_user(b, c);
		return 1;
	case TAG_UMASK: b->has_umask = 1; b->umask = take_u32(c); return 1;
	case TAG_FLAGS: b->flags = take_u32(c); return 1;
	case TAG_CONSOLE_SIZE: b->has_console_size = 1; b->rows = take_u32(c); b->columns = take_u32(c); return 1;
	case TAG_CAPABILITIES:
		b->cap_bounding = take_u64(c);
		b->cap_effective = take_u64(c);
		b->cap_permitted = take_u64(c);
		b->cap_inheritable = take_u64(c);
		b->cap_ambient = take_u64(c);
		return 1;
	case TAG_RLIMIT: {
		struct rlimit_request *limit = APPEND(b->rlimits);
		limit->resource = take_u32(c);
		limit->soft = take_u64(c);
		limit->hard = take_u64(c);
		return 1;
	}
	case TAG_OOM_SCORE_ADJ: b->has_oom_score_adj = 1; b->oom_score_adj = (int32_t)take_u32(c); return 1;
	case TAG_SECCOMP: take_seccomp(b, c); return 1;
	case TAG_APPARMOR: b->apparmor = take_rest(c); return 1;
	case TAG_SELINUX: b->selinux = take_rest(c); return 1;
	}
	return 0;
}

/* Attributes about the container's surroundings. Returns 0 when the tag is none of them. */
static int take_container(struct bootstrap *b, struct cursor *c)
{
	switch (c->tag) {
	case TAG_NAMESPACES: b->namespaces = take_u32(c); return 1;
	case TAG_JOIN: {
		struct join *join = APPEND(b->joins);
		join->flag = take_u32(c);
		join->path = take_str(c);
		return 1;
	}
	case TAG_UID_MAP: take_id_map(APPEND(b->uid_maps), c); return 1;
	case TAG_GID_MAP: take_id_map(APPEND(b->gid_maps), c); return 1;
	case TAG_CGROUP_DIR: b->cgroup_dir = take_rest(c); return 1;
	case TAG_CGROUP_PROCS: append_text(&b->cgroup_procs, c); return 1;
	case TAG_HOSTNAME: b->hostname = take_rest(c); return 1;
	case TAG_DOMAINNAME: b->domainname = take_rest(c); return 1;
	case TAG_SYSCTL: {
		struct sysctl *sysctl = APPEND(b->sysctls);
		sysctl->name = take_str(c);
		sysctl->value = take_str(c);
		return 1;
	}
	case TAG_ROOTFS: take_rootfs(b, c); return 1;
	case TAG_LOWER_DIR: append_text(&b->lower_dirs, c); return 1;
	case TAG_MOUNT: take_mount(b, c); return 1;
	case TAG_DEVICE: take_device(b, c); return 1;
	case TAG_SYMLINK: {
		struct symlink *link = APPEND(b->symlinks);
		link->path = take_str(c);
		link->target = take_str(c);
		return 1;
	}
	case TAG_MASKED_PATH: append_text(&b->masked, c); return 1;
	case TAG_READONLY_PATH: append_text(&b->readonly, c); return 1;
	}
	return 0;
}

/* Attributes that concern this program rather than the container. Returns 0 when the tag is none of them. */
static int take_monitor(struct bootstrap *b, struct cursor *c)
{
	switch (c->tag) {
	case TAG_MODE:
		b->exec = (int)take_u32(c);
		return 1;
	case TAG_ID: b->id = take_rest(c); return 1;
	case TAG_FAULT: set_fault(take_rest(c)); return 1;
	case TAG_ATTACH_SOCKET: b->attach_socket = take_rest(c); return 1;
	case TAG_LOG:
		b->log_max_bytes = take_u64(c);
		b->log_max_files = take_u32(c);
		b->log_path = take_str(c);
		return 1;
	case TAG_EXIT_FILE: b->exit_file = take_rest(c); return 1;
	case TAG_EXIT_ARG: append_text(&b->exit_args, c); return 1;
	case TAG_EXIT_ENV: append_text(&b->exit_env, c); return 1;
	case TAG_OOM_FILE: append_text(&b->oom_files, c); return 1;
	case TAG_RESERVED_PORT: take_port(b, c, 0); return 1;
	case TAG_OFFERED_PORT: take_port(b, c, 1); return 1;
	}
	return 0;
}

static void take_attributes(struct bootstrap *b, struct cursor all)
{
	while (all.at < all.end) {
		all.tag = 0;
		uint32_t length = take_u32(&all);
		uint32_t tag = take_u32(&all);
		all.tag = tag;
		need(&all, length);
		struct cursor one = { all.at, all.at + length, tag };
		if (!take_process(b, &one) && !take_container(b, &one) && !take_monitor(b, &one))
			die("bootstrap: attribute %u is unknown", tag);
		if (one.at != one.end)
			die("bootstrap: attribute %u is too long", tag);
		all.at += length;
	}
}

/* Any other bit would share memory, files or signal handlers with the container. */
static const uint32_t namespace_flags = K_CLONE_NEWTIME | K_CLONE_NEWNS | K_CLONE_NEWCGROUP | K_CLONE_NEWUTS | K_CLONE_NEWIPC |
					K_CLONE_NEWUSER | K_CLONE_NEWPID | K_CLONE_NEWNET;

static void check_namespaces(const struct bootstrap *b)
{
	uint32_t joined = 0;
	for (size_t i = 0; i < b->joins.count; i++) {
		if (!b->exec && !*b->joins.items[i].path)
			die("bootstrap: a namespace to join has no path");
		joined |= b->joins.items[i].flag;
	}
	if ((b->namespaces | joined) & ~namespace_flags)
		die("bootstrap: 0x%x are not namespaces", b->namespaces | joined);
	if (b->exec && b->namespaces)
		die("bootstrap: exec mode makes no namespaces");
}

/* What no later phase could repair, found before anything on the machine has changed. */
static void check(const struct bootstrap *b)
{
	if (!b->id || !*b->id)
		die("bootstrap: no id");
	if (b->args.count == 0)
		die("bootstrap: no command");
	if (!b->cwd || b->cwd[0] != '/')
		die("bootstrap: the working directory is not an absolute path");
	if (b->exec != 0 && b->exec != 1)
		die("bootstrap: mode %d is unknown", b->exec);
	check_namespaces(b);
	if (b->exec && b->has_rootfs)
		die("bootstrap: exec mode makes no rootfs");
	if (b->has_rootfs && !(b->namespaces & K_CLONE_NEWNS))
		die("bootstrap: a rootfs needs a mount namespace of its own");
	if (!b->has_rootfs && (b->mounts.count || b->devices.count || b->symlinks.count || b->masked.count || b->readonly.count))
		die("bootstrap: mounts without a rootfs");
	if (b->has_rootfs && b->rootfs.overlay && b->lower_dirs.count == 0)
		die("bootstrap: an overlay without layers");
}

static void read_all(int fd, uint8_t *to, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = read(fd, to + done, length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die_errno("read the bootstrap");
		if (n == 0)
			die("bootstrap: ends after %zu of %zu bytes", done, length);
		done += (size_t)n;
	}
}

struct bootstrap *read_bootstrap(int fd)
{
	uint32_t header[BOOTSTRAP_HEADER_BYTES / 4];
	read_all(fd, (uint8_t *)header, sizeof(header));
	if (header[0] != BOOTSTRAP_MAGIC)
		die("bootstrap: this is not one");
	if (header[1] != BOOTSTRAP_VERSION)
		die("bootstrap: version %u, but this tsrun-init speaks %u", header[1], BOOTSTRAP_VERSION);
	if (header[2] < sizeof(header) || header[2] > BOOTSTRAP_MAX_BYTES)
		die("bootstrap: a length of %u bytes", header[2]);

	size_t length = header[2] - sizeof(header);
	uint8_t *bytes = malloc(length ? length : 1);
	struct bootstrap *b = calloc(1, sizeof(*b));
	if (!bytes || !b)
		die_errno("allocate the bootstrap");
	read_all(fd, bytes, length);
	take_attributes(b, (struct cursor){ bytes, bytes + length, 0 });

	struct list *lists[] = { &b->args, &b->env, &b->cgroup_procs, &b->lower_dirs, &b->masked,
				 &b->readonly, &b->exit_args, &b->exit_env, &b->oom_files };
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		terminate(lists[i]);
	check(b);
	return b;
}
