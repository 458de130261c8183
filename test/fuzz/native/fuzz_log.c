/*
 * What a container prints, in any pieces, becomes lines of the log, and these give back what it printed. Each piece: a byte with the
 * stream and the length, then the bytes.
 */
/* with: */
#include "guard.h"

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* Its file and what waits in it must begin anew with each input. */
#include "log.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void format_time(char text[TIME_BYTES])
{
	strcpy(text, "2026-11-20T22:30:00.123456789Z");
}

enum { ROOM = 1 << 20 };
static char printed[2][ROOM], logged[2][ROOM], content[4 * ROOM];
static size_t printed_length[2], logged_length[2];

static void take_line(const char *line, size_t length)
{
	int is_error = memcmp(line + 31, "stderr", 6) == 0;
	if (length < PREFIX + 2 || (!is_error && memcmp(line + 31, "stdout", 6) != 0) || (line[38] != 'F' && line[38] != 'P'))
		abort();
	memcpy(logged[is_error] + logged_length[is_error], line + 40, length - 40);
	logged_length[is_error] += length - 40;
	if (line[38] == 'F')
		logged[is_error][logged_length[is_error]++] = '\n';
}

static void print(int stream, const uint8_t *bytes, size_t length)
{
	memcpy(printed[stream] + printed_length[stream], bytes, length);
	printed_length[stream] += length;
	log_output(stream, bytes, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t filler[STREAM_BYTES];
	static char name[64];
	static int file = -1;
	if (file < 0) {
		strcpy(name, "/tmp/tsrun-fuzz-log-XXXXXX");
		file = mkstemp(name);
		struct bootstrap b = { .log_path = name };
		open_log(&b);
		unlink(name);
	}
	memset(printed_length, 0, sizeof(printed_length));
	memset(logged_length, 0, sizeof(logged_length));
	for (size_t at = 0; at < size && printed_length[0] + printed_length[1] < ROOM / 2;) {
		int stream = data[at] & 1;
		size_t length = data[at] >> 2;
		/* Long lines without long inputs. */
		if (data[at++] & 2)
			print(stream, filler, length * 1000);
		if (length > size - at)
			length = size - at;
		print(stream, data + at, length);
		at += length;
	}
	finish_log();
	ssize_t length = pread(file, content, sizeof(content), 0);
	for (char *line = content, *end = content + length; line < end;) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		if (!newline)
			abort();
		take_line(line, (size_t)(newline - line));
		line = newline + 1;
	}
	for (int stream = 0; stream < 2; stream++)
		if (printed_length[stream] != logged_length[stream] || memcmp(printed[stream], logged[stream], printed_length[stream]) != 0)
			abort();
	partial[0].length = partial[1].length = 0;
	return ftruncate(file, 0);
}
