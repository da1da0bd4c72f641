// SPDX-License-Identifier: GPL-2.0-only
/*
 * The clock. A function in a file of its own, so that step.c can take its place
 * and have it come back with a number of instructions.
 */

#include "bench.h"

/* The processor's, with everything before it done. */
u64 bench_clock(void)
{
	u32 low, high;

	asm volatile("mfence; lfence; rdtsc; lfence"
		     : "=a" (low), "=d" (high) : : "memory");

	return (u64)high << 32 | low;
}
