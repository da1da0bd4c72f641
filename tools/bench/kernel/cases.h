/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A case is a measured operation, or a map and the unmap of the same range.
 */
#ifndef _BENCH_CASES_H
#define _BENCH_CASES_H

#include <linux/types.h>

#define BENCH_SAMPLES		3	/* in one boot */
#define BENCH_MAX_PASSES	64
#define BENCH_MAX_LIBS		8
#define BENCH_DOMAINS		64

struct bench_run;

/**
 * struct bench_case - description of a case
 * @name: name in the output
 * @pass: does the operation once for each address of the sequence, and sets the
 *	cycles that it took: [0] for the map or the only operation, [1] for the unmap
 * @prepare: called once with the new domain, before the passes; may be NULL
 * @each: every pass creates a domain of its own
 * @libs: which libraries and lower bounds to measure
 * @noncoherent: entries are written back to memory
 * @pgsize: size of a page in bytes
 * @pgcount: number of pages of a call
 * @start: first address
 * @stride: distance between addresses
 * @nr: number of addresses
 * @regions: instead of @start and @stride: number of regions of 2 MiB, in which the
 *	addresses are random
 * @total: instead of all these: size in bytes of an address space that is filled and
 *	emptied
 * @passes: number of passes of a sample, which is their median
 */
struct bench_case {
	const char *name;
	int (*pass)(struct bench_run *run, u64 cycles[2]);
	int (*prepare)(struct bench_run *run);
	bool each;
	enum {
		BENCH_ALL,
		BENCH_NO_FLOORS,
		BENCH_CHECKED,	/* libraries, and the lower bound of this name */
		BENCH_SPLITTERS,
	} libs;
	bool noncoherent;
	size_t pgsize;
	size_t pgcount;
	unsigned long start;
	unsigned long stride;
	unsigned int nr;
	unsigned int regions;
	unsigned long total;
	unsigned int passes;
};

/**
 * struct bench_run - a case with a library
 * @test: the case
 * @lib: the library
 * @seq: the addresses
 * @pattern: instead of @seq, for a replay
 * @domain: the current domain, or NULL
 * @others: further domains, for cases with many
 * @pages: number of page-table pages before the domain was created
 * @map: cycles of each pass, for maps or the only operation
 * @unmap: cycles of each pass, for unmaps
 */
struct bench_run {
	const struct bench_case *test;
	const struct bench_lib *lib;
	const struct bench_sequence *seq;
	const struct bench_pattern *pattern;
	struct iommu_domain *domain;
	struct iommu_domain *others[BENCH_DOMAINS];
	unsigned long pages;
	u64 map[BENCH_MAX_PASSES];
	u64 unmap[BENCH_MAX_PASSES];
};

unsigned long bench_pages(void);
int bench_measure(const char *name, unsigned int ops,
		  const struct bench_run *what);
int bench_run_replays(void);

#endif /* _BENCH_CASES_H */
