/*
 * A container in a user namespace: its root is nobody on the host, yet layers, its own changes and volumes keep the container's
 * ids on disk, so that they can be shared with containers that are mapped elsewhere or not at all. The kernel translates on the
 * way through idmapped mounts (mount_setattr(2), Linux 5.12; below an overlay 5.19).
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

enum { NUMBER_BYTES = 24, PLACE_BYTES = 264 };

/* The id that the host knows a container's id by; -1 when it is not mapped. */
uint32_t host_id(const struct id_map *maps, size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++)
		if (id >= maps[i].inside && id - maps[i].inside < maps[i].size)
			return maps[i].outside + (id - maps[i].inside);
	return (uint32_t)-1;
}

/* `mount` is detached. 0, or -1 with errno: EINVAL says that its file system cannot be mapped. */
int idmap_mount(int mount, int user_namespace)
{
	struct k_mount_attr attr = { .attr_set = K_MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace };
	return k_mount_setattr(mount, 0, &attr);
}

/* Mounts an idmapped clone of `path` on a new directory `name` of the working directory. */
static void mount_layer(const char *path, const char *name, int user_namespace)
{
	cleanup_fd int layer = clone_mount(AT_FDCWD, path, 0);
	if (layer < 0)
		die_errno("open the layer %s", path);
	if (idmap_mount(layer, user_namespace) < 0)
		die_errno("map the ids of %s (needs Linux 5.12 and a file system that can)", path);
	cleanup_fd int place = mkdir(name, 0700) < 0 ? -1 : open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (place < 0 || k_move_mount(layer, place) < 0)
		die_errno("mount the layer %s", path);
}

