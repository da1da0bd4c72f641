// SPDX-License-Identifier: GPL-2.0-only
/*
 * Write entries back to memory, for page walks that do not snoop caches. User-mode Linux
 * has no function for that, but can use the instructions of the CPU.
 *
 * The peers use what x86 has: flush each line, between two full fences. This series
 * writes back without dropping the line if the CPU supports that (CLWB), and needs one
 * fence, afterwards.
 */

#include <linux/cache.h>
#include <linux/export.h>
#include <linux/init.h>
#include <asm/barrier.h>

#include "bench.h"

#define LINE		64UL

static bool has_clwb __ro_after_init;

static int __init bench_find_clwb(void)
{
	u32 eax = 7, ebx, ecx = 0, edx;

	asm volatile("cpuid"
		     : "+a" (eax), "=b" (ebx), "+c" (ecx), "=d" (edx));
	has_clwb = ebx & BIT(24);

	return 0;
}
early_initcall(bench_find_clwb);

static void flush_lines(void *addr, size_t size)
{
	char *line = PTR_ALIGN_DOWN(addr, LINE);

	for (; line < (char *)addr + size; line += LINE)
		asm volatile("clflushopt %0" : "+m" (*line));
}

static void write_back_lines(void *addr, size_t size)
{
	char *line = PTR_ALIGN_DOWN(addr, LINE);

	for (; line < (char *)addr + size; line += LINE)
		asm volatile("clwb %0" : "+m" (*line));
}

void clflush_cache_range(void *addr, unsigned int size)
{
	mb();	/* stores before the flush */
	flush_lines(addr, size);
	mb();	/* in memory on return */
}
EXPORT_SYMBOL_GPL(clflush_cache_range);

void bench_write_back(void *addr, size_t size)
{
	if (has_clwb)
		write_back_lines(addr, size);
	else
		flush_lines(addr, size);
	mb();	/* in memory on return */
}
