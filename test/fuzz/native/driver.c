/*
 * Runs a libFuzzer target without libFuzzer, for CI: the files of the corpus, then mutants of them until the time is over. No
 * coverage is measured; long runs with coverage are scripts/fuzz's. Usage: PROGRAM SECONDS SEED FILE...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Not the ones of guard.h: what is kept here is kept. */
#undef malloc
#undef free

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FILES = 1024, MAX_BYTES = 65536 };

static struct {
	uint8_t *bytes;
	size_t size;
} inputs[MAX_FILES];
static unsigned inputs_count;
static uint32_t state;
static uint8_t mutant[MAX_BYTES];

/* xorshift32: the same for the same seed. */
static uint32_t below(uint32_t limit)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return limit ? state % limit : 0;
}

static void read_input(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = malloc(MAX_BYTES);
	if (!file || !bytes || inputs_count == MAX_FILES) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(2);
	}
	inputs[inputs_count].size = fread(bytes, 1, MAX_BYTES, file);
	inputs[inputs_count++].bytes = bytes;
	fclose(file);
}

static size_t copy_of(unsigned number)
{
	memcpy(mutant, inputs[number].bytes, inputs[number].size);
	return inputs[number].size;
}

static void put_number(size_t at, size_t size)
{
	static const uint32_t numbers[] = { 0, 1, 2, 4, 16, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff };
	uint32_t number = numbers[below(sizeof(numbers) / sizeof(*numbers))];
	for (size_t i = 0; i < 4 && at + i < size; i++)
		mutant[at + i] = (uint8_t)(number >> 8 * i);
}

static size_t mutate(size_t size)
{
	size_t at = below((uint32_t)size + 1), length;
	switch (below(6)) {
	case 0:
		if (at < size)
			mutant[at] ^= (uint8_t)(1 << below(8));
		return size;
	case 1:
		put_number(at, size);
		return size;
	case 2:
		return at;
	case 3: /* a piece is taken out */
		length = below((uint32_t)(size - at) + 1);
		memmove(mutant + at, mutant + at + length, size - at - length);
		return size - length;
	case 4: { /* a piece of another one is put in */
		unsigned other = below(inputs_count);
		size_t from = below((uint32_t)inputs[other].size + 1);
		length = below((uint32_t)(inputs[other].size - from) + 1);
		if (size + length > MAX_BYTES)
			return size;
		memmove(mutant + at + length, mutant + at, size - at);
		memcpy(mutant + at, inputs[other].bytes + from, length);
		return size + length;
	}
	default:
		if (at < size)
			mutant[at] = (uint8_t)below(256);
		return size;
	}
}

static void run(size_t size)
{
	/* In memory of exactly its size, so that the sanitizer sees the first byte behind it. */
	uint8_t *exact = malloc(size ? size : 1);
	if (!exact)
		exit(2);
	memcpy(exact, mutant, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	time_t end = time(NULL) + atoi(argv[1]);
	state = (uint32_t)strtoul(argv[2], NULL, 10) | 1;
	for (int i = 3; i < argc; i++)
		read_input(argv[i]);
	for (unsigned i = 0; i < inputs_count; i++)
		run(copy_of(i));
	unsigned long executions = 0;
	do {
		for (int i = 0; i < 256; i++, executions++) {
			size_t size = copy_of(below(inputs_count));
			for (unsigned rounds = 1 + below(4); rounds > 0; rounds--)
				size = mutate(size);
			run(size);
		}
	} while (time(NULL) < end);
	printf("%lu executions\n", executions);
	return 0;
}
