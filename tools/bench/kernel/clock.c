// SPDX-License-Identifier: GPL-2.0-only
/*
 * The clock. It has a file of its own, so that step.c can intercept the call and return
 * the number of instructions instead.
 */

#include "bench.h"

/* The CPU's time-stamp counter, after all earlier instructions have completed */
u64 bench_clock(void)
{
	u32 low, high;

	asm volatile("mfence; lfence; rdtsc; lfence"
		     : "=a" (low), "=d" (high) : : "memory");

	return (u64)high << 32 | low;
}
