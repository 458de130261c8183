/*
 * The socket pair between the monitor and the process that becomes the container. SOCK_SEQPACKET: a message is whole or not
 * there, and the end of the last copy of the child's side, which exec closes, is the news that the command runs.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "init.h"

void open_channel(int ends[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		die_errno("create the channel to the container");
}

int channel_send(int fd, uint32_t type, const void *payload, uint32_t length, int passed_fd)
{
	uint32_t header[2] = { type, length };
	struct iovec parts[2] = { { header, sizeof(header) }, { (void *)payload, length } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = length ? 2 : 1 };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];

	if (passed_fd >= 0) {
		memset(control, 0, sizeof(control));
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(rights), &passed_fd, sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int passed_fd_of(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		int fd;
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
			continue;
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		return fd;
	}
	return -1;
}

int channel_receive(int fd, struct packet *packet)
{
	uint32_t header[2];
	struct iovec parts[2] = { { header, sizeof(header) }, { packet->payload, sizeof(packet->payload) } };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct msghdr message = {
		.msg_iov = parts, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof(control),
	};
	ssize_t n;

	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return 0;
	packet->fd = passed_fd_of(&message);
	if ((size_t)n < sizeof(header) || header[1] != (size_t)n - sizeof(header))
		die("a malformed message between the container and its monitor");
	packet->type = header[0];
	packet->length = header[1];
	return 1;
}

void channel_expect(int fd, uint32_t type)
{
	struct packet packet;

	/* The monitor gave up or died: there is nobody left to report to. */
	if (!channel_receive(fd, &packet))
		_exit(125);
	if (packet.type != type)
		die("message %u between the container and its monitor, not %u", packet.type, type);
}

static uint32_t put_u32(uint8_t *to, uint32_t at, uint32_t value)
{
	memcpy(to + at, &value, sizeof(value));
	return at + (uint32_t)sizeof(value);
}

static uint32_t put_text(uint8_t *to, uint32_t at, const char *text)
{
	uint32_t length = (uint32_t)strnlen(text, 480);
	at = put_u32(to, at, length);
	memcpy(to + at, text, length);
	return at + length;
}

/* The payload of FAILED: {u32 is it the exec, i32 errno, str stage, str what}; at most 976 bytes. */
uint32_t encode_failure(const struct failure *failure, uint8_t payload[1024])
{
	uint32_t at = put_u32(payload, 0, (uint32_t)failure->exec);
	at = put_u32(payload, at, (uint32_t)failure->error);
	at = put_text(payload, at, failure->stage);
	return put_text(payload, at, failure->what);
}
