/*
 * The traffic of the benchmark, without dependencies so that it runs in any container.
 *
 *	traffic serve PORT                      accepts on all addresses: a client that sends nothing is let go at once
 *	traffic sink PORT                       reads whatever clients send
 *	traffic connect ADDRESS PORT SECONDS    opens and closes connections; prints how many a second
 *	traffic send ADDRESS PORT SECONDS       one stream; prints gigabits a second
 *	traffic reach ADDRESS PORT...           connects to each port once; prints how many answered
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 128 * 1024 };
static char block[BLOCK];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in place(const char *address, const char *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port)) };
	if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
		die(address);
	return at;
}

/* -1 where nobody answers within two seconds. Closing resets, so that no port of ours is left waiting. */
static int dial(const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct linger reset = { .l_onoff = 1 };
	struct timeval limit = { .tv_sec = 2 };
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void serve(const char *port, int reads)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = place("0.0.0.0", port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 4096) < 0)
		die("listen");
	for (;;) {
		int client = accept(fd, NULL, NULL);
		while (reads && client >= 0 && read(client, block, BLOCK) > 0)
			;
		if (client >= 0)
			close(client);
	}
}

static int connect_for(const struct sockaddr_in *at, double seconds)
{
	double start = now(), end = start + seconds, last = start;
	long done = 0, failed = 0;
	for (; last < end; last = now()) {
		int fd = dial(at);
		if (fd < 0) {
			failed++;
			continue;
		}
		close(fd);
		done++;
	}
	printf("%.0f\n", (double)done / (last - start));
	return failed > done ? 1 : 0;
}

static int send_for(const struct sockaddr_in *at, double seconds)
{
	int fd = dial(at);
	if (fd < 0)
		die("connect");
	double start = now(), end = start + seconds, last = start, bytes = 0;
	for (; last < end; last = now()) {
		ssize_t sent = write(fd, block, BLOCK);
		if (sent < 0)
			die("send");
		bytes += (double)sent;
	}
	printf("%.2f\n", bytes * 8 / (last - start) / 1e9);
	return 0;
}

static int reach(const char *address, char **ports)
{
	int reached = 0;
	for (; *ports; ports++) {
		struct sockaddr_in at = place(address, *ports);
		int fd = dial(&at);
		if (fd < 0) {
			fprintf(stderr, "traffic: port %s: %s\n", *ports, strerror(errno));
			continue;
		}
		reached++;
		close(fd);
	}
	printf("%d\n", reached);
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "";
	if (!strcmp(mode, "serve") || !strcmp(mode, "sink"))
		serve(argv[2], !strcmp(mode, "sink"));
	if (!strcmp(mode, "reach"))
		return reach(argv[2], argv + 3);
	if (argc < 5 || (strcmp(mode, "connect") && strcmp(mode, "send"))) {
		fputs("usage: traffic serve|sink PORT | connect|send ADDRESS PORT SECONDS | reach ADDRESS PORT...\n", stderr);
		return 2;
	}
	struct sockaddr_in at = place(argv[2], argv[3]);
	return !strcmp(mode, "connect") ? connect_for(&at, atof(argv[4])) : send_for(&at, atof(argv[4]));
}
