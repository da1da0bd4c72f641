/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _BENCH_CLFLUSH_H
#define _BENCH_CLFLUSH_H

void clflush_cache_range(void *addr, unsigned int size);

#endif /* _BENCH_CLFLUSH_H */
