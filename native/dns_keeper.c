/*
 * The keeper: knows who there is. The engine brings a container's names and sockets and takes it away again; a container
 * whose first process has ended is dropped unasked, since an open socket would keep its network namespace alive.
 */
#include "dns.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"
#include "kernel.h"

enum {
	IMPATIENT_S = 2, /* with an engine that connects and says nothing, and with an answerer that takes nothing */
	FIRST_USER_MS = 10000, /* nobody came: the engine that started us has died */
	SHORT_LIFE_MS = 1000, /* an answerer that dies sooner than this is started again no more than once so often */
	ROOT_FD = 5,
};

static struct watch listener = { .fd = -1 }, channel = { .fd = -1 };
static struct member *members;
static pid_t answerer;
static int64_t answerer_started;
static int is_wanted; /* by somebody who has started it and not come yet */

static void start_answerer(void);

static struct member *find_member(const char *id)
{
	struct member *member = members;
	while (member && memcmp(member->id, id, DNS_ID_LENGTH) != 0)
		member = member->next;
	return member;
}

static void free_member(struct member *member)
{
	struct member **link = &members;
	while (*link != member)
		link = &(*link)->next;
	*link = member->next;
	close_watch(&member->watch);
	close_fd(&member->udp);
	close_fd(&member->tcp);
	free(member->text);
	bury(&member->object);
}

/* An answerer that takes nothing for seconds is stuck: the next one hears everything at its start. */
static void tell_answerer(const struct control_message *message)
{
	if (send_control(channel.fd, message) < 0 && answerer > 0)
		kill(answerer, SIGKILL);
}

static void member_ended(struct watch *w, uint32_t events)
{
	static struct control_message message;
	struct member *member = (struct member *)((char *)w - offsetof(struct member, watch));
	(void)events;
	message.header = (struct control_header){ .version = CONTROL_VERSION, .type = CONTROL_REMOVE };
	memcpy(message.header.id, member->id, DNS_ID_LENGTH);
	free_member(member);
	tell_answerer(&message);
}

static struct member *add_member(const char *id, int pidfd)
{
	struct member *member = calloc(1, sizeof(*member));
	if (!member)
		return NULL;
	memcpy(member->id, id, DNS_ID_LENGTH);
	member->udp = member->tcp = -1;
	member->watch = (struct watch){ .fd = pidfd, .ready = member_ended };
	if (watch(&member->watch, EPOLLIN) < 0) {
		free(member);
		return NULL;
	}
	member->next = members;
	members = member;
	is_wanted = 0;
	return member;
}

static int keep_text(struct member *member, const struct control_message *message)
{
	char *text = malloc(message->text_length + 1);
	if (!text)
		return 0;
	memcpy(text, message->text, message->text_length);
	free(member->text);
	member->text = text;
	member->text_length = message->text_length;
	return 1;
}

/* The answerer gets what is checked: lines that make sense. */
static int is_good_text(const struct control_message *message)
{
	struct dns_container *names = dns_enter(message->text, message->text_length);
	dns_remove(names);
	return names != NULL;
}

static enum control_reply put_member(struct control_message *message)
{
	struct member *member = find_member(message->header.id);
	if (!is_good_text(message) || (message->fds_count != 0 && message->fds_count != 3))
		return REPLY_BAD;
	if (message->fds_count == 0 && !member)
		return REPLY_UNKNOWN;
	if (message->fds_count == 3) {
		if (member)
			free_member(member);
		member = add_member(message->header.id, message->fds[2]);
		if (!member)
			return REPLY_BAD;
		member->udp = message->fds[0];
		member->tcp = message->fds[1];
		message->fds_count = 2; /* the pidfd is ours alone */
	}
	if (!keep_text(member, message))
		return REPLY_BAD;
	tell_answerer(message);
	message->fds_count = 0; /* they stay open: the member's */
	return REPLY_DONE;
}

static enum control_reply remove_member(const struct control_message *message)
{
	struct member *member = find_member(message->header.id);
	if (member) {
		free_member(member);
		tell_answerer(message);
	}
	return members ? REPLY_DONE : REPLY_LAST;
}

static enum control_reply obey(struct control_message *message)
{
	if (message->header.version != CONTROL_VERSION)
		return REPLY_VERSION;
	switch (message->header.type) {
	case CONTROL_PUT:
		return put_member(message);
	case CONTROL_REMOVE:
		return remove_member(message);
	default:
		return REPLY_BAD;
	}
}

