/* Control messages: a header, lines of text, and descriptors with them. One datagram each, so there is nothing to reassemble. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "cleanup.h"
#include "dns.h"

union rights {
	char bytes[CMSG_SPACE(3 * sizeof(int))];
	struct cmsghdr align;
};

void close_control_fds(struct control_message *message)
{
	for (int i = 0; i < message->fds_count; i++)
		close_fd(&message->fds[i]);
	message->fds_count = 0;
}

static void take_rights(struct msghdr *header, struct control_message *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count && message->fds_count < 3; i++)
			memcpy(&message->fds[message->fds_count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
}

int receive_control(int fd, struct control_message *message)
{
	union rights rights;
	struct iovec parts[2] = { { &message->header, sizeof(message->header) }, { message->text, sizeof(message->text) } };
	struct msghdr header = { .msg_iov = parts, .msg_iovlen = 2, .msg_control = &rights, .msg_controllen = sizeof(rights) };
	message->fds_count = 0;
	ssize_t n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return (int)n;
	take_rights(&header, message);
	if ((size_t)n < sizeof(message->header) || header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		close_control_fds(message);
		errno = EPROTO;
		return -1;
	}
	message->text_length = (size_t)n - sizeof(message->header);
	return 1;
}

int send_control(int fd, const struct control_message *message)
{
	union rights rights = { 0 };
	struct iovec parts[2] = { { (void *)&message->header, sizeof(message->header) },
				  { (void *)message->text, message->text_length } };
	struct msghdr header = { .msg_iov = parts, .msg_iovlen = 2 };
	if (message->fds_count > 0) {
		size_t length = (size_t)message->fds_count * sizeof(int);
		header.msg_control = &rights;
		header.msg_controllen = CMSG_SPACE(length);
		struct cmsghdr *c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(length);
		memcpy(CMSG_DATA(c), message->fds, length);
	}
	return sendmsg(fd, &header, MSG_NOSIGNAL) < 0 ? -1 : 0;
}
