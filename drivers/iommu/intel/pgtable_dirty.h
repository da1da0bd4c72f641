/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dirty tracking of pgtable.c. Only the second level has it.
 */
#ifndef _INTEL_IOMMU_PGTABLE_DIRTY_H
#define _INTEL_IOMMU_PGTABLE_DIRTY_H

#include <linux/bitmap.h>

#include "pgtable_split.h"

/* Arguments of vtd_pt_read_and_clear_dirty() */
struct vtd_pt_dirty {
	struct vtd_pt *pt;
	u64 last;		/* of the range */
	u64 unit;		/* split larger leaves */
	bool clear;
	struct iommu_dirty_bitmap *report;
};

/*
 * Clear Dirty in @slot, which held *@entry, a dirty leaf. On failure *@entry is
 * what the slot holds: another reader may have split the leaf and copied the
 * bit to the parts.
 */
static bool vtd_pt_clear_dirty(struct vtd_pt *pt, u64 *slot, u64 *entry)
{
	if (!try_cmpxchg64(slot, entry, *entry & ~FMT_DIRTY))
		return false;

	vtd_pt_sync_entries(pt, slot, sizeof(*slot));
	return true;
}

/*
 * Replace the large page at @slot, an entry of @level for @iova that held
 * *@entry, a dirty leaf, by a table. Its parts that lie in the range are clean,
 * the others dirty. vtd_pt_sync_split() has to follow. On failure *@entry is
 * what the slot holds.
 *
 * Taking a deposited table is safe, as no owner of the page can be splitting
 * it. If a table were allocated instead, each round of mapping and splitting
 * the page would add one.
 */
static bool vtd_pt_split_dirty(const struct vtd_pt_dirty *dirty, u64 *slot,
			       unsigned int level, u64 iova, u64 *entry)
{
	u64 size = vtd_pt_size(level), part = vtd_pt_size(level - 1), at;
	u64 last = min(dirty->last, ALIGN_DOWN(iova, size) + size - 1);
	u64 *table = vtd_pt_alloc_table(dirty->pt, slot,
					GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);

	if (!table)
		return false;

	vtd_pt_fill_table(table, fmt_split_leaf(*entry, level, 0), part);
	for (at = ALIGN(iova, part); at + part - 1 <= last; at += part) {
		u64 *entry_of_part = table + vtd_pt_index(at, level - 1);

		vtd_pt_store(entry_of_part, vtd_pt_load(entry_of_part) & ~FMT_DIRTY);
	}
	if (vtd_pt_exchange(dirty->pt, slot, level, entry,
			    fmt_make_table(virt_to_phys(table)))) {
		iommu_dirty_bitmap_record(dirty->report, iova, last - iova + 1);
		return true;
	}

	vtd_pt_put_table(dirty->pt, slot, table, true);
	return false;
}

/*
 * Steps 3 to 5 of "Syncing a table" in pgtable_walk.h for the large pages set
 * in @split, a bitmap of @n entries in one table from @slot on, the entry of
 * @level for @iova. Invalidate once for all of them, as each invalidation waits
 * for hardware. A write through a cached translation comes before the end of
 * the invalidation, and is covered by this report; a later write sets the bit
 * of its part.
 */
static void vtd_pt_sync_split(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 iova,
			      const unsigned long *split, unsigned int n)
{
	unsigned int i, first = find_first_bit(split, n), last = find_last_bit(split, n);
	u64 size = vtd_pt_size(level);

	if (first >= n)
		return;

	iova = ALIGN_DOWN(iova, size);
	vtd_pt_sync_entries(pt, slot + first, (last - first + 1) * sizeof(*slot));
	pt->cfg.ops->invalidate(pt->cfg.owner, iova + first * size,
				iova + (last + 1) * size - 1, VTD_PT_STRUCTURE);
	for_each_set_bit(i, split, n) {
		u64 entry = vtd_pt_load(slot + i);

		/* Fully ordered. It fails if another CPU has done the same. */
		cmpxchg64(slot + i, entry, entry | FMT_SYNCED);
	}
}

/*
 * Report the part of the dirty leaf at @slot, an entry of @level for @iova that
 * held *@entry, that lies in the range. A page that extends beyond the range
 * stays dirty, as the rest of it has not been reported. On failure *@entry is
 * what the slot holds.
 */
