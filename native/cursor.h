/* Reads what is inside the bootstrap's attributes. Bytes that are not as they should be end in die(). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What is left of attribute `tag`. */
struct cursor {
	const uint8_t *at, *end;
	uint32_t tag;
};

/* Dies unless so many bytes are left. */
void need(const struct cursor *c, size_t bytes);
uint32_t take_u32(struct cursor *c);
uint64_t take_u64(struct cursor *c);
/* {u32 length, bytes, NUL}; it points into the attribute. */
const char *take_str(struct cursor *c);
/* All that is left, which ends with the only NUL. */
const char *take_rest(struct cursor *c);

/* A further element, zeroed, of the array that `items_pointer` points to. */
void *append(void *items_pointer, size_t *count, size_t size);
#define APPEND(array) append(&(array).items, &(array).count, sizeof(*(array).items))
