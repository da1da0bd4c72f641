/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * First-level (first-stage) paging entries: what the bits mean.
 *
 * This header defines the whole format. pgtable.c walks, fills and splits
 * tables through the accessors fmt_*() only, and uses no bit directly;
 * pgtable_sl.h has the same accessors for the second level.
 *
 * Layouts are from the Intel Virtualization Technology for Directed I/O
 * Architecture Specification (VT-d), section 9.7 "First-Stage Paging Entries";
 * how they are walked is in section 3.6 "First-Stage Translation".
 */
#ifndef _INTEL_IOMMU_PGTABLE_FL_H
#define _INTEL_IOMMU_PGTABLE_FL_H

#include "pgtable_fmt.h"

#define FL_P		BIT_ULL(0)	/* Present */
#define FL_RW		BIT_ULL(1)	/* Read/Write: writes are allowed */
#define FL_US		BIT_ULL(2)	/* User/Supervisor: user requests are allowed */
#define FL_PWT		BIT_ULL(3)	/* Page-level Write-Through */
#define FL_PCD		BIT_ULL(4)	/* Page-level Cache Disable */
#define FL_A		BIT_ULL(5)	/* Accessed */
#define FL_D		BIT_ULL(6)	/* Dirty; leaves only */
#define FL_PS		VTD_PT_PS	/* Page Size: a leaf at level 2 or 3 */
#define FL_PAT_4K	BIT_ULL(7)	/* PAT of a 4 KiB leaf */
#define FL_PAT_LARGE	BIT_ULL(12)	/* PAT of a 2 MiB or 1 GiB leaf */
#define FL_ADDR		VTD_PT_ADDR

/*
 * Bits 9, 11 and 52 to 62 are ignored by hardware (bit 10 is Extended Accessed
 * where the PASID entry enables it). Bit 52 of an entry that refers to a table
 * says that hardware is in sync with it: the entry is in memory, and the large
 * page that it replaced, if any, is invalidated. See "Syncing a table" in
 * pgtable_walk.h.
 */
#define FMT_SYNCED	BIT_ULL(52)

#define FMT_MIN_LEVELS	4
#define FMT_MAX_LEVELS	5

/*
 * The last address that @levels translate. First-level addresses are canonical
 * (VT-d section 3.6); only the lower half is offered.
 */
static inline u64 fmt_last_iova(unsigned int levels)
{
	return vtd_pt_size(levels + 1) / 2 - 1;
}

static inline bool fmt_present(u64 entry)
{
	return entry & FL_P;
}

/* A present entry at @level refers to a table. */
static inline bool fmt_is_table(u64 entry, unsigned int level)
{
	return fmt_present(entry) && !fmt_is_leaf(entry, level);
}

/*
 * For levels above 1. If several entries are ANDed, true if all of them are
 * leaves.
 */
static inline bool fmt_is_large_leaf(u64 entry)
{
	return (entry & (FL_P | FL_PS)) == (FL_P | FL_PS);
}

/*
 * One test for walkers that descend: bit 52 is set in no leaf and in no empty
 * entry.
 */
static inline bool fmt_is_synced_table(u64 entry)
{
	return entry & FMT_SYNCED;
}

/*
 * An entry that refers to a table restricts nothing; its leaves do. Accessed is
 * preset, so that hardware never has to write it.
 */
static inline u64 fmt_make_table(phys_addr_t table)
{
	return table | FL_P | FL_RW | FL_US | FL_A;
}

static inline bool fmt_allows_write(u64 leaf)
{
	return leaf & FL_RW;
}

/*
 * A leaf for @paddr at @level. There is no write-only page (Present grants
 * reads). Accessed, and Dirty if writes are allowed, are preset: the driver
 * does not read them at the first level, and a walk that is not coherent cannot
 * set them, but faults (VT-d 7.1.3, SFS.9).
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

/*
 * Entry @index of the table that replaces @leaf, a leaf at @level above 1: the
 * same translation, permissions, Accessed and Dirty and ignored bits. The PAT
 * bit moves: it is bit 12 of a large page, and bit 7, which is Page Size there,
 * of a 4 KiB page.
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
