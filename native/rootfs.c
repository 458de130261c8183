/*
 * The container's `/`: an overlay or a directory, attached in the child's own mount namespace only, and made the root once
 * everything below it stands.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

enum { LAYER_PATH = 256 }; /* fsconfig(2) takes strings of up to 255 bytes */

/* A layer's path as the overlay can take it. Where its parser would stumble (or it is too long) a descriptor stands in. */
static void layer_path(const char *path, char out[LAYER_PATH], int always_fd)
{
	if (!always_fd && strlen(path) < LAYER_PATH && !strpbrk(path, ":,\\")) {
		strcpy(out, path);
		return;
	}
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); /* stays open until the exec */
	if (fd < 0)
		die_errno("open the layer %s", path);
	fd_path(fd, out);
}

static int set_option(int context, const char *key, const char *value)
{
	int command = value ? K_FSCONFIG_SET_STRING : K_FSCONFIG_SET_FLAG;
	return (int)syscall(NR_FSCONFIG, context, command, key, value, 0);
}

static int set_layer(int context, const char *key, const char *path)
{
	char value[LAYER_PATH];
	layer_path(path, value, 0);
	return set_option(context, key, value);
}

/* Cuts the next option off: up to a comma outside of quotes, which go. NULL when there is none left. */
static char *next_option(char **rest)
{
	char *start = *rest, *to = start;
	int quoted = 0;
	if (!start)
		return NULL;
	for (char *from = start;; from++) {
		if (!*from || (*from == ',' && !quoted)) {
			*rest = *from ? from + 1 : NULL;
			*to = 0;
			return start;
		}
		if (*from == '"')
			quoted = !quoted;
		else
			*to++ = *from;
	}
}

/* Splits `volatile,context="u:r:t:s0:c1,c2"` into parameters of a filesystem context. 0, or -1 with errno. */
int set_mount_options(int context, const char *options)
{
	char *copy = strdup(options);
	char *rest = copy;
	int result = copy ? 0 : -1;
	for (char *option; result == 0 && (option = next_option(&rest));) {
		char *value = strchr(option, '=');
		if (value)
			*value++ = 0;
		if (*option)
			result = set_option(context, option, value);
	}
	free(copy);
	return result;
}

/* What the kernel has to say about a refused filesystem, for the message of whoever gives up. */
static char kernel_message[256];

