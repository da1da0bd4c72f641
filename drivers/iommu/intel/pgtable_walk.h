/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Walks of pgtable.c, and how tables are installed.
 */
#ifndef _INTEL_IOMMU_PGTABLE_WALK_H
#define _INTEL_IOMMU_PGTABLE_WALK_H

#include "pgtable_pages.h"

/* Walk */

/*
 * Find @slot for @iova in @table, of @level. Returns false where a walk ends:
 * at @stop, or if the slot refers to no table, or to one that is not in sync.
 * Otherwise, set @table to the table that the slot refers to.
 */
static __always_inline bool vtd_pt_step(u64 **table, u64 **slot, u64 iova,
					unsigned int level, unsigned int stop)
{
	u64 entry;

	*slot = *table + vtd_pt_index(iova, level);
	if (level == stop)
		return false;

	entry = vtd_pt_load(*slot);
	if (unlikely(!fmt_is_synced_table(entry)))
		return false;

	*table = vtd_pt_table(entry);
	return true;
}

/*
 * The slot for @iova at level @stop, or at the level above where the walk ends:
 * at a leaf, at nothing, or at a table that is not in sync. There is no loop,
 * so that each level has its shift as a constant.
 */
static __always_inline u64 *vtd_pt_walk(struct vtd_pt *pt, u64 iova, unsigned int stop,
					unsigned int *level)
{
	u64 *table = pt->root, *slot;

	switch (pt->cfg.levels) {
	case 5:
		*level = 5;
		if (!vtd_pt_step(&table, &slot, iova, 5, stop))
			break;
		fallthrough;
	case 4:
		*level = 4;
		if (!vtd_pt_step(&table, &slot, iova, 4, stop))
			break;
		fallthrough;
	default:
		*level = 3;
		if (!vtd_pt_step(&table, &slot, iova, 3, stop))
			break;
		*level = 2;
		if (!vtd_pt_step(&table, &slot, iova, 2, stop))
			break;
		*level = 1;
		slot = table + vtd_pt_index(iova, 1);
	}

	return slot;
}

/* Populate */

/*
 * Syncing a table
 * ---------------
 * An entry that refers to a table exists in up to three places: in the caches
 * of CPUs, in memory, where a walk that is not coherent looks, and, if it
 * replaced a large page, as that page in the caches of hardware. The order is:
 *
 *   1. fill the new table, and write it back;
 *   2. smp_wmb(), then exchange the entry that refers to it;
 *   3. write that entry back;
 *   4. if it replaced a large page, invalidate all of that;
 *   5. set FMT_SYNCED in it.
 *
 * smp_wmb() in 2 pairs with the address dependency of every CPU that loads the
 * entry and follows it: it finds the table filled. It orders the stores for
 * hardware as well: x86 makes stores visible in order, also to devices, so it
 * is enough to keep the compiler from moving them, as dma_wmb() does.
 *
 * Between 2 and 5, CPUs see an entry that hardware may not see, and the CPU
 * that installs it may be preempted. Suppose that another CPU, which owns a
 * part of the same slot, maps a page below the entry and starts its device: the
 * device faults, because writing back the leaf does not write back the entry.
 * Or suppose that it unmaps its part of a large page, invalidates 4 KiB and
 * returns: memory, the IOTLB or a device TLB still has the large page, which
 * only an invalidation of its whole range removes. Hence the rule, for coherent
 * and for other walks: no CPU changes anything below an entry that lacks
 * FMT_SYNCED. A CPU that finds it missing does not wait, but does 3 to 5
 * itself. Doing them twice is harmless, and nothing below changes before they
 * are done: a CPU continues after its own 5, or after it has seen FMT_SYNCED,
 * which comes after another CPU's 4, as 5 is fully ordered. A CPU that did not
 * install the entry cannot tell what was there before, so it invalidates where
 * a large page may have been.
 *
 * FMT_SYNCED is for CPUs only, so it does not matter whether it reaches memory.
 * If the walk is coherent and the slot was empty, there is nothing to sync, and
 * the entry is installed with FMT_SYNCED.
 */

/*
 * Bring hardware in sync with @entry, which refers to a table and is at @slot,
 * an entry of @level for @iova. @replaced: a large page may have been there.
 * Steps 3 to 5 of "Syncing a table" above.
 */
static void vtd_pt_sync_table(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 iova,
			      u64 entry, bool replaced)
{
	iova = ALIGN_DOWN(iova, vtd_pt_size(level));
	vtd_pt_sync_entries(pt, slot, sizeof(*slot));
	if (replaced)
		pt->cfg.ops->invalidate(pt->cfg.owner, iova, iova + vtd_pt_size(level) - 1,
					VTD_PT_STRUCTURE);
	/* Fully ordered. It fails if another CPU has done the same. */
	cmpxchg64(slot, entry, entry | FMT_SYNCED);
}

/* The same for an entry that another CPU has installed and not yet synced. */
static void vtd_pt_sync_found(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 iova,
			      u64 entry)
{
	vtd_pt_sync_table(pt, slot, level, iova, entry,
			  pt->cfg.pgsize_bitmap & vtd_pt_size(level));
}

/*
 * Put @new, which refers to a table that no other CPU sees, where @slot, an
 * entry of @level, still holds *@old. On failure *@old is what the slot holds.
 * These are steps 1 and 2 of "Syncing a table" above; the caller has to do the
 * others.
 */
