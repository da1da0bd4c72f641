/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * First-level (first-stage) paging entries: what the bits mean.
 *
 * This header is the whole format. pgtable.c walks, fills and splits tables
 * through these accessors only and knows no bit by itself, so that another
 * format with 512 entries of 8 bytes a table can take this one's place.
 *
 * Layouts are from the Intel Virtualization Technology for Directed I/O
 * Architecture Specification (VT-d), section 9.7 "First-Stage Paging Entries";
 * how they are walked is in section 3.6 "First-Stage Translation".
 *
 * Levels are counted from the leaves: 1 is the page table (4 KiB pages), 2 the
 * page directory (2 MiB), 3 the page-directory-pointer table (1 GiB), then
 * PML4 and PML5.
 */
#ifndef _INTEL_IOMMU_PGTABLE_FL_H
#define _INTEL_IOMMU_PGTABLE_FL_H

#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/iommu.h>
#include <linux/types.h>

#define FL_P		BIT_ULL(0)	/* Present */
#define FL_RW		BIT_ULL(1)	/* Read/Write: writes are allowed */
#define FL_US		BIT_ULL(2)	/* User/Supervisor: user requests are allowed */
#define FL_PWT		BIT_ULL(3)	/* Page-level Write-Through */
#define FL_PCD		BIT_ULL(4)	/* Page-level Cache Disable */
#define FL_A		BIT_ULL(5)	/* Accessed */
#define FL_D		BIT_ULL(6)	/* Dirty; leaves only */
#define FL_PS		BIT_ULL(7)	/* Page Size: a leaf at level 2 or 3 */
#define FL_PAT_4K	BIT_ULL(7)	/* PAT of a 4 KiB leaf */
#define FL_PAT_LARGE	BIT_ULL(12)	/* PAT of a 2 MiB or 1 GiB leaf */
#define FL_ADDR		GENMASK_ULL(51, 12)
#define FMT_LAST_ADDR	GENMASK_ULL(51, 0)

/*
 * Bits 9, 11 and 52 to 62 are ignored by hardware (bit 10 is Extended Accessed
 * where the PASID entry enables it). Bit 52 of an entry that refers to a table
 * says that hardware is in sync with it: the entry is in memory, and what it
 * replaced is invalidated. See "Syncing a table" in pgtable.c.
 */
#define FMT_SYNCED	BIT_ULL(52)

#define VTD_PT_INDEX_BITS	9
#define VTD_PT_ENTRIES	BIT(VTD_PT_INDEX_BITS)
#define VTD_PT_PAGE_SHIFT	12
#define VTD_PT_MAX_LEVELS	5
#define VTD_PT_MAX_LEAF	3		/* largest leaf: 1 GiB */

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

/*
 * One load and one store of a whole entry. A 32-bit kernel has no plain 64-bit
 * access, and hardware must never see half an entry.
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

static inline bool fmt_present(u64 entry)
{
	return entry & FL_P;
}

/* A present entry at @level translates; it does not refer to a table. */
static inline bool fmt_is_leaf(u64 entry, unsigned int level)
{
	return level == 1 || (entry & FL_PS);
}

/* A present entry at @level refers to a table. */
static inline bool fmt_is_table(u64 entry, unsigned int level)
{
	return fmt_present(entry) && !fmt_is_leaf(entry, level);
}

/* Above level 1. Of several entries that are ANDed, all of them. */
static inline bool fmt_is_large_leaf(u64 entry)
{
	return (entry & (FL_P | FL_PS)) == (FL_P | FL_PS);
}

/*
 * One test for walkers that go down: present, a table, and in sync. Only for
 * levels above 1, where bit 7 is the page size.
 */
static inline bool fmt_is_synced_table(u64 entry)
{
	return (entry & (FL_P | FL_PS | FMT_SYNCED)) == (FL_P | FMT_SYNCED);
}

/*
 * An entry that refers to a table restricts nothing; its leaves do. Accessed is
 * preset, so that hardware never has to write it.
 */
static inline u64 fmt_make_table(phys_addr_t table)
{
	return table | FL_P | FL_RW | FL_US | FL_A;
}

static inline phys_addr_t fmt_table_addr(u64 entry)
{
	return entry & FL_ADDR;
}

/*
 * A leaf for @paddr at @level. There is no write-only page (Present grants
 * reads). Accessed, and Dirty where writes are allowed, are preset: nobody reads
 * them back on this path, and hardware is spared the atomic update.
 */
static inline u64 fmt_make_leaf(phys_addr_t paddr, unsigned int level, int prot)
{
	u64 entry = paddr | FL_P | FL_US | FL_A;

	if (prot & IOMMU_WRITE)
		entry |= FL_RW | FL_D;
	if (level > 1)
		entry |= FL_PS;

	return entry;
}

static inline phys_addr_t fmt_leaf_addr(u64 entry, unsigned int level)
{
	return ALIGN_DOWN(entry & FL_ADDR, vtd_pt_size(level));
}

/*
 * Entry @index of the table that replaces @leaf, a leaf at @level above 1: the
 * same translation, permissions, Accessed and Dirty and ignored bits. The PAT
 * bit of a large page stands at bit 12, that of a 4 KiB page where a large page
 * has its page size.
 */
static inline u64 fmt_split_leaf(u64 leaf, unsigned int level, unsigned int index)
{
	u64 attr = leaf & ~FL_ADDR;

	if (level > 2)
		attr |= leaf & FL_PAT_LARGE;
	else
		attr = (attr & ~FL_PS) | (leaf & FL_PAT_LARGE ? FL_PAT_4K : 0);

	return attr | (fmt_leaf_addr(leaf, level) + index * vtd_pt_size(level - 1));
}

#endif /* _INTEL_IOMMU_PGTABLE_FL_H */
