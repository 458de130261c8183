/*
 * Stage 0, outside the container: starts it, relays between it and the engine until it runs, then serves its input and
 * output until it ends. It joins no namespace of the container and keeps no mount of it.
 */
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "kernel.h"

static struct monitor monitor = {
	.control = CONTROL_FD, .channel = -1, .signals = -1, .listener = -1, .stdin_fd = -1, .proxy = -1, .output = { -1, -1 },
};

/* 0, or -1 when the engine is gone. */
static int tell_engine(uint32_t type, const void *payload, uint32_t length)
{
	uint8_t message[8 + 1024];
	memcpy(message, &type, 4);
	memcpy(message + 4, &length, 4);
	memcpy(message + 8, payload, length);
	ssize_t n = send(monitor.control, message, 8 + length, MSG_NOSIGNAL);
	/* Before the bootstrap has shown that fd 3 is a socket at all. */
	if (n < 0 && errno == ENOTSOCK)
		n = write(monitor.control, message, 8 + length);
	return n == (ssize_t)(8 + length) ? 0 : -1;
}

static void kill_child(void)
{
	if (monitor.child <= 0)
		return;
	kill(monitor.child, SIGKILL);
	waitpid(monitor.child, &monitor.status, 0);
	monitor.child = 0;
}

/* Nothing came of it: what was made so far goes, and there is neither a record nor a teardown, the engine does that. */
static void undo(void)
{
	kill_child();
	remove_attach_socket(&monitor);
	if (monitor.b)
		remove_empty_log(monitor.b);
}

static _Noreturn void give_up(void)
{
	undo();
	_exit(1);
}

/*
 * Told last: whoever hears of it may try again at once. After GO the engine has written down that the container runs; if it
 * cannot be told otherwise any more, a record and a teardown are the only way that anybody ever learns of it.
 */
static _Noreturn void report_failure(const void *payload, uint32_t length)
{
	int ran = monitor.went && monitor.child > 0;
	undo();
	if (tell_engine(MESSAGE_FAILED, payload, length) == 0 || !ran)
		_exit(1);
	write_exit_record(&monitor);
	run_exit_command(monitor.b);
}

/* A failure that a child has sent. */
_Noreturn void pass_failure_on(const struct packet *failure)
{
	report_failure(failure->payload, failure->length);
}

static void report_to_engine(const struct failure *failure)
{
	uint8_t payload[1024];
	report_failure(payload, encode_failure(failure, payload));
}

static void take_terminal(int fd)
{
	check_pty_master(fd);
	close_fd(&monitor.output[0]);
	monitor.output[0] = fd;
	monitor.stdin_fd = fd;
}

/* The next message from the child, terminals and failures dealt with. 0: the child has closed its end. */
static int next_packet(struct packet *packet)
{
	while (channel_receive(monitor.channel, packet)) {
		if (packet->type == MESSAGE_FAILED)
			pass_failure_on(packet);
		if (packet->type != CHANNEL_PTY || packet->fd < 0)
			return 1;
		take_terminal(packet->fd);
	}
	return 0;
}

static _Noreturn void die_of_lost_child(void)
{
	int status = 0;
	if (monitor.child > 0 && waitpid(monitor.child, &status, 0) == monitor.child) {
		monitor.child = 0;
		if (WIFSIGNALED(status))
			die("the container's process was killed by signal %d", WTERMSIG(status));
	}
	die("the container's process ended before the command ran (status %d)", WEXITSTATUS(status));
}

static void expect_from_child_or(uint32_t other, uint32_t type, struct packet *packet)
{
	if (!next_packet(packet))
		die_of_lost_child();
	if (packet->type != type && packet->type != other)
		die("message %u from the container's process, not %u", packet->type, type);
}

static void expect_from_child(uint32_t type, struct packet *packet)
{
	expect_from_child_or(type, type, packet);
}

static void start_child(const struct bootstrap *b, struct stdio *io)
{
	int ends[2];
	struct packet packet;
	open_channel(ends);
	monitor.channel = ends[0];
	struct child child = { b, io, ends[1] };
	struct spawned spawned = spawn_container(&child);
	close(ends[1]);
	close_fds(io->child, 3);
	close_prepared_mounts(b);
	monitor.child = spawned.pid;
	if (spawned.intermediate) {
		/* The two write to one channel: the command's process may be ready before the other has told its pid. */
		expect_from_child_or(CHANNEL_READY, CHANNEL_PID, &packet);
		if (packet.type == CHANNEL_READY) {
			monitor.was_ready_early = 1;
			expect_from_child(CHANNEL_PID, &packet);
		}
		memcpy(&monitor.child, packet.payload, sizeof(pid_t));
		waitpid(spawned.intermediate, NULL, 0);
	}
}

