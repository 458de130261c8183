/* Sends each datagram back to where it came from. busybox has no program that serves UDP. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
	struct sockaddr_storage peer;
	char buffer[65536];
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	address.sin6_port = htons(argc > 1 ? atoi(argv[1]) : 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		perror("bind");
		return 1;
	}
	puts("listening");
	fflush(stdout);
	for (;;) {
		socklen_t length = sizeof peer;
		ssize_t size = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&peer, &length);

		if (size >= 0)
			sendto(fd, buffer, size, 0, (struct sockaddr *)&peer, length);
	}
}
