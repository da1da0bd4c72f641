/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DMA faults, which only the kernel's log contains.
 *
 * The driver prints ten messages in 5 s, of which a fault's report takes three (one
 * is not printed): a fourth fault in 5 s would be lost. It counts them in jiffies,
 * which may be slower than other clocks on a busy host.
 */
#ifndef FAULT_LOG_H
#define FAULT_LOG_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/times.h>
#include <unistd.h>

#include "clock.h"

/* When the last three faults were; shared, as every test is a process of its own */
static struct pace {
	long ms[3];
	unsigned int n;
} *pace;

static __attribute__((constructor)) void pace_init(void)
{
	pace = mmap(NULL, sizeof(*pace), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* The kernel's jiffies, in ms: what times() returns is made of them. */
static long jiffies_ms(void)
{
	return times(NULL) * (1000 / sysconf(_SC_CLK_TCK));
}

static void count_fault(void)
{
	pace->ms[pace->n++ % 3] = jiffies_ms();
}

/* Opens the log at its end. The next fault will be printed. */
static int log_open(void)
{
	long oldest = pace->ms[pace->n % 3], wait;
	int fd;

	while (oldest && (wait = oldest + 5200 - jiffies_ms()) > 0)
		sleep_ms(wait);
	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/* A line with all three of these comes into the log; closes it. */
static bool log_has(int log, const char *kind, const char *where, const char *why)
{
	char line[1024];
	bool found = false;
	int rounds = PATIENCE;
	ssize_t n;

	while (!found && rounds-- > 0) {
		n = read(log, line, sizeof(line) - 1);
		if (n < 0) {
			sleep_ms(1);
			continue;
		}
		line[n] = 0;
		if (strstr(line, "fault reason"))
			fprintf(stderr, "# %.*s\n", (int)strcspn(line, "\n"), line);
		found = strstr(line, kind) && strstr(line, where) && strstr(line, why);
	}
	close(log);
	return found;
}

#endif
