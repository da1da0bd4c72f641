/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A case is an operation that is measured, or a map and the unmap of what it
 * mapped.
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
 * struct bench_case - what is measured
 * @name: in the output
 * @pass: does the operation once for each address of the sequence; sets the
 *	cycles that it took: [0] map or whatever else is measured, [1] unmap
 * @prepare: done once with the new domain, before the passes; may be NULL
 * @each: every pass makes a domain of its own
 * @libs: for which
 * @noncoherent: entries are written back to memory
 * @pgsize: bytes of a leaf
 * @pgcount: leaves of a call
 * @start: first address
 * @stride: from one to the next
 * @nr: how many addresses
 * @regions: instead of @start and @stride: addresses anywhere in so many
 *	regions of 2 MiB
 * @total: instead of all these: an address space of so many bytes is filled, and emptied
 * @passes: how many there are to a sample, which is their median
 */
struct bench_case {
	const char *name;
	int (*pass)(struct bench_run *run, u64 cycles[2]);
	int (*prepare)(struct bench_run *run);
	bool each;
	enum {
		BENCH_ALL,
		BENCH_NO_FLOORS,
		BENCH_CHECKED,	/* libraries, and the floor of this name */
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
 * @domain: the library's, when there is one
 * @others: more of them, where a case takes many
 * @pages: pages that belonged to page tables before there was one
 * @map: cycles of each pass, of maps or whatever is measured
 * @unmap: of unmaps
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
