/* SPDX-License-Identifier: GPL-2.0 */
/* Suspend to RAM (S3); wake.py wakes the machine. */
#ifndef SUSPEND_H
#define SUSPEND_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool write_power(const char *name, const char *what)
{
	char path[64];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "/sys/power/%s", name);
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, what, strlen(what)) == (ssize_t)strlen(what);
	close(fd);
	return ok;
}

/* How often the machine was reset in order to resume, from firmware_resume.c */
static long resets(void)
{
	FILE *file = fopen("/sys/module/firmware_resume/parameters/resets", "r");
	long n = -1;

	if (file) {
		if (fscanf(file, "%ld", &n) != 1)
			n = -1;
		fclose(file);
	}
	return n;
}

static bool sleep_and_wake(void)
{
	long before = resets();

	return before >= 0 && write_power("mem_sleep", "deep") && write_power("state", "mem") &&
	       resets() == before + 1;
}

#endif
