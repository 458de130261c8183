/*
 * Put before each file of native/ that is fuzzed. In tsrun-init the end of the process is the end of its memory, and die() is
 * the end of the process: here both are the end of one input.
 */
#pragma once

#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

void *fuzz_malloc(size_t size);
void *fuzz_calloc(size_t count, size_t size);
void *fuzz_reallocarray(void *old, size_t count, size_t size);
void fuzz_free(void *pointer);
char *fuzz_strdup(const char *text);
void fuzz_free_all(void);

extern jmp_buf fuzz_died;

#define malloc fuzz_malloc
#define calloc fuzz_calloc
#define realloc(old, size) fuzz_reallocarray(old, 1, size)
#define reallocarray fuzz_reallocarray
#define free fuzz_free
#undef strdup
#define strdup fuzz_strdup
