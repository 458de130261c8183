/*
 * Turns the bytes on fd 3 into a struct bootstrap. The bytes may be anything (the parser is fuzzed; cursor.c has the bounds).
 * An unknown tag is refused, because an engine that asks for something this init does not know must not get a container
 * without it.
 */
#include "bootstrap.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cursor.h"
#include "die.h"

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
	case TAG_PORT_COUNT: take_port_count(b, c); return 1;
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
	check_bootstrap(b);
	return b;
}
