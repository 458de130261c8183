/* The monitor's own structures: one event loop, two output streams, any number of attached clients. */
#pragma once

#include <poll.h>
#include <stdint.h>
#include <sys/types.h>

#include "init.h"

enum {
	STREAM_BYTES = 65536,
	FRAME_HEADER = 8,
	MAX_CLIENTS = 64,
	/* Chunks that can be on their way to a client. */
	CHUNK_STDOUT = 0,
	CHUNK_STDERR = 1,
	CHUNK_EXIT = 2,
	CHUNKS = 3,
	CONTROL_BYTES = 40, /* the longest control frame: HOLD_PORT */
	TIME_BYTES = 72, /* what the compiler believes a time may take; 31 in truth */
	STUCK_MS = 10000, /* a client that took nothing for so long after the end is dropped */
};

/* What is sent to clients: a frame's header and payload in one piece. Refilled only when `waiting` is 0. */
struct chunk {
	uint8_t *bytes; /* mapped on first use: an idle monitor has none */
	size_t length;
	unsigned waiting; /* clients that have not taken all of it */
};

struct client {
	struct client *next;
	int fd;
	int owner, wrote_stdin, blocked, input_ended, dead;
	uint8_t subscription;
	/* input */
	uint8_t header[FRAME_HEADER], small[CONTROL_BYTES];
	unsigned header_length, small_length;
	uint32_t payload_left;
	uint8_t *input;
	size_t input_at, input_length;
	/* output */
	unsigned pending; /* bit n: chunk n is not sent yet */
	int current; /* the chunk that is half sent, or -1 */
	size_t sent;
	int64_t last_progress;
};

struct monitor {
	const struct bootstrap *b;
	int control, channel, signals, listener;
	pid_t child;
	int stdin_fd, output[2]; /* with a terminal, stdin_fd == output[0] */
	int tty;
	int proxy; /* readable when proxied ports have something to do; -1: there are none */
	struct chunk chunks[CHUNKS];
	struct client *clients;
	unsigned clients_count;
	int exited, status; /* the child is reaped */
	int was_ready_early; /* READY came before the pid */
	int went; /* GO has been passed on */
	int released; /* an owner has done the teardown */
	int64_t linger_until; /* once everybody has been told the end: when it is enough */
	char started_at[TIME_BYTES];
};

/* monitor_setup.c */
void set_up_descriptors(void);
int open_child_signals(void);
void set_monitor_title(const char *id);

/* clock.c */
int64_t now_ms(void);
void format_time(char text[TIME_BYTES]);

/* attach_socket.c */
void open_attach_socket(const struct bootstrap *b, struct monitor *m);
void remove_attach_socket(const struct monitor *m);

/* attach.c */
void accept_clients(struct monitor *m);
void client_readable(struct monitor *m, struct client *c);
void client_resume_input(struct monitor *m);
void client_send(struct monitor *m, struct client *c);
void broadcast(struct monitor *m, int chunk, uint8_t subscription);
void drop_client(struct monitor *m, struct client *c);
void sweep_clients(struct monitor *m);
void close_stdin(struct monitor *m);

/* log.c */
void open_log(const struct bootstrap *b);
void log_output(int stream, const uint8_t *data, size_t length);
void release_log_buffer(void);
void finish_log(void);
void remove_empty_log(const struct bootstrap *b);

/* exit.c */
void write_exit_record(struct monitor *m);
int exit_code_of(int status);
_Noreturn void run_exit_command(const struct bootstrap *b);

/* live_ports.c */
int change_port(struct monitor *m, int hold, const uint8_t *request, size_t length); /* an errno; 0: done */
void release_reservations(struct monitor *m);

/* proxy.c: published ports that are served here instead of by the kernel. */
int open_proxy(void);
void serve_proxy(void);
void release_proxy_buffer(void);
void close_proxied_ports(void);
void finish_proxy(void);

/* output.c: moves the container's output to the log and the clients. */
void open_chunks(struct monitor *m);
void serve_container(struct monitor *m);
void serve_farewell(struct monitor *m);
