/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Definitions shared by all parts of the benchmark.
 *
 * Each library is measured through a struct iommu_domain and its operations, which
 * are called through pointers as in the iommu core. The core of 7.x calls generic_pt's
 * functions directly, and so does the benchmark.
 */
#ifndef _BENCH_H
#define _BENCH_H

#include <linux/iommu.h>
#include <linux/types.h>

#include "clflush.h"

#ifdef CONFIG_IOMMU_BENCH_PEERS
#include <linux/generic_pt/iommu.h>
#endif

#define BENCH_PROT	(IOMMU_READ | IOMMU_WRITE)

/**
 * struct bench_lib - a library, or a lower bound to compare with
 * @name: name in the output
 * @level: level of VT-d's tables, 1 or 2; 0: either
 * @is_floor: a lower bound, which is left out of cases for libraries only
 * @noncoherent: can write entries back to memory
 * @create: a domain with an empty table, or NULL
 * @split: split the large page that maps @iova, so that a page begins there; NULL if
 *	the library cannot
 */
struct bench_lib {
	const char *name;
	unsigned int level;
	bool is_floor;
	bool noncoherent;
	struct iommu_domain *(*create)(bool coherent);
	int (*split)(struct iommu_domain *domain, unsigned long iova);
};

extern const struct bench_lib bench_empty;
extern const struct bench_lib bench_chase;
extern const struct bench_lib bench_store;
extern const struct bench_lib bench_checked;
extern const struct bench_lib bench_flpt;
extern const struct bench_lib bench_slpt;
extern const struct bench_lib bench_generic;
extern const struct bench_lib bench_generic_alt;
extern const struct bench_lib bench_generic_ss;
extern const struct bench_lib bench_generic_alt_ss;
extern const struct bench_lib bench_lpae;
extern const struct bench_lib bench_dma_pte;
extern const struct bench_lib bench_dma_pte_ss;

/* All libraries of this kernel, terminated by NULL */
extern const struct bench_lib *const bench_libs[];

/**
 * struct bench_sequence - the addresses that a pass works on, in two orders
 * @nr: number of addresses
 * @map: the addresses in the order of mapping
 * @unmap: the same addresses in the order of unmapping
 */
struct bench_sequence {
	unsigned int nr;
	unsigned long *map;
	unsigned long *unmap;
};

int bench_linear(struct bench_sequence *seq, unsigned long start,
		 unsigned long stride, unsigned int nr);
int bench_scattered(struct bench_sequence *seq, unsigned int regions,
		    unsigned int nr);
void bench_sequence_free(struct bench_sequence *seq);

/* An operation of a recorded pattern; @npages is negative for an unmap. */
struct bench_dma {
	u64 pfn;
	s32 npages;
};

/**
 * struct bench_pattern - recorded maps and unmaps of a driver
 * @name: name in the output
 * @dma: the operations
 * @nr: number of operations
 * @clean: unmaps of what is still mapped at the end
 * @nr_clean: number of these unmaps
 */
struct bench_pattern {
	const char *name;
	const struct bench_dma *dma;
	unsigned int nr;
	const struct bench_dma *clean;
	unsigned int nr_clean;
};

extern const struct bench_pattern bench_patterns[];
extern const unsigned int bench_nr_patterns;

int bench_run_cases(void);
int bench_run_threads(void);

/* Instructions are counted by single steps, which are slow: do as little as possible. */
extern bool bench_counting;

/* Level of VT-d's tables to measure */
extern unsigned int bench_level;

bool bench_is_wanted(const char *name);

u64 bench_clock(void);
void bench_write_back(void *addr, size_t size);

void bench_put_gathered(struct iommu_iotlb_gather *gather);

/* The list has another type in some kernels. */
static inline struct list_head *bench_gathered(struct iommu_iotlb_gather *gather)
{
	return (struct list_head *)&gather->freelist;
}

/*
 * Repeat the call until everything is mapped: io-pgtable-arm stops at the end of a
 * table.
 */
static inline int bench_map(struct iommu_domain *domain, unsigned long iova,
			    phys_addr_t paddr, size_t pgsize, size_t pgcount)
{
	size_t mapped = 0;

#ifdef CONFIG_IOMMU_BENCH_PEERS
	struct pt_iommu *pt = iommupt_from_domain(domain);

	if (pt)
		return pt->ops->map_range(pt, iova, paddr, pgsize * pgcount,
					  BENCH_PROT, GFP_KERNEL, &mapped);
#endif
	while (pgcount) {
		int err = domain->ops->map_pages(domain, iova, paddr, pgsize,
						 pgcount, BENCH_PROT,
						 GFP_KERNEL, &mapped);

		if (err)
			return err;
		if (likely(mapped == pgsize * pgcount))
			break;
		iova += mapped;
		paddr += mapped;
		pgcount -= mapped / pgsize;
		mapped = 0;
	}

	return 0;
}

static inline size_t bench_unmap_pages(struct iommu_domain *domain,
				       unsigned long iova, size_t pgsize,
				       size_t pgcount,
				       struct iommu_iotlb_gather *gather)
{
	size_t size = pgsize * pgcount, done = 0;

	while (done < size) {
		size_t n = domain->ops->unmap_pages(domain, iova + done, pgsize,
						    pgcount, gather);

		if (!n)
			break;
		done += n;
		if (likely(done == size))
			break;
		pgcount = (size - done) / pgsize;
	}

	return done;
}

/*
 * Unmap with a gather of its own, as iommu_unmap() does. Nothing is invalidated, but
 * the tables that the library adds to the gather are freed.
 */
static inline size_t bench_unmap(struct iommu_domain *domain,
				 unsigned long iova, size_t pgsize,
				 size_t pgcount)
{
	struct iommu_iotlb_gather gather;
	size_t unmapped;

	iommu_iotlb_gather_init(&gather);
#ifdef CONFIG_IOMMU_BENCH_PEERS
	struct pt_iommu *pt = iommupt_from_domain(domain);

	if (pt)
		unmapped = pt->ops->unmap_range(pt, iova, pgsize * pgcount,
						&gather);
	else
#endif
		unmapped = bench_unmap_pages(domain, iova, pgsize, pgcount,
					     &gather);
	if (unlikely(!list_empty(bench_gathered(&gather))))
		bench_put_gathered(&gather);

	return unmapped;
}

#endif /* _BENCH_H */