/* What only the outside can do for the child, while the child is already busy with its mounts. */
static void place_child(const struct bootstrap *b)
{
	if (b->namespaces & K_CLONE_NEWUSER) {
		write_id_maps(b, monitor.child);
		channel_send(monitor.channel, CHANNEL_MAPPED, NULL, 0, -1);
	}
	write_oom_score(b, monitor.child);
}

/* READY to the engine, then its GO; no GO is an engine that died or changed its mind. */
static void wait_for_go(void)
{
	struct packet packet;
	uint32_t message[2], pid = (uint32_t)monitor.child;
	if (!monitor.was_ready_early)
		expect_from_child(CHANNEL_READY, &packet);
	stage("ready");
	if (tell_engine(MESSAGE_READY, &pid, sizeof(pid)) < 0)
		give_up();
	for (size_t got = 0; got < sizeof(message);) {
		/* A container that is killed now must be reaped at once: the end of its pid namespace waits for that. */
		struct pollfd slots[2] = { { .fd = monitor.control, .events = POLLIN }, { .fd = monitor.channel, .events = POLLIN } };
		if (poll(slots, 2, -1) > 0 && slots[1].revents)
			expect_from_child(CHANNEL_GO, &packet);
		ssize_t n = read(monitor.control, (uint8_t *)message + got, sizeof(message) - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			give_up();
		got += (size_t)n;
	}
	if (message[0] != MESSAGE_GO || message[1] != 0)
		die("message %u from the engine, not GO", message[0]);
	stage("go");
}

static void pass_go(const struct bootstrap *b)
{
	struct packet packet;
	int execing = 0;
	/* Whoever connected before GO gets every byte. */
	accept_clients(&monitor);
	for (struct client *c = monitor.clients; c; c = c->next)
		client_readable(&monitor, c);
	sweep_clients(&monitor);
	monitor.went = 1;
	format_time(monitor.started_at);
	apply_rlimits(b, monitor.child);
	channel_send(monitor.channel, CHANNEL_GO, NULL, 0, -1);
	while (next_packet(&packet))
		execing |= packet.type == CHANNEL_EXECING;
	if (!execing)
		die_of_lost_child();
	stage("started");
	close_fd(&monitor.channel);
	tell_engine(MESSAGE_STARTED, "", 0);
	close_fd(&monitor.control);
}

static void use_monitor_ends(const struct stdio *io)
{
	monitor.tty = io->tty;
	if (!io->tty) {
		monitor.stdin_fd = io->monitor[0];
		monitor.output[0] = io->monitor[1];
		monitor.output[1] = io->monitor[2];
	}
	int fds[3] = { monitor.stdin_fd, monitor.output[0], monitor.output[1] };
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
}

static void prepare(const struct bootstrap *b)
{
	raise_file_limit();
	open_chunks(&monitor);
	reserve_ports(b);
	open_attach_socket(b, &monitor);
	open_log(b);
	open_joins(b);
	prepare_mounts(b);
}

_Noreturn void monitor_main(void)
{
	struct stdio io;
	report_failures_to(report_to_engine);
	set_up_descriptors();
	setsid();
	monitor.signals = open_child_signals();
	/* Inherited by the child, which is therefore closed to the container from its first moment. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || chdir("/") < 0)
		die_errno("leave the engine's surroundings");

	stage("bootstrap");
	struct bootstrap *b = read_bootstrap(CONTROL_FD);
	stage("bootstrap");
	monitor.b = b;
	set_monitor_title(b->id);
	prepare(b);
	open_stdio(b, &io);
	start_child(b, &io);
	place_child(b);
	wait_for_go();
	use_monitor_ends(&io);
	pass_go(b);

	monitor.proxy = open_proxy();
	serve_container(&monitor);
	close_proxied_ports();
	release_reservations(&monitor);
	stage("drain");
	finish_log();
	write_exit_record(&monitor);
	remove_attach_socket(&monitor);
	serve_farewell(&monitor);
	finish_proxy();
	if (monitor.released)
		_exit(0);
	run_exit_command(b);
}
