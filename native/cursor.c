/*
 * The values of the bootstrap's attributes, one after another, and the arrays that they are gathered in. The bytes may be
 * anything: each length is checked against what is left before it is used, and strings must end where they say.
 */
#include "cursor.h"

#include <stdlib.h>
#include <string.h>

#include "bootstrap-tags.h"
#include "die.h"

void need(const struct cursor *c, size_t bytes)
{
	if ((size_t)(c->end - c->at) < bytes)
		die("bootstrap: attribute %u is truncated", c->tag);
}

uint32_t take_u32(struct cursor *c)
{
	uint32_t value;
	need(c, sizeof(value));
	memcpy(&value, c->at, sizeof(value));
	c->at += sizeof(value);
	return value;
}

uint64_t take_u64(struct cursor *c)
{
	uint64_t value;
	need(c, sizeof(value));
	memcpy(&value, c->at, sizeof(value));
	c->at += sizeof(value);
	return value;
}

/* `length` bytes that hold exactly one NUL, the last. */
static const char *take_text(struct cursor *c, size_t length)
{
	need(c, length);
	if (length == 0 || memchr(c->at, 0, length) != c->at + length - 1)
		die("bootstrap: attribute %u is not a string", c->tag);
	const char *text = (const char *)c->at;
	c->at += length;
	return text;
}

const char *take_str(struct cursor *c)
{
	uint32_t length = take_u32(c);
	if (length > BOOTSTRAP_MAX_BYTES)
		die("bootstrap: attribute %u holds a string of %u bytes", c->tag, length);
	return take_text(c, (size_t)length + 1);
}

const char *take_rest(struct cursor *c)
{
	return take_text(c, (size_t)(c->end - c->at));
}

/* Grows by doubling: the element that is new is at the returned address, zeroed. */
void *append(void *items_pointer, size_t *count, size_t size)
{
	void *items = *(void **)items_pointer;
	if ((*count & (*count + 1)) == 0 || !items) {
		items = reallocarray(items, 2 * *count + 2, size);
		if (!items)
			die_errno("allocate the bootstrap");
		*(void **)items_pointer = items;
	}
	void *item = (char *)items + (*count)++ * size;
	memset(item, 0, size);
	return item;
}