static int refused(int context)
{
	int error = errno;
	char text[sizeof(kernel_message)];
	ssize_t n = read(context, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	/* "e overlay: ...\n": a letter for its severity, see fsopen(2) */
	text[strcspn(text, "\n")] = 0;
	strcpy(kernel_message, n > 2 && text[1] == ' ' ? text + 2 : text);
	errno = error;
	return -1;
}

/*
 * Layer by layer through the mount API: no limit of one page for all paths together. -1: this kernel cannot (lowerdir+ came
 * with Linux 6.7; before 6.5 it is noticed only at the end), or the overlay is refused, and then mount(2) will say so too.
 */
static int open_overlay(const struct bootstrap *b)
{
	cleanup_fd int context = (int)syscall(NR_FSOPEN, "overlay", K_FSOPEN_CLOEXEC);
	if (context < 0)
		return -1;
	for (size_t i = 0; i < b->lower_dirs.count; i++)
		if (set_layer(context, "lowerdir+", b->lower_dirs.items[i]) < 0)
			return refused(context);
	if (set_layer(context, "upperdir", b->rootfs.upper_or_path) < 0 || set_layer(context, "workdir", b->rootfs.work) < 0 ||
	    set_mount_options(context, b->rootfs.options) < 0 || set_option(context, "source", "overlay") < 0 ||
	    syscall(NR_FSCONFIG, context, K_FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return refused(context);
	return (int)syscall(NR_FSMOUNT, context, K_FSMOUNT_CLOEXEC, 0);
}

static int append_option(char *options, size_t *length, const char *separator, const char *text)
{
	int n = snprintf(options + *length, 4096 - *length, "%s%s", separator, text);
	*length += (size_t)n;
	return *length < 4096 ? 0 : -1;
}

/* All options as one string; -1 when they do not fit into the page that mount(2) takes. */
static int overlay_options(const struct bootstrap *b, char options[4096], int use_fds)
{
	char path[LAYER_PATH];
	size_t length = 0;
	for (size_t i = 0; i < b->lower_dirs.count; i++) {
		layer_path(b->lower_dirs.items[i], path, use_fds);
		if (append_option(options, &length, i ? ":" : "lowerdir=", path) < 0)
			return -1;
	}
	layer_path(b->rootfs.upper_or_path, path, use_fds);
	if (append_option(options, &length, ",upperdir=", path) < 0)
		return -1;
	layer_path(b->rootfs.work, path, use_fds);
	if (append_option(options, &length, ",workdir=", path) < 0)
		return -1;
	return *b->rootfs.options ? append_option(options, &length, ",", b->rootfs.options) : 0;
}

static int mount_overlay(const struct bootstrap *b)
{
	char options[4096];
	if (overlay_options(b, options, 0) < 0 && overlay_options(b, options, 1) < 0)
		die("the overlay has too many layers (%zu) for this kernel", b->lower_dirs.count);
	if (mount("overlay", b->rootfs.target, "overlay", 0, options) < 0)
		die_errno("mount the overlay on %s: %s", b->rootfs.target, kernel_message);
	int fd = open(b->rootfs.target, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		die_errno("open %s", b->rootfs.target);
	return fd;
}

/* With shared propagation a mount on the target would show up on the host: cut off the one mount that holds the target. */
static void make_parent_private(const char *target)
{
	char path[PATH_MAX];
	if (strlen(target) >= sizeof(path))
		die("the rootfs path is too long");
	strcpy(path, target);
	while (mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0) {
		if (errno != EINVAL || strcmp(path, "/") == 0)
			die_errno("make the mount that holds %s private", target);
		strcpy(path, dirname(path));
	}
}

/* Detached. -1: an overlay that has to be made with mount(2), in place. */
static int open_rootfs(const struct bootstrap *b)
{
	int fd = b->rootfs.overlay ? open_overlay(b) : clone_mount(AT_FDCWD, b->rootfs.upper_or_path, 1);
	if (fd < 0 && !b->rootfs.overlay)
		die_errno("bind the rootfs %s", b->rootfs.upper_or_path);
	return fd;
}

static int prepared = -1;

/* In the monitor; see prepare_mounts(). */
void prepare_rootfs(const struct bootstrap *b)
{
	stage("rootfs");
	int user_namespace = user_namespace_to_join(b);
	prepared = b->rootfs.overlay && user_namespace >= 0 ? open_idmapped_overlay(b, user_namespace) : open_rootfs(b);
}

void close_prepared_rootfs(void)
{
	close_fd(&prepared);
}

void keep_prepared_rootfs(struct fd_set_builder *set)
{
	keep_fd(set, prepared);
}

static void attach(int mount_fd, const struct bootstrap *b)
{
	cleanup_fd int target = open(b->rootfs.target, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* The root of a user namespace may not be able to get there; on top of `/` it is as invisible to the host. */
	if (target < 0 && errno == EACCES)
		target = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0 || k_move_mount(mount_fd, target) < 0)
		die_errno("attach the rootfs to %s", b->rootfs.target);
}

/*
 * Returns a descriptor of the mounted root. First of all the host's mounts become slaves (or what was asked for): under
 * systemd `/` is shared, and each mount below would otherwise appear on the host.
 */
int attach_rootfs(const struct bootstrap *b)
{
	stage("rootfs");
	uint32_t shared = b->rootfs.propagation & MS_SHARED;
	if (mount(NULL, "/", NULL, shared ? MS_SHARED | MS_REC : MS_SLAVE | MS_REC, NULL) < 0)
		die_errno("set the propagation of the mount namespace");
	if (shared)
		make_parent_private(b->rootfs.target);

	int fd = prepared >= 0 ? prepared : open_rootfs(b);
	if (fd < 0)
		return mount_overlay(b);
	attach(fd, b);
	if (!b->rootfs.overlay)
		set_propagation(fd, MS_PRIVATE | MS_REC);
	return fd;
}

/*
 * The rootfs becomes `/`. After everything that needs host paths, before anything that trusts `/`. pivot_root(".", ".")
 * stacks the old root on the new one, from where it is detached: no directory of the image is needed for it.
 */
void finish_rootfs(const struct bootstrap *b, int rootfs)
{
	stage("pivot-root");
	if (b->rootfs.readonly && restrict_mount(rootfs, MS_RDONLY, 0) < 0)
		die_errno("make the root read-only");
	cleanup_fd int old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old_root < 0 || fchdir(rootfs) < 0)
		die_errno("enter %s", b->rootfs.target);
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		die_errno("pivot_root to %s", b->rootfs.target);
	if (fchdir(old_root) < 0)
		die_errno("return to the host's root");
	/* Unmounting must not reach the host. */
	if (b->rootfs.propagation & MS_SHARED && mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		die_errno("part from the host's mounts");
	if (umount2(".", MNT_DETACH) < 0)
		die_errno("detach the host's root");
	if (chdir("/") < 0)
		die_errno("chdir to /");
	uint32_t propagation = b->rootfs.propagation & ~(uint32_t)MS_REC;
	if (propagation && !(propagation & MS_PRIVATE) && mount(NULL, "/", NULL, propagation, NULL) < 0)
		die_errno("set the propagation of the root");
}
