/* See guard.h: memory that is given back after each input, and a die() that goes back to the target. */
#include "guard.h"

#include <stdio.h>

#include "die.h"

/* The real ones. */
#undef malloc
#undef calloc
#undef realloc
#undef reallocarray
#undef free
#undef strdup

struct block {
	struct block *next, **link;
	size_t size;
	/* Behind it as much room again as a header, so that malloc's alignment is kept. */
	_Alignas(16) char bytes[];
};

static struct block *blocks;
jmp_buf fuzz_died;

void *fuzz_malloc(size_t size)
{
	struct block *block = malloc(sizeof(*block) + size);
	if (!block)
		return NULL;
	block->size = size;
	block->next = blocks;
	block->link = &blocks;
	if (blocks)
		blocks->link = &block->next;
	blocks = block;
	return block->bytes;
}

void *fuzz_calloc(size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	void *memory = fuzz_malloc(bytes);
	return memory ? memset(memory, 0, bytes) : NULL;
}

void fuzz_free(void *pointer)
{
	if (!pointer)
		return;
	struct block *block = (struct block *)((char *)pointer - offsetof(struct block, bytes));
	*block->link = block->next;
	if (block->next)
		block->next->link = block->link;
	free(block);
}

/* Always at another place: a pointer into the old one is found out. */
void *fuzz_reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	void *memory = fuzz_malloc(bytes);
	if (memory && old) {
		size_t had = ((struct block *)((char *)old - offsetof(struct block, bytes)))->size;
		memcpy(memory, old, had < bytes ? had : bytes);
		fuzz_free(old);
	}
	return memory;
}

char *fuzz_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = fuzz_malloc(size);
	return copy ? memcpy(copy, text, size) : NULL;
}

void fuzz_free_all(void)
{
	while (blocks)
		fuzz_free(blocks->bytes);
}

/* The text is made all the same: its arguments may be what is wrong. */
static _Noreturn void leave(const char *format, va_list arguments)
{
	char what[512];
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	longjmp(fuzz_died, 1);
}

void die(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	leave(format, arguments);
}

void die_errno(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	leave(format, arguments);
}

void stage(const char *name)
{
	(void)name;
}

void set_fault(const char *point)
{
	if (strlen(point) > 1 << 24)
		abort();
}