static void be_impatient(int fd)
{
	struct timeval patience = { .tv_sec = IMPATIENT_S };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

static void engine_ready(struct watch *w, uint32_t events)
{
	static struct control_message message;
	cleanup_fd int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
	(void)events;
	if (fd < 0)
		return;
	be_impatient(fd);
	if (receive_control(fd, &message) <= 0)
		return;
	uint32_t said = obey(&message);
	close_control_fds(&message);
	/* Whoever connects from here on finds nobody, and starts the next one. */
	if (said == REPLY_LAST) {
		close_watch(&listener);
		is_wanted = 0;
	}
	(void)!send(fd, &said, sizeof(said), MSG_NOSIGNAL);
}

static void tell_servers(void)
{
	static struct control_message message;
	message.header = (struct control_header){ .version = CONTROL_VERSION, .type = CONTROL_SERVERS };
	memcpy(message.text, &host_servers, sizeof(host_servers));
	message.text_length = sizeof(host_servers);
	tell_answerer(&message);
}

/* A byte: have the host's servers changed? The end: it has died. */
static void answerer_ready(struct watch *w, uint32_t events)
{
	char bytes[64];
	(void)events;
	ssize_t n = recv(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n > 0 && reread_resolv_conf(ROOT_FD))
		tell_servers();
	if (n > 0 || (n < 0 && errno == EAGAIN))
		return;
	close_watch(w);
	waitpid(answerer, NULL, 0);
	start_answerer();
}

static _Noreturn void become_answerer(int channel_fd)
{
	set_title("tsrun-dns answering");
	forget_watches();
	close(ROOT_FD);
	close(listener.fd);
	for (struct member *m = members; m; m = m->next)
		close(m->watch.fd);
	answer_queries(channel_fd, members);
}

static void start_answerer(void)
{
	int ends[2];
	int64_t lived = now_ms() - answerer_started;
	if (answerer > 0 && lived < SHORT_LIFE_MS) {
		struct timespec rest = { .tv_nsec = (SHORT_LIFE_MS - lived) * 1000000L };
		nanosleep(&rest, NULL);
	}
	reread_resolv_conf(ROOT_FD);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		die_errno("make a channel");
	answerer_started = now_ms();
	pid_t keeper = getpid();
	answerer = fork();
	if (answerer < 0)
		die_errno("fork");
	if (answerer == 0) {
		close(ends[0]);
		/* Readable as often as there is something, and never waited for. */
		fcntl(ends[1], F_SETFL, O_NONBLOCK);
		if (getppid() != keeper)
			_exit(1);
		become_answerer(ends[1]);
	}
	close(ends[1]);
	be_impatient(ends[0]);
	channel = (struct watch){ .fd = ends[0], .ready = answerer_ready };
	if (watch(&channel, EPOLLIN) < 0)
		die_errno("watch the channel");
}

static void set_up(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	setsid();
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || (root != ROOT_FD && dup3(root, ROOT_FD, O_CLOEXEC) < 0))
		die_errno("open /");
	k_close_range(ROOT_FD + 1, ~0U, 0);
	fcntl(CONTROL_LISTENER_FD, F_SETFD, FD_CLOEXEC);
	fcntl(LOCK_FD, F_SETFD, FD_CLOEXEC);
}

/* Ends with its last member; the lock goes with the last descriptor of it. */
_Noreturn void dns_main(const char *empty_directory, const char *title)
{
	char text[256];
	strncpy(text, title, sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	set_up();
	drop_root(empty_directory);
	set_title(text);
	if (open_watches() < 0)
		die_errno("create an epoll set");
	start_answerer();
	listener = (struct watch){ .fd = CONTROL_LISTENER_FD, .ready = engine_ready };
	if (watch(&listener, EPOLLIN) < 0)
		die_errno("watch for the engine");
	is_wanted = 1;
	while (members || is_wanted) {
		serve_watches(is_wanted ? FIRST_USER_MS : -1);
		if (now_ms() - answerer_started >= FIRST_USER_MS)
			is_wanted = 0;
	}
	/* Nobody that waits for a reply is left without knowing: their connections end with this process. */
	kill(answerer, SIGKILL);
	waitpid(answerer, NULL, 0);
	_exit(0);
}
