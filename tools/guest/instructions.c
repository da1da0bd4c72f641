// SPDX-License-Identifier: GPL-2.0
/*
 * Measures a loop with a known number of instructions, on machines whose clock counts
 * instructions.  Prints nanoseconds for 1000 instructions: for the shortest of many
 * short loops, which was not interrupted, and for a long one, including everything
 * that the kernel did meanwhile.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define SHORT	10000UL
#define LONG	200000000UL
#define TRIES	1000

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Runs @count instructions, an even number, and reads the clock. */
static uint64_t run(uint64_t count)
{
	uint64_t left = count / 2, start = now_ns();

	asm volatile("1: dec %0\n\tjnz 1b" : "+r" (left) : : "cc");
	return now_ns() - start;
}

static uint64_t shortest(uint64_t count)
{
	uint64_t best = -1ULL, ns;
	int i;

	for (i = 0; i < TRIES; i++) {
		ns = run(count);
		if (ns < best)
			best = ns;
	}
	return best;
}

int main(void)
{
	/* the difference of two loops does not include reading the clock */
	uint64_t undisturbed = shortest(2 * SHORT) - shortest(SHORT);

	printf("undisturbed_ns=%.3f with_interrupts_ns=%.3f\n",
	       undisturbed * 1000.0 / SHORT, run(LONG) * 1000.0 / LONG);
	return 0;
}
