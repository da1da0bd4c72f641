/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Common to both formats of VT-d paging entries: tables of 512 entries of 8
 * bytes, 4 KiB pages, addresses in bits 51:12.
 *
 * Levels are counted from the leaves: 1 is the page table (4 KiB pages), 2 the
 * page directory (2 MiB), 3 the page-directory-pointer table (1 GiB), then
 * PML4 and PML5.
 */
#ifndef _INTEL_IOMMU_PGTABLE_FMT_H
#define _INTEL_IOMMU_PGTABLE_FMT_H

#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/iommu.h>
#include <linux/types.h>

#define VTD_PT_INDEX_BITS	9
#define VTD_PT_ENTRIES		BIT(VTD_PT_INDEX_BITS)
#define VTD_PT_PAGE_SHIFT	12
#define VTD_PT_MAX_LEAF		3		/* largest leaf: 1 GiB */
#define VTD_PT_ADDR		GENMASK_ULL(51, 12)
#define VTD_PT_PS		BIT_ULL(7)	/* above level 1 */
#define VTD_PT_LAST_ADDR	GENMASK_ULL(51, 0)

/*
 * Rights of second-level entries. Not in pgtable_sl.h, whose accessors have the
 * same names as those of pgtable_fl.h: a walk of both levels needs them, too.
 */
#define SL_R			BIT_ULL(0)	/* Read: reads are allowed */
#define SL_W			BIT_ULL(1)	/* Write: writes are allowed */

/* The entry addressed by @iova in a table of @level covers 1 << shift bytes. */
static inline unsigned int vtd_pt_shift(unsigned int level)
{
	return VTD_PT_PAGE_SHIFT + VTD_PT_INDEX_BITS * (level - 1);
}

static inline u64 vtd_pt_size(unsigned int level)
{
	return 1ULL << vtd_pt_shift(level);
}

static inline unsigned int vtd_pt_index(u64 iova, unsigned int level)
{
	return (iova >> vtd_pt_shift(level)) & (VTD_PT_ENTRIES - 1);
}

/* A present entry at @level translates; it does not refer to a table. */
static inline bool fmt_is_leaf(u64 entry, unsigned int level)
{
	return level == 1 || (entry & VTD_PT_PS);
}

static inline phys_addr_t fmt_table_addr(u64 entry)
{
	return entry & VTD_PT_ADDR;
}

static inline phys_addr_t fmt_leaf_addr(u64 entry, unsigned int level)
{
	return ALIGN_DOWN(entry & VTD_PT_ADDR, vtd_pt_size(level));
}

/*
 * A single load and a single store of a whole entry: hardware must never see
 * half an entry. A 32-bit kernel has no plain 64-bit access.
 */
static inline u64 vtd_pt_load(u64 *entry)
{
	if (IS_ENABLED(CONFIG_64BIT))
		return READ_ONCE(*entry);

	return cmpxchg64(entry, 0, 0);
}

static inline void vtd_pt_store(u64 *entry, u64 val)
{
	u64 old;

	if (IS_ENABLED(CONFIG_64BIT)) {
		WRITE_ONCE(*entry, val);
		return;
	}

	old = *entry;
	while (!try_cmpxchg64(entry, &old, val))
		;
}

#endif /* _INTEL_IOMMU_PGTABLE_FMT_H */
