// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the frequency of this machine's TSC in kHz. A guest that is emulated reads
 * the same TSC. On a busy host it cannot find that out by itself: it polls a timer,
 * and does not know when it was not running.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static uint64_t ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Both clocks at one moment: the closest of several looks */
static void look(uint64_t *time, uint64_t *tsc)
{
	uint64_t best = UINT64_MAX;
	int i;

	for (i = 0; i < 50; i++) {
		uint64_t before = __rdtsc(), now = ns(), after = __rdtsc();

		if (after - before < best) {
			best = after - before;
			*time = now;
			*tsc = before + best / 2;
		}
	}
}

int main(void)
{
	uint64_t time[2], tsc[2];

	look(&time[0], &tsc[0]);
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	look(&time[1], &tsc[1]);
	printf("%.0f\n", (tsc[1] - tsc[0]) * 1e6 / (time[1] - time[0]));
	return 0;
}
