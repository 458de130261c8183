/* Included in front of every source for a build in which no process closes itself to others: see joining.test.ts. */
#include <sys/prctl.h>

#define prctl(option, ...) ((option) == PR_SET_DUMPABLE ? 0 : prctl(option, __VA_ARGS__))
