/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Large pages of pgtable.c: how they replace tables, and how tables replace
 * them.
 */
#ifndef _INTEL_IOMMU_PGTABLE_SPLIT_H
#define _INTEL_IOMMU_PGTABLE_SPLIT_H

#include <linux/sizes.h>

#include "pgtable_walk.h"

/* The most tables that one split can take: 1 GiB to 4 KiB at both ends. */
#define VTD_PT_MAX_SPARES	(2 * (VTD_PT_MAX_LEAF - 1))

/* Tables for a split, allocated before the first change. */
struct vtd_pt_spares {
	unsigned int nr;
	u64 *table[VTD_PT_MAX_SPARES];
};

/* A large page over a table that has become empty */

static bool vtd_pt_is_empty(u64 *table, unsigned int level)
{
	unsigned int first, i;
	u64 entry;

	for (first = 0; first < VTD_PT_ENTRIES; first += VTD_PT_STRIDE) {
		if (vtd_pt_stride_is_free(table + first))
			continue;

		for (i = first; i < first + VTD_PT_STRIDE; i++) {
			entry = vtd_pt_load(table + i);
			if (fmt_is_table(entry, level)) {
				if (!vtd_pt_is_empty(vtd_pt_table(entry), level - 1))
					return false;
			} else if (entry) {
				return false;
			}
		}
	}

	return true;
}

/*
 * Deposit the tables below @table, which is no longer reachable for hardware.
 */
static void vtd_pt_deposit_children(struct vtd_pt *pt, u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; level > 1 && i < VTD_PT_ENTRIES; i++) {
		u64 entry = vtd_pt_load(table + i);

		if (!fmt_is_table(entry, level))
			continue;

		vtd_pt_store(table + i, 0);
		vtd_pt_deposit(pt, table + i, vtd_pt_table(entry));
	}
}

/*
 * Store @leaf at @slot, an entry of @level that is in use, if it refers to an
 * empty table. Hardware may have the table in a paging-structure cache and
 * would keep finding nothing there, so the caller has to call
 * vtd_pt_deposit_replaced(), which invalidates. No memory is needed.
 */
static bool vtd_pt_replace_table(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 leaf)
{
	u64 old = vtd_pt_load(slot);
	u64 *table;

	/* The exchange fails if vtd_pt_prealloc() has just set FMT_SYNCED. */
	do {
		if (!fmt_is_table(old, level))
			return false;

		table = vtd_pt_table(old);
		if (!vtd_pt_is_empty(table, level - 1))
			return false;
	} while (!try_cmpxchg64(slot, &old, leaf));

	vtd_pt_link_deposit(vtd_pt_page(table), slot, VTD_PT_KEY_REPLACED);

	return true;
}

/*
 * Deposit the tables that vtd_pt_replace_table() has removed from @n slots from
 * @slot on, of @level. The parent's list has them, and tables of other owners'
 * slots.
 */
static void vtd_pt_deposit_run(struct vtd_pt *pt, u64 *slot, unsigned int level,
			       unsigned int n)
{
	struct vtd_pt_page *page = READ_ONCE(vtd_pt_page(slot)->deposited);
	unsigned int first = offset_in_page(slot) / sizeof(*slot);

	for (; page; page = page->sibling) {
		unsigned long key = READ_ONCE(page->key);
		unsigned long i = (key >> VTD_PT_KEY_SLOT) - first;
		u64 *table = vtd_pt_page_table(page);

		/*
		 * An exchange: if callers break the rules, only one of them
		 * deposits it.
		 */
		if (i >= n || !(key & VTD_PT_KEY_REPLACED) ||
		    !try_cmpxchg(&page->key, &key, key & ~VTD_PT_KEY_REPLACED))
			continue;

		vtd_pt_deposit_children(pt, table, level - 1);
		vtd_pt_deposit(pt, slot + i, table);
	}
}

