/* SPDX-License-Identifier: GPL-2.0 */
#ifndef CLOCK_H
#define CLOCK_H

#include <poll.h>
#include <stdbool.h>
#include <time.h>

static void sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Without giving the CPU away */
static void spin_us(long us)
{
	long end = now_us() + us;

	while (now_us() < end)
		;
}

/*
 * Wait for events in rounds, not by the clock, which advances while a busy host does not
 * run the guest; a round lasts until the guest has run. So nothing fails because it is
 * slow, and failures take a quarter of a minute.
 */
#define PATIENCE	10000

#define wait_until(condition) ({					\
	int rounds_left = PATIENCE;					\
									\
	while (!(condition) && rounds_left-- > 0)			\
		sleep_ms(1);						\
	rounds_left >= 0;						\
})

/* Something comes to one of @n descriptors. */
static bool comes(struct pollfd *fd, int n)
{
	int rounds = PATIENCE;

	while (poll(fd, n, 1) <= 0 && rounds-- > 0)
		;
	return rounds >= 0;
}

#endif
