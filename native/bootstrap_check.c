/* What no later phase could repair is found here, before anything on the machine has changed. */
#include "bootstrap.h"

#include "die.h"
#include "kernel.h"

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

void check_bootstrap(const struct bootstrap *b)
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