/*
 * Large pages of @level from @iova to @last have replaced empty tables.
 * Invalidate once for all of them, as each invalidation waits for hardware.
 * Until it is done, hardware may still walk a table that no entry refers to, so
 * that table must not be filled again. The order is:
 *
 *   1. exchange the entries and mark the tables as replaced (vtd_pt_replace_table()), then
 *      write the entries back;
 *   2. invalidate all of the range, and wait for that;
 *   3. deposit the tables, by their marks.
 *
 * vtd_pt_withdraw() takes no table before 3: it looks for deposited ones, and a
 * table goes from in use to replaced to deposited. The mark is needed because
 * the list also has the tables of other slots: some are in use, and some are
 * replaced by a neighbour's call, whose invalidation may not be done. Each call
 * deposits the tables of its own slots.
 */
static void vtd_pt_deposit_replaced(struct vtd_pt *pt, u64 iova, u64 last,
				    unsigned int level)
{
	pt->cfg.ops->invalidate(pt->cfg.owner, iova, last, VTD_PT_STRUCTURE);

	while (iova <= last) {
		unsigned int at, n = vtd_pt_entries_left(level, iova, last);
		u64 *slot = vtd_pt_walk(pt, iova, level, &at);

		/* Always true, unless a caller has broken the rules. */
		if (at == level)
			vtd_pt_deposit_run(pt, slot, level, n);
		iova += n * vtd_pt_size(level);
	}
}

/* Split */

/* Fill a table that no other CPU sees. */
static void vtd_pt_fill_table(u64 *table, u64 leaf, u64 step)
{
	unsigned int i;

	for (i = 0; i < VTD_PT_ENTRIES; i += VTD_PT_STRIDE)
		vtd_pt_store_stride(table + i, leaf + i * step, step);
}

/*
 * Replace the leaf at @slot, an entry of @level for @iova, by a table that
 * translates the same. A deposited table of that slot is used before a spare.
 * -EAGAIN if there is neither.
 */
static int vtd_pt_split_leaf(struct vtd_pt *pt, u64 *slot, unsigned int level,
			     u64 iova, struct vtd_pt_spares *spares)
{
	u64 leaf = vtd_pt_load(slot), *deposited, *table;

	/* Lost a race against a split of the same page at another address. */
	if (!fmt_present(leaf) || !fmt_is_leaf(leaf, level))
		return 0;

	deposited = vtd_pt_withdraw(pt, slot);
	table = deposited;
	if (!table && spares->nr)
		table = spares->table[--spares->nr];
	if (!table)
		return -EAGAIN;

	/*
	 * If hardware sets Accessed or Dirty between the fill and the exchange,
	 * the exchange fails, and the table is filled again. Hardware sets each
	 * bit at most once, as no CPU clears it meanwhile, so the loop ends. It
	 * also ends if another CPU has installed a table.
	 */
	do {
		vtd_pt_fill_table(table, fmt_split_leaf(leaf, level, 0),
				  vtd_pt_size(level - 1));
		if (vtd_pt_install(pt, slot, level, iova, &leaf, table))
			return 0;
	} while (fmt_present(leaf) && fmt_is_leaf(leaf, level));

	if (deposited)
		vtd_pt_put_table(pt, slot, deposited, true);
	else
		spares->table[spares->nr++] = table;

	return 0;
}

/* Number of tables that a split takes after which no leaf crosses @iova. */
VISIBLE_IF_KUNIT unsigned int vtd_pt_split_depth(struct vtd_pt *pt, u64 iova,
						 unsigned int *level)
{
	unsigned int depth = 0;
	u64 *slot;

	KUNIT_STATIC_STUB_REDIRECT(vtd_pt_split_depth, pt, iova, level);

	if (iova > pt->last)
		return 0;
	if (!fmt_present(vtd_pt_lookup(pt, iova, level, &slot)))
		return 0;

	while (!IS_ALIGNED(iova, vtd_pt_size(*level - depth)))
		depth++;

	return depth;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_split_depth);