/* An empty file system over `target`, and in it: a place for mounts that needs no name on the host. */
static void enter_scratch(const char *target)
{
	cleanup_fd int context = (int)syscall(NR_FSOPEN, "tmpfs", K_FSOPEN_CLOEXEC);
	if (context < 0 || syscall(NR_FSCONFIG, context, K_FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		die_errno("create a tmpfs for the layers");
	cleanup_fd int scratch = (int)syscall(NR_FSMOUNT, context, K_FSMOUNT_CLOEXEC, 0);
	cleanup_fd int place = open(target, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (scratch < 0 || place < 0 || k_move_mount(scratch, place) < 0 || fchdir(scratch) < 0)
		die_errno("mount a tmpfs for the layers on %s", target);
}

static int set(int context, const char *key, const char *value)
{
	return (int)syscall(NR_FSCONFIG, context, K_FSCONFIG_SET_STRING, key, value, 0);
}

/* Layers are called 0, 1, 2 ...: all of them in one short string, or one by one (Linux 6.5) where there are too many. */
static int set_lower(int context, size_t count)
{
	char all[256], one[NUMBER_BYTES]; /* fsconfig(2) takes up to 255 bytes */
	size_t length = 0;
	for (size_t i = 0; i < count && length < sizeof(all); i++)
		length += (size_t)snprintf(all + length, sizeof(all) - length, i ? ":%zu" : "%zu", i);
	if (length < sizeof(all))
		return set(context, "lowerdir", all);
	for (size_t i = 0; i < count; i++) {
		snprintf(one, sizeof(one), "%zu", i);
		if (set(context, "lowerdir+", one) < 0)
			return -1;
	}
	return 0;
}

/* The overlay wants its upper and work directories on one mount: that of the directory that holds both. */
static void mount_upper(const struct bootstrap *b, int user_namespace, char upper[PLACE_BYTES], char work[PLACE_BYTES])
{
	char parent[PATH_MAX], other[PATH_MAX];
	if (strlen(b->rootfs.upper_or_path) >= PATH_MAX || strlen(b->rootfs.work) >= PATH_MAX)
		die("the path of the upper directory is too long");
	strcpy(parent, b->rootfs.upper_or_path);
	strcpy(other, b->rootfs.work);
	snprintf(upper, PLACE_BYTES, "top/%.255s", strrchr(parent, '/') ? strrchr(parent, '/') + 1 : parent);
	snprintf(work, PLACE_BYTES, "top/%.255s", strrchr(other, '/') ? strrchr(other, '/') + 1 : other);
	if (strcmp(dirname(parent), dirname(other)) != 0)
		die("the upper directory %s and the work directory %s are not in one directory", b->rootfs.upper_or_path, b->rootfs.work);
	mount_layer(parent, "top", user_namespace);
}

/*
 * An overlay does its own work (work directory, whiteouts, copies) as whoever mounted it, and through an idmapped mount that has
 * to be somebody who is mapped: the container's root, but with the host's capabilities, which a change of these ids would drop.
 */
static void act_as_container_root(const struct bootstrap *b)
{
	uint32_t uid = host_id(b->uid_maps.items, b->uid_maps.count, 0), gid = host_id(b->gid_maps.items, b->gid_maps.count, 0);
	if (uid == (uint32_t)-1 || gid == (uint32_t)-1)
		die("root of the container is not mapped");
	if (prctl(PR_SET_SECUREBITS, K_SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0)
		die_errno("keep the capabilities");
	syscall(SYS_setfsgid, gid);
	syscall(SYS_setfsuid, uid);
	if ((uint32_t)syscall(SYS_setfsuid, -1) != uid || (uint32_t)syscall(SYS_setfsgid, -1) != gid)
		die("cannot use files as uid %u and gid %u", uid, gid);
}

static int make_overlay(const struct bootstrap *b, int user_namespace)
{
	char name[NUMBER_BYTES], upper[PLACE_BYTES], work[PLACE_BYTES];
	/* Its own: before Linux 6.15 an overlay takes no layers from mounts that are attached nowhere. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		die_errno("create a mount namespace for the layers");
	enter_scratch(b->rootfs.target);
	for (size_t i = 0; i < b->lower_dirs.count; i++) {
		snprintf(name, sizeof(name), "%zu", i);
		mount_layer(b->lower_dirs.items[i], name, user_namespace);
	}
	mount_upper(b, user_namespace, upper, work);
	act_as_container_root(b);
	cleanup_fd int context = (int)syscall(NR_FSOPEN, "overlay", K_FSOPEN_CLOEXEC);
	if (context < 0 || set_lower(context, b->lower_dirs.count) < 0 || set(context, "upperdir", upper) < 0 ||
	    set(context, "workdir", work) < 0 || set_mount_options(context, b->rootfs.options) < 0 ||
	    set(context, "source", "overlay") < 0 || syscall(NR_FSCONFIG, context, K_FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		die_errno("mount an overlay of idmapped layers (needs Linux 5.19)");
	int fd = (int)syscall(NR_FSMOUNT, context, K_FSMOUNT_CLOEXEC, 0);
	if (fd < 0)
		die_errno("mount an overlay of idmapped layers");
	return fd;
}

/*
 * In the monitor: a detached overlay whose layers are mapped for the container's user namespace. A process of its own makes it,
 * in a mount namespace that ends with it; the overlay itself belongs to the host, which keeps its xattrs and whiteouts those of
 * every other container.
 */
int open_idmapped_overlay(const struct bootstrap *b, int user_namespace)
{
	int ends[2];
	struct packet packet;
	open_channel(ends);
	pid_t pid = fork();
	if (pid < 0)
		die_errno("create a process for the layers");
	if (pid == 0) {
		be_a_child(ends[1]);
		close(ends[0]);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
			die_errno("protect the process");
		int fd = make_overlay(b, user_namespace);
		_exit(channel_send(ends[1], CHANNEL_ROOTFS, NULL, 0, fd) < 0);
	}
	close(ends[1]);
	int received = channel_receive(ends[0], &packet);
	close(ends[0]);
	waitpid(pid, NULL, 0);
	if (received && packet.type == MESSAGE_FAILED)
		pass_failure_on(&packet);
	if (!received || packet.type != CHANNEL_ROOTFS || packet.fd < 0)
		die("the process for the layers ended without a word");
	return packet.fd;
}
