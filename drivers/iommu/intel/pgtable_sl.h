/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Second-level (second-stage) paging entries: what the bits mean. Legacy mode
 * and scalable mode use the same format.
 *
 * Layouts are from the Intel Virtualization Technology for Directed I/O
 * Architecture Specification (VT-d), section 9.8 "Second-Stage Paging Entries";
 * how they are walked is in section 3.7 "Second-Stage Translation". The
 * accessors are those of pgtable_fl.h.
 */
#ifndef _INTEL_IOMMU_PGTABLE_SL_H
#define _INTEL_IOMMU_PGTABLE_SL_H

#include "pgtable_fmt.h"

/* SL_R and SL_W are in pgtable_fmt.h. */
#define SL_PS		VTD_PT_PS	/* Page Size: a leaf at level 2 or 3 */
#define SL_A		BIT_ULL(8)	/* Accessed; ignored unless SSADE is set */
#define SL_D		BIT_ULL(9)	/* Dirty; likewise, leaves only */
#define SL_SNP		BIT_ULL(11)	/* Snoop; leaves, reserved without ECAP.SC */

/*
 * Bits 10, 52 to 61 and 63 are ignored by hardware. Bit 52 of an entry that
 * refers to a table says that hardware is in sync with it, as at the first
 * level.
 */
#define FMT_SYNCED	BIT_ULL(52)

/* What vtd_pt_read_and_clear_dirty() reads and clears. */
#define FMT_DIRTY	SL_D

/* CAP.SAGAW: 39, 48 and 57 bits */
#define FMT_MIN_LEVELS	3
#define FMT_MAX_LEVELS	5

/* The last address that @levels translate: there are no canonical addresses. */
static inline u64 fmt_last_iova(unsigned int levels)
{
	return vtd_pt_size(levels + 1) - 1;
}

/* There is no Present bit: an entry without permissions is not present. */
static inline bool fmt_present(u64 entry)
{
	return entry & (SL_R | SL_W);
}

/* A present entry at @level refers to a table. */
static inline bool fmt_is_table(u64 entry, unsigned int level)
{
	return fmt_present(entry) && !fmt_is_leaf(entry, level);
}

/*
 * For levels above 1. If several entries are ANDed, true only if all of them
 * are leaves; it may be false if read-only and write-only leaves are mixed.
 */
static inline bool fmt_is_large_leaf(u64 entry)
{
	return fmt_present(entry) && (entry & SL_PS);
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
	return table | SL_R | SL_W | SL_A;
}

static inline bool fmt_allows_write(u64 leaf)
{
	return leaf & SL_W;
}

/*
 * A leaf for @paddr at @level. A page may be readable, writable or both.
 * Accessed and Dirty are left to hardware, which sets them if dirty tracking is
 * on (SSADE), and otherwise ignores them. IOMMU_CACHE requests snooped
 * accesses.
 */
static inline u64 fmt_make_leaf(phys_addr_t paddr, unsigned int level, int prot)
{
	u64 entry = paddr;

	if (prot & IOMMU_READ)
		entry |= SL_R;
	if (prot & IOMMU_WRITE)
		entry |= SL_W;
	if (prot & IOMMU_CACHE)
		entry |= SL_SNP;
	if (level > 1)
		entry |= SL_PS;

	return entry;
}

/*
 * Entry @index of the table that replaces @leaf, a leaf at @level above 1: the
 * same translation, permissions, Accessed, Dirty and Snoop, and ignored bits.
 */
static inline u64 fmt_split_leaf(u64 leaf, unsigned int level, unsigned int index)
{
	u64 attr = leaf & ~VTD_PT_ADDR;

	if (level == 2)
		attr &= ~SL_PS;

	return attr | (fmt_leaf_addr(leaf, level) + index * vtd_pt_size(level - 1));
}

#endif /* _INTEL_IOMMU_PGTABLE_SL_H */
