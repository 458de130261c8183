/*
 * How a failure travels. Each phase names itself with stage(); die() and die_errno() report that name, what was tried and
 * the errno to whoever report_failures_to() named (the engine, or the monitor for a child), and end the process.
 * The stage's name is also a fault point: tests make a run fail, kill it, or hold it, exactly there.
 */
#pragma once

#include <stdarg.h>

struct failure {
	const char *stage;
	char what[512];
	int error;
	int exec; /* the command itself could not be executed: 126 or 127, not 125 */
};

void stage(const char *name);
const char *current_stage(void);
void set_fault(const char *point);
void print_fault_points(void);
void report_failures_to(void (*report)(const struct failure *));
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die_exec(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
