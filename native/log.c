/*
 * The log: CRI lines, `2026-11-20T22:30:00.123456789Z stdout F text`. A line is one record even when it arrives in pieces, so
 * pieces wait here; P marks a record without the newline: a part of a line of more than 16 KiB, or an unfinished last one.
 * A full disk loses log lines, never the container's progress.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "monitor.h"

enum { MAX_LINE = 16384, BUFFER = 65536 + MAX_LINE, PREFIX = 30 + 8, PREFIX_ROOM = 96 };

static const char *path;
static uint64_t max_bytes, size;
static uint32_t max_files;
static int fd = -1, created;
static char *buffer; /* allocated with the first output */
static size_t buffered;
static struct {
	char *text;
	size_t length;
} partial[2];

static void open_file(void)
{
	struct stat st;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	size = fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void open_log(const struct bootstrap *b)
{
	stage("log");
	if (!b->log_path)
		return;
	path = b->log_path;
	max_bytes = b->log_max_bytes;
	max_files = b->log_max_files;
	created = access(path, F_OK) < 0;
	open_file();
	if (fd < 0)
		die_errno("open the log %s", path);
}

/* A run that came to nothing leaves nothing. */
void remove_empty_log(const struct bootstrap *b)
{
	if (fd >= 0 && created && size == 0)
		unlink(b->log_path);
}

static void flush(void)
{
	for (size_t done = 0; fd >= 0 && done < buffered;) {
		ssize_t n = write(fd, buffer + done, buffered - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			/* Half a record would spoil the next one. */
			(void)!ftruncate(fd, (off_t)size);
			buffered = 0;
			return;
		}
		done += (size_t)n;
	}
	size += buffered;
	buffered = 0;
}

static char *numbered(unsigned number)
{
	static char name[4200];
	snprintf(name, sizeof(name), "%s.%u", path, number);
	return name;
}

/* log.1 is the newest of the old ones. */
static void rotate(void)
{
	char from[4200];
	unsigned last = max_files ? max_files - 1 : 1;
	flush();
	if (fd >= 0)
		close(fd);
	while (!max_files && access(numbered(last), F_OK) == 0)
		last++;
	for (unsigned number = last; number > 1; number--) {
		snprintf(from, sizeof(from), "%s.%u", path, number - 1);
		rename(from, numbered(number));
	}
	if (last == 0)
		unlink(path);
	else
		rename(path, numbered(1));
	open_file();
}

/* One record: what waits of the line, `length` bytes more, and the newline that ends every record. */
static void record(const char prefix[PREFIX + 1], int stream, char tag, const uint8_t *data, size_t length)
{
	size_t total = PREFIX + 2 + partial[stream].length + length + 1;
	if (max_bytes && size + buffered > 0 && size + buffered + total > max_bytes)
		rotate();
	if (buffered + total > BUFFER)
		flush();
	char *at = buffer + buffered;
	memcpy(at, prefix, PREFIX);
	at[PREFIX] = tag;
	at[PREFIX + 1] = ' ';
	at += PREFIX + 2;
	if (partial[stream].length)
		memcpy(at, partial[stream].text, partial[stream].length);
	at += partial[stream].length;
	memcpy(at, data, length);
	at[length] = '\n';
	buffered += total;
	partial[stream].length = 0;
}

static void make_prefix(char prefix[PREFIX_ROOM], int stream)
{
	char now[TIME_BYTES];
	format_time(now);
	snprintf(prefix, PREFIX_ROOM, "%s %s ", now, stream ? "stderr" : "stdout");
}

static int allocate(int stream)
{
	if (!buffer) {
		buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (buffer == MAP_FAILED)
			buffer = NULL;
	}
	if (!partial[stream].text)
		partial[stream].text = malloc(MAX_LINE);
	return buffer && partial[stream].text;
}

void log_output(int stream, const uint8_t *data, size_t length)
{
	char prefix[PREFIX_ROOM];
	if (!path || !allocate(stream))
		return;
	make_prefix(prefix, stream);
	while (length > 0) {
		size_t room = MAX_LINE - partial[stream].length;
		const uint8_t *newline = memchr(data, '\n', length < room + 1 ? length : room + 1);
		if (newline) {
			record(prefix, stream, 'F', data, (size_t)(newline - data));
			length -= (size_t)(newline - data) + 1;
			data = newline + 1;
		} else if (length > room) {
			record(prefix, stream, 'P', data, room);
			data += room;
			length -= room;
		} else {
			memcpy(partial[stream].text + partial[stream].length, data, length);
			partial[stream].length += length;
			length = 0;
		}
	}
	flush();
}

/* Between two outputs it is empty. */
void release_log_buffer(void)
{
	if (buffer)
		madvise(buffer, BUFFER, MADV_DONTNEED);
}

void finish_log(void)
{
	char prefix[PREFIX_ROOM];
	for (int stream = 0; stream < 2; stream++) {
		if (partial[stream].length == 0)
			continue;
		make_prefix(prefix, stream);
		record(prefix, stream, 'P', (const uint8_t *)"", 0);
	}
	if (buffer)
		flush();
}