/* The same for @iova and @end together, which may lie in one large page. */
static unsigned int vtd_pt_split_tables_needed(struct vtd_pt *pt, u64 iova, u64 end)
{
	unsigned int level, unused, shared = 0;
	unsigned int depth = vtd_pt_split_depth(pt, iova, &level);
	unsigned int end_depth = vtd_pt_split_depth(pt, end, &unused);

	while (shared < min(depth, end_depth) &&
	       iova >> vtd_pt_shift(level - shared) == end >> vtd_pt_shift(level - shared))
		shared++;

	return depth + end_depth - shared;
}

/*
 * Split leaves until none crosses @iova. A leaf that does is partly owned by
 * the caller, whether @iova is the start or the end of its range, and so are
 * the entries above it. After another owner has split it, the entries below may
 * belong to a neighbour only.
 */
static int vtd_pt_split_until_aligned(struct vtd_pt *pt, u64 iova,
				      struct vtd_pt_spares *spares)
{
	unsigned int level;

	while (vtd_pt_split_depth(pt, iova, &level)) {
		u64 *slot = vtd_pt_walk_synced(pt, iova, level, &level);
		int ret = vtd_pt_split_leaf(pt, slot, level, iova, spares);

		if (ret)
			return ret;
	}

	return 0;
}

/*
 * Split at @iova and @end. Allocate @need tables first, and free those that are
 * left.
 */
static int vtd_pt_split_with_spares(struct vtd_pt *pt, u64 iova, u64 end,
				    unsigned int need, gfp_t gfp)
{
	struct vtd_pt_spares spares = {};
	int ret = 0;

	while (!ret && spares.nr < need) {
		u64 *table = vtd_pt_new_page(pt, gfp);

		if (table)
			spares.table[spares.nr++] = table;
		else
			ret = -ENOMEM;
	}

	if (!ret)
		ret = vtd_pt_split_until_aligned(pt, iova, &spares);
	if (!ret)
		ret = vtd_pt_split_until_aligned(pt, end, &spares);

	while (spares.nr)
		vtd_pt_drop_page(pt, spares.table[--spares.nr]);

	return ret;
}

/* Does a 2 MiB page cross @iova, and is a table deposited for its slot? */
static bool vtd_pt_split_has_deposit(struct vtd_pt *pt, u64 iova)
{
	unsigned int level;
	u64 *slot;

	return !IS_ALIGNED(iova, SZ_2M) &&
	       fmt_present(vtd_pt_lookup(pt, iova, &level, &slot)) && level == 2 &&
	       vtd_pt_has_deposit(slot);
}

/*
 * Number of tables that have to be allocated for a split. Only deposits for 2
 * MiB pages are taken into account.
 */
static unsigned int vtd_pt_split_missing(struct vtd_pt *pt, u64 iova, u64 end)
{
	unsigned int need = vtd_pt_split_tables_needed(pt, iova, end), deposited;

	/* In one page, both ends find the same table, and one is needed. */
	deposited = vtd_pt_split_has_deposit(pt, iova) + vtd_pt_split_has_deposit(pt, end);

	return need - min(need, deposited);
}

/*
 * Ensure that no leaf crosses @iova or @end. Memory is allocated before the
 * first change. If others split the same pages at the same time, one of them
 * may withdraw a table that was counted on (-EAGAIN); then one end may have
 * been split when an allocation for the other fails. Or they leave less to
 * split, so that less memory is enough: retry.
 */
VISIBLE_IF_KUNIT int vtd_pt_split_ends(struct vtd_pt *pt, u64 iova, u64 end, gfp_t gfp)
{
	unsigned int missing = vtd_pt_split_missing(pt, iova, end), before;
	int ret;

	do {
		before = missing;
		ret = vtd_pt_split_with_spares(pt, iova, end, before, gfp);
		if (!ret)
			return 0;
		missing = vtd_pt_split_missing(pt, iova, end);
	} while (ret == -EAGAIN || missing < before);

	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_split_ends);

#endif /* _INTEL_IOMMU_PGTABLE_SPLIT_H */
