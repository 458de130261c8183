/* What the files of tsrun-init offer each other, file by file. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "bootstrap.h"
#include "die.h"

enum { CONTROL_FD = 3, ENGINE_FD = 5 };

/* channel.c: the socket pair between the monitor and the process that becomes the container. */
enum channel_message {
	CHANNEL_PID = 100, /* child -> monitor, from the intermediate process */
	CHANNEL_PTY, /* child -> monitor, with the master's descriptor */
	CHANNEL_READY, /* child -> monitor */
	CHANNEL_EXECING, /* child -> monitor: what ends the channel from here on is a successful exec */
	CHANNEL_MAPPED, /* monitor -> child: uid_map and gid_map are written */
	CHANNEL_GO, /* monitor -> child */
	CHANNEL_ROOTFS, /* process for the layers -> monitor, with the mount */
};
struct packet {
	uint32_t type;
	uint32_t length;
	uint8_t payload[1024];
	int fd; /* -1, or a descriptor that came along */
};
void open_channel(int ends[2]);
int channel_send(int fd, uint32_t type, const void *payload, uint32_t length, int passed_fd);
int channel_receive(int fd, struct packet *packet); /* 0 at the end, 1 with a packet */
void channel_expect(int fd, uint32_t type); /* dies when the other side is gone */
uint32_t encode_failure(const struct failure *failure, uint8_t payload[1024]);

/* descriptors.c */
struct fd_set_builder {
	int fds[1024];
	size_t count;
};
void close_fds(int *fds, int count);
void keep_fd(struct fd_set_builder *set, int fd);
void close_other_fds(const struct fd_set_builder *set);

/* stdio.c: pipes or a terminal between the monitor and the container. */
struct stdio {
	int tty;
	int child[3]; /* the container's ends; -1: /dev/null (stdin) */
	int monitor[3]; /* the monitor's ends; -1: none */
};
void open_stdio(const struct bootstrap *b, struct stdio *io);
void check_pty_master(int fd);
int open_terminal(const struct bootstrap *b, int channel, int rootfs);
void use_terminal(int slave);
void use_stdio(const struct bootstrap *b, struct stdio *io);

/* namespaces.c: the process tree. */
struct spawned {
	pid_t pid;
	pid_t intermediate; /* 0, or a process to reap */
};
struct child {
	const struct bootstrap *b;
	struct stdio *io;
	int channel;
};
void take_engine_fd(void);
void open_joins(const struct bootstrap *b);
int has_user_namespace(const struct bootstrap *b); /* a new one, or one to join by its path */
int user_namespace_to_join(const struct bootstrap *b); /* -1: none with a path */
struct spawned spawn_container(const struct child *child);
void join_network(const struct bootstrap *b);
void become_mapped_root(const struct child *child);
void write_id_maps(const struct bootstrap *b, pid_t pid);
void write_oom_score(const struct bootstrap *b, pid_t pid);

/* cgroup.c: into the container's cgroups. */
void open_cgroup(const struct bootstrap *b);
void close_cgroup(void);
void keep_cgroup(struct fd_set_builder *set);
pid_t clone_process(uint64_t flags); /* born in the cgroup, while that is open */
void enter_cgroups(const struct bootstrap *b);

/* container.c: the child, from its birth to the exec. */
void be_a_child(int channel_fd);
_Noreturn void container_main(const struct child *child);
_Noreturn void exec_command(const struct bootstrap *b);

/* rootfs.c */
int set_mount_options(int context, const char *options);
void prepare_rootfs(const struct bootstrap *b);
void close_prepared_rootfs(void);
void keep_prepared_rootfs(struct fd_set_builder *set);
int attach_rootfs(const struct bootstrap *b);
void finish_rootfs(const struct bootstrap *b, int rootfs);

/* idmap.c: layers and volumes that keep the container's ids on disk. */
uint32_t host_id(const struct id_map *maps, size_t count, uint32_t id);
int idmap_mount(int mount, int user_namespace);
int open_idmapped_overlay(const struct bootstrap *b, int user_namespace);

/* mounts.c, inroot.c, copyup.c, devices.c, protect.c: everything below the rootfs. */
void prepare_mounts(const struct bootstrap *b);
void close_prepared_mounts(const struct bootstrap *b);
void keep_prepared_mounts(const struct bootstrap *b, struct fd_set_builder *set);
void make_mounts(const struct bootstrap *b, int rootfs);
int clone_mount(int fd, const char *path, int recursive);
int is_foreign_mount(const char *source);
int clone_foreign_mount(const char *source, int recursive);
int restrict_mount(int mount, uint32_t flags, int recursive);
void set_propagation(int mount, uint32_t propagation);
const char *fd_path(int fd, char buffer[32]);
int open_in_root(int rootfs, const char *path, uint64_t flags);
int make_in_root(int rootfs, const char *path, int directory);
int make_parent_in_root(int rootfs, const char *path, char name[256]);
void copy_tree(int from, int to);
void make_devices(const struct bootstrap *b, int rootfs);
void bind_console(int rootfs, int slave);
void protect_paths(const struct bootstrap *b, int rootfs);
int open_null(void);

/* procfs.c: writes to files of the host's procfs, verified to be one. */
void open_procfs(void);
void close_procfs(void);
void write_sysctls(const struct bootstrap *b);
void write_labels(const struct bootstrap *b);

/* privileges.c */
void apply_rlimits(const struct bootstrap *b, pid_t pid);
void raise_file_limit(void);
void restore_file_limit(void);
void drop_privileges(const struct bootstrap *b);
void reset_signals(void);
int become_unprivileged(uid_t own);
void become_unprivileged_with(uid_t own, uint64_t capabilities);

/* pid1.c */
void become_init(int channel); /* returns in the process that becomes the command */

/* holder.c */
int hold_namespaces(void);

/* monitor.c */
_Noreturn void pass_failure_on(const struct packet *failure);
_Noreturn void monitor_main(void);

/* title.c */
void keep_arguments(int argc, char **argv, char **envp);
void set_title(const char *title);

/* ports.c */
void reserve_ports(const struct bootstrap *b);
int hold_port(struct port *port); /* 0, or -1 with errno */
void release_port(struct port *port);

/* proxy.c */
int proxy_port(const struct port *port, int fd); /* -1 with errno */
void unproxy_port(const struct port *port);
