/*
 * Process titles, and with them the end of the engine's environment: this process outlives the engine, or is pid 1 of a
 * container, and in both cases /proc/<pid>/environ must not show what the engine was started with.
 */
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "init.h"

static char *area;
static size_t area_length;

void keep_arguments(int argc, char **argv, char **envp)
{
	if (argc < 1)
		return;
	/* The kernel lays out argv and then envp as one run of strings; stop where that is not so. */
	char *end = argv[0];
	for (int i = 0; i < argc && argv[i] == end; i++)
		end += strlen(end) + 1;
	for (char **e = envp; *e && *e == end; e++)
		end += strlen(end) + 1;
	area = argv[0];
	area_length = (size_t)(end - area);
	static char *none[] = { NULL };
	environ = none;
}

void set_title(const char *title)
{
	char name[16] = "";
	if (area_length > 0) {
		memset(area, 0, area_length);
		strncpy(area, title, area_length - 1);
	}
	strncpy(name, title, sizeof(name) - 1);
	prctl(PR_SET_NAME, name);
}