static bool vtd_pt_exchange(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 *old,
			    u64 new)
{
	u64 *table = vtd_pt_table(new);
	struct vtd_pt_page *page = vtd_pt_page(table);
	bool listed = READ_ONCE(page->key) & VTD_PT_KEY_LISTED;

	vtd_pt_sync_entries(pt, table, PAGE_SIZE);
	smp_wmb();	/* the table's content before the table */
	if (!try_cmpxchg64_relaxed(slot, old, new))
		return false;

	if (!listed)
		vtd_pt_link_page(pt, page, level - 1);

	return true;
}

/*
 * Put @table where @slot, an entry of @level for @iova, still holds *@old, and
 * sync it. On failure *@old is what the slot holds.
 */
static bool vtd_pt_install(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 iova,
			   u64 *old, u64 *table)
{
	u64 new = fmt_make_table(virt_to_phys(table));
	bool replaced = fmt_present(*old);

	if (pt->cfg.coherent && !replaced)
		new |= FMT_SYNCED;

	if (!vtd_pt_exchange(pt, slot, level, old, new))
		return false;

	if (!(new & FMT_SYNCED))
		vtd_pt_sync_table(pt, slot, level, iova, new, replaced);

	return true;
}

/*
 * A table for @slot that no other CPU sees: a deposited one, which is zeroed,
 * or a new one.
 */
static u64 *vtd_pt_alloc_table(struct vtd_pt *pt, u64 *slot, gfp_t gfp)
{
	u64 *table = vtd_pt_withdraw(pt, slot);

	return table ?: vtd_pt_new_page(pt, gfp);
}

/* Return a table that was not installed. @filled: clear its entries first. */
static void vtd_pt_put_table(struct vtd_pt *pt, u64 *slot, u64 *table, bool filled)
{
	if (!(READ_ONCE(vtd_pt_page(table)->key) & VTD_PT_KEY_LISTED)) {
		vtd_pt_drop_page(pt, table);
		return;
	}

	if (filled)
		vtd_pt_clear_pages(table, VTD_PT_ENTRIES);
	vtd_pt_deposit(pt, slot, table);
}

/*
 * Return the table below @slot, an entry of @level for @iova: installed if
 * there is none, and in sync in any case. -EADDRINUSE if the slot is a leaf.
 */
static u64 *vtd_pt_populate(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 iova,
			    gfp_t gfp)
{
	u64 entry = vtd_pt_load(slot);

	if (!fmt_present(entry)) {
		u64 *table = vtd_pt_alloc_table(pt, slot, gfp | __GFP_ZERO);

		if (!table)
			return ERR_PTR(-ENOMEM);

		if (vtd_pt_install(pt, slot, level, iova, &entry, table))
			return table;

		/* Lost a race; use the winner's table. */
		vtd_pt_put_table(pt, slot, table, false);
	}

	if (fmt_is_leaf(entry, level))
		return ERR_PTR(-EADDRINUSE);

	if (!(entry & FMT_SYNCED))
		vtd_pt_sync_found(pt, slot, level, iova, entry);

	return vtd_pt_table(entry);
}

/*
 * Continue a walk that stopped at @slot, an entry of level @from for @iova, and
 * populate the missing tables down to @level.
 */
static u64 *vtd_pt_walk_alloc(struct vtd_pt *pt, u64 *slot, unsigned int from, u64 iova,
			      unsigned int level, gfp_t gfp)
{
	while (from > level) {
		u64 *table = vtd_pt_populate(pt, slot, from, iova, gfp);

		if (IS_ERR(table))
			return table;

		slot = table + vtd_pt_index(iova, --from);
	}

	return slot;
}

/*
 * Return the entry that translates @iova, or the empty entry where the walk
 * ends, with its level and slot. Read-only: the caller need not own @iova.
 * Entries need not be in sync.
 */
static __always_inline u64 vtd_pt_lookup(struct vtd_pt *pt, u64 iova, unsigned int *level,
					 u64 **slot)
{
	u64 entry;

	*slot = vtd_pt_walk(pt, iova, 1, level);
	entry = vtd_pt_load(*slot);
	while (unlikely(fmt_is_table(entry, *level))) {
		*slot = vtd_pt_table(entry) + vtd_pt_index(iova, --*level);
		entry = vtd_pt_load(*slot);
	}

	return entry;
}

/*
 * Like vtd_pt_walk(), for the owner of @iova: sync tables on the path instead
 * of stopping at them. All entries on the path have to be in sync before a leaf
 * is cleared, as hardware may otherwise still have the large page that the leaf
 * was a part of.
 */
static u64 *vtd_pt_walk_synced(struct vtd_pt *pt, u64 iova, unsigned int stop,
			       unsigned int *level)
{
	for (;;) {
		u64 *slot = vtd_pt_walk(pt, iova, stop, level);
		u64 entry = vtd_pt_load(slot);

		if (*level == stop || !fmt_is_table(entry, *level))
			return slot;
		if (!(entry & FMT_SYNCED))
			vtd_pt_sync_found(pt, slot, *level, iova, entry);
	}
}

/* Number of entries of @level from @iova to @last within one table. */
static unsigned int vtd_pt_entries_left(unsigned int level, u64 iova, u64 last)
{
	u64 run = (last >> vtd_pt_shift(level)) - (iova >> vtd_pt_shift(level)) + 1;

	return min_t(u64, run, VTD_PT_ENTRIES - vtd_pt_index(iova, level));
}

#endif /* _INTEL_IOMMU_PGTABLE_WALK_H */
