/* dns-latency ADDRESS PORT NAME COUNT: asks for the A record COUNT times, one after another; prints median and 99th percentile in µs. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	unsigned char query[300] = { 0x12, 0x34, 1, 0, 0, 1 }, answer[1500];
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2])) };
	size_t name = strlen(argv[3]), length = 12 + 1 + name + 1 + 4;
	int count = atoi(argv[4]), fd = socket(AF_INET, SOCK_DGRAM, 0);
	double *took = calloc((size_t)count, sizeof(*took));

	query[12] = (unsigned char)name;
	memcpy(query + 13, argv[3], name);
	query[length - 3] = query[length - 1] = 1;
	if (name > 63 || !took || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0)
		return 2;
	for (int i = 0; i < count; i++) {
		double start = now_us();
		if (send(fd, query, length, 0) < 0 || recv(fd, answer, sizeof(answer), 0) < 12)
			return 1;
		took[i] = now_us() - start;
	}
	qsort(took, (size_t)count, sizeof(*took), compare);
	printf("%.1f %.1f\n", took[count / 2], took[count * 99 / 100]);
	return 0;
}