static bool vtd_pt_report_leaf(const struct vtd_pt_dirty *dirty, u64 *slot,
			       unsigned int level, u64 iova, u64 *entry)
{
	u64 end = ALIGN_DOWN(iova, vtd_pt_size(level)) + vtd_pt_size(level) - 1;
	bool whole = IS_ALIGNED(iova, vtd_pt_size(level)) && end <= dirty->last;

	if (dirty->clear && whole && !vtd_pt_clear_dirty(dirty->pt, slot, entry))
		return false;

	iommu_dirty_bitmap_record(dirty->report, iova, min(end, dirty->last) - iova + 1);

	return true;
}

/*
 * Report the dirty leaves of @level in one table, from @slot on, the entry for
 * @iova. Returns the address at which the table or the range ends, or of an
 * entry that refers to a table.
 */
static u64 vtd_pt_dirty_run(const struct vtd_pt_dirty *dirty, u64 *slot, unsigned int level,
			    u64 iova)
{
	unsigned int i = 0, n = vtd_pt_entries_left(level, iova, dirty->last);
	DECLARE_BITMAP(split, VTD_PT_ENTRIES) = {};
	u64 size = vtd_pt_size(level), at = iova;

	while (i < n) {
		u64 entry = vtd_pt_load(slot + i), found = entry;

		if (fmt_is_table(entry, level))
			break;

		if (fmt_present(entry) && (entry & FMT_DIRTY)) {
			if (size > dirty->unit &&
			    vtd_pt_split_dirty(dirty, slot + i, level, at, &entry))
				__set_bit(i, split);
			else if (entry != found ||
				 !vtd_pt_report_leaf(dirty, slot + i, level, at, &entry))
				continue;
		}

		at = ALIGN_DOWN(at, size) + size;
		i++;
	}
	vtd_pt_sync_split(dirty->pt, slot, level, iova, split, i);

	return at;
}

/**
 * vtd_pt_read_and_clear_dirty() - read and clear Dirty bits
 * @pt: the table
 * @iova: first I/O virtual address, in bytes
 * @last: last one, inclusive
 * @flags: IOMMU_DIRTY_NO_CLEAR: do not clear them
 * @unit: number of bytes that one bit of the report covers: larger pages are
 *	split when they are reported and cleared. U64_MAX splits none.
 * @report: where to report dirty ranges. It also gathers the ranges that have
 *	to be invalidated for hardware to set the bits again.
 *
 * Each leaf is visited once, and its bit is cleared by an exchange of the
 * entry. A write is reported by this call or the next one, also if the leaf is
 * split meanwhile.
 *
 * A large page is split by one level. Only its part in the range is reported;
 * the rest stays dirty. Later reports have the granularity of its parts. If
 * there is no memory for a split, the page stays, and becomes clean only if all
 * of it has been reported.
 *
 * Context: may sleep. The caller has to exclude map, unmap and split in the
 * range, and of large pages that overlap it: they store to leaves that this
 * call replaces by tables. iommufd does so: it calls this for areas that have
 * iopt_area.pages, with iova_rwsem held, and sets that after it has mapped, and
 * clears it before it unmaps, with iova_rwsem held for writing. Lookups and
 * other readers of Dirty bits may run at the same time.
 */
void vtd_pt_read_and_clear_dirty(struct vtd_pt *pt, u64 iova, u64 last,
				 unsigned long flags, u64 unit,
				 struct iommu_dirty_bitmap *report)
{
	bool clear = !(flags & IOMMU_DIRTY_NO_CLEAR);
	struct vtd_pt_dirty dirty = {
		.pt	= pt,
		.last	= min(last, pt->last),
		.unit	= clear ? max(unit, SZ_4K) : U64_MAX,
		.clear	= clear,
		.report	= report,
	};

	while (iova <= dirty.last) {
		unsigned int level;
		/*
		 * A bit must not be cleared below an entry that is not in sync:
		 * hardware may have the whole large page cached as dirty.
		 */
		u64 *slot = vtd_pt_walk_synced(pt, iova, 1, &level);

		iova = vtd_pt_dirty_run(&dirty, slot, level, iova);
		cond_resched();
	}
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_read_and_clear_dirty);

#endif /* _INTEL_IOMMU_PGTABLE_DIRTY_H */
