/* What the engine asked for: src/kernel/init-protocol.ts as C. Every pointer points into the bootstrap's own memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bootstrap-tags.h"

struct list {
	const char **items; /* NULL-terminated, so that it can be an argv */
	size_t count;
};

struct rlimit_request {
	uint32_t resource;
	uint64_t soft, hard;
};

struct join {
	uint32_t flag;
	const char *path; /* "": through the pidfd on fd 5 */
};

struct id_map {
	uint32_t inside, outside, size;
};

struct sysctl {
	const char *name, *value;
};

struct mount {
	uint32_t flags, options, propagation;
	const char *destination, *type, *source, *data;
};

struct device {
	uint32_t type, major, minor, mode, uid, gid;
	const char *path, *host_path;
};

struct symlink {
	const char *path, *target;
};

struct port {
	uint32_t protocol, port, address_length;
	const uint8_t *address;
	uint32_t target_port, target_length; /* 0: only held */
	const uint8_t *target;
	int optional; /* passed over when it cannot be had */
	int held, fd; /* fd -1: held without a socket */
};

#define ARRAY(type) \
	struct { \
		type *items; \
		size_t count; \
	}

struct bootstrap {
	int exec; /* mode */
	const char *id, *cwd, *apparmor, *selinux, *hostname, *domainname, *cgroup_dir;
	const char *attach_socket, *exit_file, *log_path;
	struct list args, env, cgroup_procs, lower_dirs, masked, readonly, exit_args, exit_env, oom_files;
	uint32_t uid, gid;
	size_t groups_count;
	uint32_t *groups;
	int has_umask, has_oom_score_adj, has_console_size;
	uint32_t umask, flags, rows, columns, namespaces;
	int32_t oom_score_adj;
	uint64_t cap_bounding, cap_effective, cap_permitted, cap_inheritable, cap_ambient;
	const void *seccomp;
	size_t seccomp_count; /* instructions */
	uint32_t seccomp_flags;
	uint64_t log_max_bytes;
	uint32_t log_max_files;
	int has_rootfs;
	struct {
		uint32_t overlay, readonly, propagation;
		const char *target, *upper_or_path, *work, *options;
	} rootfs;
	ARRAY(struct rlimit_request) rlimits;
	ARRAY(struct join) joins;
	ARRAY(struct id_map) uid_maps;
	ARRAY(struct id_map) gid_maps;
	ARRAY(struct sysctl) sysctls;
	ARRAY(struct mount) mounts;
	ARRAY(struct device) devices;
	ARRAY(struct symlink) symlinks;
	ARRAY(struct port) ports;
};

/* Reads the whole bootstrap from `fd` and checks all of it; whatever is wrong ends in die(). */
struct bootstrap *read_bootstrap(int fd);
/* bootstrap_ports.c */
struct cursor;
void take_port(struct bootstrap *b, struct cursor *c, int optional);
void take_port_count(struct bootstrap *b, struct cursor *c);
/* Dies of parts that do not go together. */
void check_bootstrap(const struct bootstrap *b);

static inline int has_flag(const struct bootstrap *b, uint32_t flag)
{
	return (b->flags & flag) != 0;
}
