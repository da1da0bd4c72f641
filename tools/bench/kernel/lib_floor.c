// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lower bounds: tables of four levels without locking, write-back, accounting or error
 * handling.
 *
 * chase	load one entry of each level; store nothing
 * store	walk, and store the entries
 * checked	walk, and load each entry before it is stored
 */

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "bench.h"

#define ENTRIES		512UL
#define PRESENT		1UL
#define ROOT		4

enum floor { CHASE, STORE, CHECKED };

struct floor_domain {
	struct iommu_domain domain;
	u64 *root;
};

static u64 *floor_below(u64 entry)
{
	return phys_to_virt(entry & PAGE_MASK);
}

static noinline u64 floor_populate(u64 *slot)
{
	void *table = (void *)get_zeroed_page(GFP_KERNEL | __GFP_NOFAIL);

	WRITE_ONCE(*slot, virt_to_phys(table) | PRESENT);

	return *slot;
}

static __always_inline unsigned int floor_shift(unsigned int level)
{
	return PAGE_SHIFT + 9 * (level - 1);
}

/* Unrolled by the compiler: no shift of a variable width. */
static __always_inline u64 *floor_walk(struct iommu_domain *domain,
				       unsigned long iova, unsigned int leaf)
{
	u64 *table = container_of(domain, struct floor_domain, domain)->root;
	unsigned int level;

#pragma GCC unroll 4
	for (level = ROOT; level > 1; level--) {
		u64 *slot = table + (iova >> floor_shift(level)) % ENTRIES;
		u64 entry;

		if (level == leaf)
			return slot;
		entry = READ_ONCE(*slot);
		if (unlikely(!entry))
			entry = floor_populate(slot);
		table = floor_below(entry);
	}

	return table + (iova >> PAGE_SHIFT) % ENTRIES;
}

/* Free an empty table in the place of a new large page. */
static noinline void floor_make_room(u64 *slot)
{
	u64 *table = floor_below(READ_ONCE(*slot)), any = 0;
	unsigned int i;

#pragma GCC unroll 8
	for (i = 0; i < ENTRIES; i++)
		any |= READ_ONCE(table[i]);
	if (any)
		return;

	free_page((unsigned long)table);
	WRITE_ONCE(*slot, 0);
}

static __always_inline void floor_run(u64 *slot, size_t n, u64 leaf, u64 step,
				      enum floor floor, bool present)
{
	size_t i;

	if (floor == CHASE) {
		READ_ONCE(*slot);
		return;
	}

	for (i = 0; i < n; i++, leaf += step) {
		if (floor == CHECKED &&
		    unlikely(!READ_ONCE(slot[i]) == present))
			break;
		WRITE_ONCE(slot[i], leaf);
	}
}

static __always_inline void floor_range(struct iommu_domain *domain,
					unsigned long iova, u64 leaf, u64 step,
					unsigned int level, size_t n,
					enum floor floor, bool present)
{
	while (n) {
		u64 *slot = floor_walk(domain, iova, level);
		size_t run = min(n, ENTRIES - offset_in_page(slot) / sizeof(u64));

		if (floor == CHECKED && level == 2 && !present && n == 1 &&
		    unlikely(READ_ONCE(*slot)))
			floor_make_room(slot);
		floor_run(slot, run, leaf, step, floor, present);
		n -= run;
		iova += run << floor_shift(level);
		leaf += run * step;
	}
}

/* The level is a constant in each branch. */
static __always_inline void floor_pages(struct iommu_domain *domain,
					unsigned long iova, u64 leaf, u64 step,
					size_t pgsize, size_t n,
					enum floor floor, bool present)
{
	if (pgsize == PAGE_SIZE)
		floor_range(domain, iova, leaf, step, 1, n, floor, present);
	else
		floor_range(domain, iova, leaf, step, 2, n, floor, present);
}

static void floor_free_table(u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; level > 1 && i < ENTRIES; i++) {
		/* entries of other sizes have been cleared */
		if (table[i])
			floor_free_table(floor_below(table[i]), level - 1);
	}
	free_page((unsigned long)table);
}

static void floor_free(struct iommu_domain *domain)
{
	struct floor_domain *floor;

	floor = container_of(domain, struct floor_domain, domain);
	floor_free_table(floor->root, ROOT);
	kfree(floor);
}

static struct iommu_domain *floor_create(const struct iommu_domain_ops *ops)
{
	struct floor_domain *floor = kzalloc(sizeof(*floor), GFP_KERNEL);

	if (!floor)
		return NULL;

	floor->domain.ops = ops;
	floor->root = (u64 *)get_zeroed_page(GFP_KERNEL);
	if (!floor->root) {
		kfree(floor);
		return NULL;
	}

	return &floor->domain;
}

#define DEFINE_FLOOR(which, kind)					       \
static const enum floor which##_floor = kind;				       \
									       \
static int which##_map_pages(struct iommu_domain *domain,		       \
			     unsigned long iova, phys_addr_t paddr,	       \
			     size_t pgsize, size_t pgcount, int prot,	       \
			     gfp_t gfp, size_t *mapped)			       \
{									       \
	floor_pages(domain, iova, paddr | PRESENT, pgsize, pgsize, pgcount,   \
		    which##_floor, false);				       \
	*mapped = pgsize * pgcount;					       \
									       \
	return 0;							       \
}									       \
									       \
static size_t which##_unmap_pages(struct iommu_domain *domain,		       \
				  unsigned long iova, size_t pgsize,	       \
				  size_t pgcount,			       \
				  struct iommu_iotlb_gather *gather)	       \
{									       \
	floor_pages(domain, iova, 0, 0, pgsize, pgcount, which##_floor,       \
		    true);						       \
									       \
	return pgsize * pgcount;					       \
}									       \
									       \
static phys_addr_t which##_iova_to_phys(struct iommu_domain *domain,	       \
					dma_addr_t iova)		       \
{									       \
	return READ_ONCE(*floor_walk(domain, iova, 1)) & PAGE_MASK;	       \
}									       \
									       \
static const struct iommu_domain_ops which##_ops = {			       \
	.map_pages	= which##_map_pages,				       \
	.unmap_pages	= which##_unmap_pages,				       \
	.iova_to_phys	= which##_iova_to_phys,				       \
	.free		= floor_free,					       \
};									       \
									       \
static struct iommu_domain *which##_create(bool coherent)		       \
{									       \
	return floor_create(&which##_ops);				       \
}									       \
									       \
const struct bench_lib bench_##which = {				       \
	.name		= #which,					       \
	.is_floor	= true,						       \
	.create		= which##_create,				       \
}

DEFINE_FLOOR(chase, CHASE);
DEFINE_FLOOR(store, STORE);
DEFINE_FLOOR(checked, CHECKED);
