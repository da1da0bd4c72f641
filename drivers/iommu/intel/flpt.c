// SPDX-License-Identifier: GPL-2.0-only
/*
 * First-level page tables of the Intel IOMMU, as a library.
 *
 * What an entry means is in flpt_fmt.h; this file is about how a range is
 * walked, filled, cleared and broken down.
 *
 * Rules of the house
 * ------------------
 * There is no lock. Three facts make that work:
 *
 * - The owner of an IOVA range is the only one who changes leaves in it. The
 *   iommu core's users have always had to see to that. So a leaf is checked and
 *   stored without an atomic operation.
 * - An entry that covers more than one owner's range is only ever changed by
 *   cmpxchg, and but for FL_WRITTEN only in two ways: from nothing to a table
 *   (populate), and from a leaf to a table that translates the same (break-
 *   down). Whoever comes second finds a table and goes on from there.
 * - Unmap never frees a table; flpt_destroy() does. Who works on a range may
 *   hold a pointer to its table for as long as the range is his. When a large
 *   page takes the place of an empty table, the table is parked: kept for that
 *   slot, empty, until the slot turns into a table again.
 *   Look-ups, which may be about anybody's range, are in an RCU read section for
 *   the rare slot that comes to own a second table; see flpt_park().
 *
 * Callers that break the first rule (two operations on overlapping ranges at the
 * same time) may find either result in the table, and may lose a table page: a
 * large leaf that is stored where another has just installed a table.
 *
 * Publishing a table
 * ------------------
 * On a walk that is not coherent, an entry exists three times: in the cache of
 * the CPU that wrote it, in the view of other CPUs, and in memory, where the
 * hardware looks. The order is:
 *
 *   1. fill the new table, and write it back;
 *   2. smp_wmb(), then cmpxchg the entry that refers to it;
 *   3. write that entry back;
 *   4. set FL_WRITTEN in it.
 *
 * smp_wmb() in 2 pairs with the address dependency of everyone who loads the
 * entry and follows it: what they find in the table is what was filled in.
 *
 * 3 comes after 2, so for a moment a CPU can see an entry that hardware cannot.
 * A second CPU that mapped a page in the new table at that moment and told its
 * device to go would have the device fault, for its own write-back covers its
 * leaf only; one that unmapped a part of a large page that the first is breaking
 * down would leave the large page in memory. This is why FL_WRITTEN exists:
 * nobody works below an entry that does not have it. Who finds it missing does
 * not wait for the installer, who may have been preempted, but does 3 and 4
 * itself; both are idempotent. The bit is for CPUs only, so it does not matter
 * whether it reaches memory. Where the walk is coherent it is part of the entry
 * from the start.
 */

#include <kunit/static_stub.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "../iommu-pages.h"
#include "flpt.h"
#include "flpt_fmt.h"
#include "flpt_test.h"

struct flpt {
	u64 *root;
	u64 last;		/* last IOVA of the aperture */
	struct flpt_cfg cfg;

	/* Written when a table comes or goes, never by a plain map or unmap. */
	atomic_long_t tables[FLPT_MAX_LEVELS + 1];
	atomic_long_t parked;
	atomic_long_t shadows;
};

/* The most tables that one cut can take: 1 GiB to 4 KiB at both ends. */
#define FLPT_MAX_SPARES	(2 * (FL_MAX_LEAF - 1))

/* Tables that were allocated before anything was changed. */
struct flpt_spares {
	unsigned int nr;
	u64 *table[FLPT_MAX_SPARES];
};

/* Pages */

VISIBLE_IF_KUNIT void *flpt_alloc_page(const struct flpt_cfg *cfg, gfp_t gfp)
{
	KUNIT_STATIC_STUB_REDIRECT(flpt_alloc_page, cfg, gfp);

	return iommu_alloc_page_node(cfg->nid, gfp | cfg->gfp);
}
EXPORT_SYMBOL_IF_KUNIT(flpt_alloc_page);

static void flpt_free_page_rcu(struct rcu_head *head)
{
	__iommu_free_pages(container_of(head, struct page, rcu_head), 0);
}

/*
 * Free a table that has been reachable. Fault dumps walk from the PASID entry
 * in interrupt context, where they cannot keep the domain from going away.
 */
static void flpt_free_reachable(struct flpt *pt, u64 *table, unsigned int level)
{
	struct page *page = virt_to_page(table);

	atomic_long_dec(&pt->tables[level]);
	set_page_private(page, 0);
	call_rcu(&page->rcu_head, flpt_free_page_rcu);
}

static u64 *flpt_table(u64 entry)
{
	return phys_to_virt(fl_table_addr(entry));
}

static void flpt_write_back(struct flpt *pt, void *addr, size_t size)
{
	if (!pt->cfg.coherent)
		pt->cfg.ops->write_back(pt->cfg.owner, addr, size);
}

/* Parking: one bay for each slot of a directory, allocated when first used. */

static u64 **flpt_bays(u64 *table)
{
	return (u64 **)READ_ONCE(virt_to_page(table)->private);
}

static u64 **flpt_bay(u64 *slot)
{
	u64 **bays = flpt_bays(slot);

	return bays ? bays + offset_in_page(slot) / sizeof(*slot) : NULL;
}

/* Make sure that whatever stands at @slot can be parked. */
static int flpt_reserve_bay(struct flpt *pt, u64 *slot, gfp_t gfp)
{
	struct page *page = virt_to_page(slot);
	unsigned long none = 0;
	void *bays;

	if (flpt_bays(slot))
		return 0;

	bays = flpt_alloc_page(&pt->cfg, gfp);
	if (!bays)
		return -ENOMEM;

	if (try_cmpxchg(&page->private, &none, (unsigned long)bays))
		atomic_long_inc(&pt->shadows);
	else
		iommu_free_page(bays);

	return 0;
}

static void flpt_free_tree(struct flpt *pt, u64 *table, unsigned int level);

/*
 * Keep @table, a table of @level that is empty and out of hardware's reach, for
 * @slot, whose bay has been reserved. One is enough: a slot has two tables if
 * two cut the same large page at the same time and the parked table lost against
 * a new one. The second goes after a grace period, for the sake of look-ups.
 */
static void flpt_park(struct flpt *pt, u64 *slot, u64 *table, unsigned int level)
{
	u64 *none = NULL;

	if (try_cmpxchg(flpt_bay(slot), &none, table))
		atomic_long_inc(&pt->parked);
	else
		flpt_free_tree(pt, table, level);
}

static u64 *flpt_unpark(struct flpt *pt, u64 *slot)
{
	u64 **bay = flpt_bay(slot);
	u64 *table;

	if (!bay || !READ_ONCE(*bay))
		return NULL;

	table = xchg(bay, NULL);
	if (table)
		atomic_long_dec(&pt->parked);

	return table;
}

/* Populate */

/*
 * @entry, which refers to a table, was found at @slot without FL_WRITTEN. If it
 * is there no longer, somebody has done this and gone on.
 */
static void flpt_publish(struct flpt *pt, u64 *slot, u64 entry)
{
	flpt_write_back(pt, slot, sizeof(*slot));
	/* Fully ordered: it is written back before it says so. */
	cmpxchg64(slot, entry, entry | FL_WRITTEN);
}

/*
 * Put @table where @slot still holds *@old. On failure *@old is what the slot
 * holds. See "Publishing a table" above.
 */
static bool flpt_install(struct flpt *pt, u64 *slot, u64 *old, u64 *table)
{
	u64 new = fl_make_table(virt_to_phys(table));

	if (pt->cfg.coherent)
		new |= FL_WRITTEN;

	flpt_write_back(pt, table, PAGE_SIZE);
	smp_wmb();	/* the table's content before the table */
	if (!try_cmpxchg64(slot, old, new))
		return false;

	if (!(new & FL_WRITTEN))
		flpt_publish(pt, slot, new);

	return true;
}

/*
 * The table below @slot, an entry of @level: made if there is none, and written
 * back in any case. -EADDRINUSE if the slot is a leaf.
 */
static u64 *flpt_populate(struct flpt *pt, u64 *slot, unsigned int level,
			  gfp_t gfp)
{
	u64 entry = fl_load(slot);

	if (!fl_present(entry)) {
		u64 *parked = flpt_unpark(pt, slot);
		u64 *table = parked ?: flpt_alloc_page(&pt->cfg, gfp);

		if (!table)
			return ERR_PTR(-ENOMEM);

		if (flpt_install(pt, slot, &entry, table)) {
			if (!parked)
				atomic_long_inc(&pt->tables[level - 1]);
			return table;
		}

		/* Somebody else was faster; theirs is as good. */
		if (parked)
			flpt_park(pt, slot, parked, level - 1);
		else
			iommu_free_page(table);
	}

	if (fl_is_leaf(entry, level))
		return ERR_PTR(-EADDRINUSE);

	if (!(entry & FL_WRITTEN))
		flpt_publish(pt, slot, entry);

	return flpt_table(entry);
}

/* The slot for a leaf of @level at @iova. */
static u64 *flpt_get_slot(struct flpt *pt, u64 iova, unsigned int level,
			  gfp_t gfp)
{
	u64 *table = pt->root;
	unsigned int l;

	for (l = pt->cfg.levels; l > level; l--) {
		u64 *slot = table + fl_index(iova, l);
		u64 entry = fl_load(slot);

		if (likely(fl_is_written_table(entry))) {
			table = flpt_table(entry);
			continue;
		}

		table = flpt_populate(pt, slot, l, gfp);
		if (IS_ERR(table))
			return table;
	}

	return table + fl_index(iova, level);
}

/*
 * What decides about @iova, a leaf or nothing, and at which level. Only looks,
 * so that @iova may be anybody's; under rcu_read_lock() if it may be.
 */
static u64 flpt_look(struct flpt *pt, u64 iova, unsigned int *level)
{
	u64 *table = pt->root;
	unsigned int l = pt->cfg.levels;

	for (;; l--) {
		u64 entry = fl_load(table + fl_index(iova, l));

		if (!fl_is_table(entry, l)) {
			*level = l;
			return entry;
		}
		table = flpt_table(entry);
	}
}

/*
 * The slot that decides about @iova, which is the caller's, and its level.
 * Entries on the way are written back if they are not yet: to hardware, a leaf
 * is not gone if memory still has the large page that it was part of.
 */
static u64 *flpt_find(struct flpt *pt, u64 iova, unsigned int *level)
{
	u64 *table = pt->root;
	unsigned int l = pt->cfg.levels;

	for (;; l--) {
		u64 *slot = table + fl_index(iova, l);
		u64 entry = fl_load(slot);

		if (!fl_is_table(entry, l)) {
			*level = l;
			return slot;
		}
		if (unlikely(!(entry & FL_WRITTEN)))
			flpt_publish(pt, slot, entry);
		table = flpt_table(entry);
	}
}

/* A large page over a table that has become empty */

static bool flpt_is_empty(u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; i < FL_ENTRIES; i++) {
		u64 entry = fl_load(table + i);

		if (fl_is_table(entry, level)) {
			if (!flpt_is_empty(flpt_table(entry), level - 1))
				return false;
		} else if (entry) {
			return false;
		}
	}

	return true;
}

static bool flpt_has_tables(u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; i < FL_ENTRIES; i++) {
		if (fl_is_table(fl_load(table + i), level))
			return true;
	}

	return false;
}

/* Park the tables below @table, which is no longer reachable for hardware. */
static void flpt_park_children(struct flpt *pt, u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; i < FL_ENTRIES; i++) {
		u64 entry = fl_load(table + i);

		if (!fl_is_table(entry, level))
			continue;

		fl_store(table + i, 0);
		flpt_park(pt, table + i, flpt_table(entry), level - 1);
	}
}

/*
 * Store @leaf at @slot, an entry of @level for @iova that is in use. That works
 * if what it refers to is an empty table. Hardware may have the table in a
 * paging-structure cache and would go on finding nothing there, hence the
 * invalidation; only after that may the table be used again.
 */
static int flpt_supersede(struct flpt *pt, u64 *slot, unsigned int level,
			  u64 iova, u64 leaf, gfp_t gfp)
{
	u64 old = fl_load(slot);
	u64 *table;
	int ret;

	if (!fl_is_table(old, level))
		return -EADDRINUSE;

	table = flpt_table(old);
	if (!flpt_is_empty(table, level - 1))
		return -EADDRINUSE;

	ret = flpt_reserve_bay(pt, slot, gfp);
	if (!ret && flpt_has_tables(table, level - 1))
		ret = flpt_reserve_bay(pt, table, gfp);
	if (ret)
		return ret;

	if (!try_cmpxchg64(slot, &old, leaf))
		return -EADDRINUSE;

	flpt_write_back(pt, slot, sizeof(*slot));
	pt->cfg.ops->invalidate(pt->cfg.owner, iova, iova + fl_size(level) - 1,
				FLPT_STRUCTURE);

	flpt_park_children(pt, table, level - 1);
	flpt_park(pt, slot, table, level - 1);

	return 0;
}

/* Break-down */

/*
 * Replace the leaf at @slot, an entry of @level for @iova, by a table that
 * translates the same. A parked table of that slot is used before a spare.
 */
static int flpt_break_down(struct flpt *pt, u64 *slot, unsigned int level,
			   u64 iova, struct flpt_spares *spares)
{
	u64 *parked = flpt_unpark(pt, slot);
	u64 *table = parked;
	u64 leaf = fl_load(slot);
	unsigned int i;

	if (!table && spares->nr)
		table = spares->table[--spares->nr];
	if (!table)
		return -ENOMEM;

	/*
	 * If hardware sets Accessed or Dirty between the fill and the exchange,
	 * the exchange fails, and the table is filled again with the bit. They
	 * are never cleared here, so this ends. If it fails because there is a
	 * table now, somebody who cuts the same page elsewhere was faster.
	 */
	while (fl_present(leaf) && fl_is_leaf(leaf, level)) {
		for (i = 0; i < FL_ENTRIES; i++)
			fl_store(table + i, fl_split_leaf(leaf, level, i));

		if (!flpt_install(pt, slot, &leaf, table))
			continue;

		if (!parked)
			atomic_long_inc(&pt->tables[level - 1]);

		iova = ALIGN_DOWN(iova, fl_size(level));
		pt->cfg.ops->invalidate(pt->cfg.owner, iova,
					iova + fl_size(level) - 1,
					FLPT_STRUCTURE);
		return 0;
	}

	for (i = 0; i < FL_ENTRIES; i++)
		fl_store(table + i, 0);
	if (parked)
		flpt_park(pt, slot, parked, level - 1);
	else
		spares->table[spares->nr++] = table;

	return 0;
}

/* How many tables it takes for no leaf to reach across @iova. */
VISIBLE_IF_KUNIT unsigned int flpt_cut_depth(struct flpt *pt, u64 iova,
					     unsigned int *level)
{
	unsigned int depth = 0;

	KUNIT_STATIC_STUB_REDIRECT(flpt_cut_depth, pt, iova, level);

	if (iova > pt->last)
		return 0;

	guard(rcu)();
	if (!fl_present(flpt_look(pt, iova, level)))
		return 0;

	while (!IS_ALIGNED(iova, fl_size(*level - depth)))
		depth++;

	return depth;
}
EXPORT_SYMBOL_IF_KUNIT(flpt_cut_depth);

/* The same for @iova and @end, which may lie in one large page. */
static unsigned int flpt_cuts_depth(struct flpt *pt, u64 iova, u64 end)
{
	unsigned int level, unused, shared = 0;
	unsigned int depth = flpt_cut_depth(pt, iova, &level);
	unsigned int end_depth = flpt_cut_depth(pt, end, &unused);

	while (shared < min(depth, end_depth) &&
	       iova >> fl_shift(level - shared) == end >> fl_shift(level - shared))
		shared++;

	return depth + end_depth - shared;
}

/*
 * Break down leaves until none reaches across @iova. One that does is partly the
 * caller's, be @iova the begin or the end of its range, and so is everything
 * above; what is below belongs to a neighbour as soon as somebody else has
 * broken it down.
 */
static int flpt_cut_at(struct flpt *pt, u64 iova, struct flpt_spares *spares)
{
	unsigned int level;

	while (flpt_cut_depth(pt, iova, &level)) {
		/* Nothing is missing on the way, so nothing is allocated. */
		u64 *slot = flpt_get_slot(pt, iova, level, GFP_NOWAIT);
		int ret;

		if (IS_ERR(slot))
			return PTR_ERR(slot);

		ret = flpt_break_down(pt, slot, level, iova, spares);
		if (ret)
			return ret;
	}

	return 0;
}

/*
 * See to it that no leaf reaches across @iova or @end. All memory is there
 * before the first change, so that a failure leaves everything as it was.
 */
static int flpt_cut(struct flpt *pt, u64 iova, u64 end, gfp_t gfp)
{
	unsigned int need = flpt_cuts_depth(pt, iova, end);
	struct flpt_spares spares = {};
	int ret = 0;

	while (!ret && spares.nr < need) {
		u64 *table = flpt_alloc_page(&pt->cfg, gfp);

		if (table)
			spares.table[spares.nr++] = table;
		else
			ret = -ENOMEM;
	}

	if (!ret)
		ret = flpt_cut_at(pt, iova, &spares);
	if (!ret)
		ret = flpt_cut_at(pt, end, &spares);

	while (spares.nr)
		iommu_free_page(spares.table[--spares.nr]);

	return ret;
}

/* Clear */

/* How many entries of @level from @slot on, in its table, @iova to @last need. */
static unsigned int flpt_run(u64 *slot, unsigned int level, u64 iova, u64 last)
{
	u64 run = (last >> fl_shift(level)) - (iova >> fl_shift(level)) + 1;

	return min_t(u64, run, FL_ENTRIES - offset_in_page(slot) / sizeof(*slot));
}

/* Returns how many entries are done; fewer than @n where a table is in the way. */
static unsigned int flpt_clear_run(struct flpt *pt, u64 *slot, unsigned int level,
				   unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		u64 entry = fl_load(slot + i);

		if (fl_is_table(entry, level))
			break;
		if (entry)
			fl_store(slot + i, 0);
	}

	if (i)
		flpt_write_back(pt, slot, i * sizeof(*slot));

	return i;
}

/* Clear every leaf from @iova to @last, beginning at @slot. */
static void flpt_clear(struct flpt *pt, u64 *slot, unsigned int level, u64 iova,
		       u64 last)
{
	for (;;) {
		unsigned int run = flpt_run(slot, level, iova, last);

		run = flpt_clear_run(pt, slot, level, run);
		/* Not at all, if a hole has just become a neighbour's table. */
		if (run)
			iova = ALIGN_DOWN(iova, fl_size(level)) +
			       run * fl_size(level);
		if (iova > last)
			return;

		slot = flpt_find(pt, iova, &level);
	}
}

/* Take back what a failed flpt_map() has mapped so far. */
static void flpt_take_back(struct flpt *pt, u64 iova, u64 end)
{
	unsigned int level;
	u64 *slot;

	if (iova == end)
		return;

	slot = flpt_find(pt, iova, &level);
	flpt_clear(pt, slot, level, iova, end - 1);
	pt->cfg.ops->invalidate(pt->cfg.owner, iova, end - 1, FLPT_LEAVES);
}

/* Map */

/*
 * Fill @n slots of @level, the first of them for @iova. Returns how many are
 * filled before one is in use.
 */
static unsigned int flpt_fill_run(struct flpt *pt, u64 *slot, u64 leaf, u64 step,
				  unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++, leaf += step) {
		if (unlikely(fl_load(slot + i)))
			break;
		fl_store(slot + i, leaf);
	}

	if (i)
		flpt_write_back(pt, slot, i * sizeof(*slot));

	return i;
}

static unsigned int flpt_leaf_level(struct flpt *pt, size_t pgsize)
{
	unsigned int level;

	for (level = 1; level <= FL_MAX_LEAF; level++) {
		if (pgsize == fl_size(level) && (pt->cfg.pgsize_bitmap & pgsize))
			return level;
	}

	return 0;
}

static bool flpt_in_aperture(struct flpt *pt, u64 iova, size_t size)
{
	return iova <= pt->last && size - 1 <= pt->last - iova;
}

/**
 * flpt_map() - map a physically contiguous range with leaves of one size
 * @pt: the table
 * @iova: first I/O virtual address, in bytes
 * @paddr: first physical address, in bytes
 * @pgsize: size of the leaves in bytes, one of &flpt_cfg.pgsize_bitmap
 * @pgcount: how many leaves
 * @prot: IOMMU_READ or IOMMU_WRITE or both; writable implies readable, as the
 *	format has no write-only page
 * @gfp: how to allocate tables
 * @mapped: set to the bytes that this call has mapped and left mapped
 *
 * A large page may take the place of a table that has become empty;
 * &flpt_ops.invalidate() is called for that.
 *
 * Context: any, as far as @gfp and the callbacks allow. No lock is taken. Other
 * ranges may be mapped and unmapped at the same time.
 *
 * Return:
 * * 0		- all is mapped
 * * -EINVAL	- size unknown, misaligned or nothing, or no access allowed
 * * -ERANGE	- outside of the aperture (VT-d section 3.6: canonical addresses,
 *		  of which the lower half is offered), or of physical addresses
 * * -EADDRINUSE - something is mapped there already; it stays, and what this
 *		  call had mapped has been taken back and invalidated
 * * -ENOMEM	- no memory for a table; what had been mapped stays, see @mapped,
 *		  for the iommu core to unmap
 */
int flpt_map(struct flpt *pt, u64 iova, phys_addr_t paddr, size_t pgsize,
	     size_t pgcount, int prot, gfp_t gfp, size_t *mapped)
{
	unsigned int level = flpt_leaf_level(pt, pgsize);
	u64 start = iova, end, leaf;
	size_t size;
	int ret = 0;

	*mapped = 0;
	if (!level || !pgcount || !IS_ALIGNED(iova | paddr, pgsize) ||
	    !(prot & (IOMMU_READ | IOMMU_WRITE)))
		return -EINVAL;

	if (check_mul_overflow(pgsize, pgcount, &size) ||
	    !flpt_in_aperture(pt, iova, size) ||
	    paddr > FL_ADDR || size - 1 > (FL_ADDR | ~PAGE_MASK) - paddr)
		return -ERANGE;

	leaf = fl_make_leaf(paddr, level, prot);
	end = iova + size;
	while (iova < end) {
		u64 *slot = flpt_get_slot(pt, iova, level, gfp);
		unsigned int run;

		if (IS_ERR(slot)) {
			ret = PTR_ERR(slot);
			break;
		}

		run = flpt_run(slot, level, iova, end - 1);
		run = flpt_fill_run(pt, slot, leaf, pgsize, run);
		if (unlikely(!run)) {
			ret = flpt_supersede(pt, slot, level, iova, leaf, gfp);
			if (ret)
				break;
			run = 1;
		}

		iova += run * pgsize;
		leaf += run * pgsize;
	}

	if (ret == -EADDRINUSE)
		flpt_take_back(pt, start, iova);
	else
		*mapped = iova - start;

	return ret;
}
EXPORT_SYMBOL_IF_KUNIT(flpt_map);

/**
 * flpt_unmap() - clear exactly a range
 * @pt: the table
 * @iova: first I/O virtual address, in bytes, 4 KiB aligned
 * @size: length in bytes, 4 KiB aligned
 *
 * The range may end or begin inside of large pages: these are broken down first,
 * and the part outside of the range never stops translating. Only that needs
 * memory, which is tried for without sleeping. Holes in the range are skipped.
 *
 * What was unmapped is the caller's to invalidate, as %FLPT_LEAVES, before it
 * reuses the memory; structure that was changed has been invalidated on return.
 *
 * Context: any that the callbacks allow. No lock is taken. Other ranges may be
 * mapped and unmapped at the same time.
 *
 * Return: @size, or 0 if nothing was changed: the range is misaligned, empty or
 * outside of the aperture, or it cuts a large page and there is no memory.
 */
size_t flpt_unmap(struct flpt *pt, u64 iova, size_t size)
{
	u64 last = iova + size - 1;
	unsigned int level;
	u64 *slot;

	if (!size || !IS_ALIGNED(iova | size, SZ_4K) ||
	    !flpt_in_aperture(pt, iova, size))
		return 0;

	/* A range within one page table cuts nothing. */
	slot = flpt_find(pt, iova, &level);
	if (level > 1 || iova >> fl_shift(2) != last >> fl_shift(2)) {
		if (flpt_cut(pt, iova, last + 1, GFP_ATOMIC | __GFP_NOWARN))
			return 0;
		slot = flpt_find(pt, iova, &level);
	}

	flpt_clear(pt, slot, level, iova, last);

	return size;
}
EXPORT_SYMBOL_IF_KUNIT(flpt_unmap);

/**
 * flpt_split() - break down large pages so that none reaches across an address
 * @pt: the table
 * @iova: I/O virtual address in bytes, 4 KiB aligned
 * @gfp: how to allocate the tables
 *
 * Prepares an flpt_unmap() that begins or ends at @iova and must not fail.
 * Translations, permissions and Accessed and Dirty bits stay what they are at
 * every moment.
 *
 * Context: any, as far as @gfp and the callbacks allow; the owner of a mapping
 * at @iova.
 *
 * Return: 0, also if there is nothing to do; -EINVAL if @iova is misaligned;
 * -ERANGE if it is outside of the aperture; -ENOMEM with nothing changed.
 */
int flpt_split(struct flpt *pt, u64 iova, gfp_t gfp)
{
	if (!IS_ALIGNED(iova, SZ_4K))
		return -EINVAL;
	if (iova > pt->last)
		return -ERANGE;

	return flpt_cut(pt, iova, iova, gfp);
}
EXPORT_SYMBOL_IF_KUNIT(flpt_split);

/**
 * flpt_iova_to_phys() - what an address translates to
 * @pt: the table
 * @iova: I/O virtual address in bytes, any alignment
 *
 * Context: any; safe against concurrent map and unmap, of which it sees the
 * state before or after.
 *
 * Return: the physical address, or 0 if nothing is mapped there.
 */
phys_addr_t flpt_iova_to_phys(struct flpt *pt, u64 iova)
{
	unsigned int level;
	u64 entry;

	if (iova > pt->last)
		return 0;

	guard(rcu)();
	entry = flpt_look(pt, iova, &level);
	if (!fl_present(entry))
		return 0;

	return fl_leaf_addr(entry, level) + (iova & (fl_size(level) - 1));
}
EXPORT_SYMBOL_IF_KUNIT(flpt_iova_to_phys);

/* Life */

/**
 * flpt_create() - make an empty table
 * @cfg: what the table is to be like; copied
 *
 * Context: may sleep.
 *
 * Return: the table, or ERR_PTR: -EINVAL if @cfg asks for what the format does
 * not have, -ENOMEM.
 */
struct flpt *flpt_create(const struct flpt_cfg *cfg)
{
	struct flpt *pt;

	if ((cfg->levels != 4 && cfg->levels != 5) ||
	    !(cfg->pgsize_bitmap & SZ_4K) ||
	    (cfg->pgsize_bitmap & ~(unsigned long)(SZ_4K | SZ_2M | SZ_1G)))
		return ERR_PTR(-EINVAL);

	pt = kzalloc(sizeof(*pt), GFP_KERNEL | cfg->gfp);
	if (!pt)
		return ERR_PTR(-ENOMEM);

	pt->cfg = *cfg;
	pt->last = fl_size(cfg->levels + 1) / 2 - 1;
	pt->root = flpt_alloc_page(cfg, GFP_KERNEL);
	if (!pt->root) {
		kfree(pt);
		return ERR_PTR(-ENOMEM);
	}
	atomic_long_inc(&pt->tables[cfg->levels]);
	flpt_write_back(pt, pt->root, PAGE_SIZE);

	return pt;
}
EXPORT_SYMBOL_IF_KUNIT(flpt_create);

/* Depth is bounded by the levels of the table. */
static void flpt_free_tree(struct flpt *pt, u64 *table, unsigned int level)
{
	u64 **bays = flpt_bays(table);
	unsigned int i;

	for (i = 0; level > 1 && i < FL_ENTRIES; i++) {
		u64 entry = fl_load(table + i);
		u64 *parked = flpt_unpark(pt, table + i);

		if (fl_is_table(entry, level))
			flpt_free_tree(pt, flpt_table(entry), level - 1);
		if (parked)
			flpt_free_tree(pt, parked, level - 1);
	}

	if (bays) {
		atomic_long_dec(&pt->shadows);
		iommu_free_page(bays);
	}
	flpt_free_reachable(pt, table, level);
}

/**
 * flpt_destroy() - free a table and all that was ever allocated for it
 * @pt: the table; whatever is still mapped goes with it
 *
 * The pages go back to the system after an RCU grace period, for the sake of
 * fault dumps; all counters are at zero when this returns.
 *
 * Context: no device may reach the table any more, its caches invalidated, and
 * nobody may call any other function on @pt.
 */
void flpt_destroy(struct flpt *pt)
{
	unsigned int level;

	flpt_free_tree(pt, pt->root, pt->cfg.levels);

	for (level = 1; level <= FLPT_MAX_LEVELS; level++)
		WARN_ON(atomic_long_read(&pt->tables[level]));
	WARN_ON(atomic_long_read(&pt->parked));
	WARN_ON(atomic_long_read(&pt->shadows));

	kfree(pt);
}
EXPORT_SYMBOL_IF_KUNIT(flpt_destroy);

/* Look */

/**
 * flpt_root() - physical address of the topmost table, for the PASID entry
 * @pt: the table
 *
 * Return: the address in bytes. It does not change.
 */
phys_addr_t flpt_root(const struct flpt *pt)
{
	return virt_to_phys(pt->root);
}
EXPORT_SYMBOL_IF_KUNIT(flpt_root);

/**
 * flpt_config() - what the table was created with
 * @pt: the table
 *
 * Return: the configuration. It does not change.
 */
const struct flpt_cfg *flpt_config(const struct flpt *pt)
{
	return &pt->cfg;
}
EXPORT_SYMBOL_IF_KUNIT(flpt_config);

/**
 * flpt_last_iova() - last address of the aperture, which begins at 0
 * @pt: the table
 *
 * First-level addresses are canonical (VT-d section 3.6). Only the lower half is
 * offered: 47 bits with 4 levels, 56 bits with 5.
 *
 * Return: the address in bytes, inclusive.
 */
u64 flpt_last_iova(const struct flpt *pt)
{
	return pt->last;
}
EXPORT_SYMBOL_IF_KUNIT(flpt_last_iova);

/**
 * flpt_path() - follow a table as hardware would
 * @root: physical address of the topmost table
 * @levels: its level, 4 or 5
 * @iova: I/O virtual address in bytes
 * @path: the entries met, by level; 0 where the walk did not come
 *
 * Goes from a PASID entry's pointer, so that fault dumps and debugfs need no
 * handle. Only for tables of this library: others may free pages at any time.
 *
 * Context: any; under rcu_read_lock() since before @root was read, or while the
 * table cannot be destroyed.
 *
 * Return: the level at which the walk ended, at a leaf or at nothing.
 */
unsigned int flpt_path(phys_addr_t root, unsigned int levels, u64 iova,
		       u64 path[FLPT_MAX_LEVELS + 1])
{
	u64 *table = phys_to_virt(root);
	unsigned int level;

	memset(path, 0, sizeof(u64) * (FLPT_MAX_LEVELS + 1));
	for (level = levels; ; level--) {
		path[level] = fl_load(table + fl_index(iova, level));
		if (!fl_is_table(path[level], level))
			return level;

		table = flpt_table(path[level]);
	}
}
EXPORT_SYMBOL_IF_KUNIT(flpt_path);

/**
 * flpt_next_leaf() - find the first leaf at or behind an address
 * @root: physical address of the topmost table
 * @levels: its level, 4 or 5
 * @iova: where to begin; set to where the leaf begins, in bytes
 * @path: the entries that lead to the leaf, by level
 * @level: the leaf's level: 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB
 *
 * Context: as flpt_path().
 *
 * Return: false if there is no such leaf.
 */
bool flpt_next_leaf(phys_addr_t root, unsigned int levels, u64 *iova,
		    u64 path[FLPT_MAX_LEVELS + 1], unsigned int *level)
{
	while (*iova < fl_size(levels + 1)) {
		*level = flpt_path(root, levels, *iova, path);
		*iova = ALIGN_DOWN(*iova, fl_size(*level));
		if (fl_present(path[*level]))
			return true;

		*iova += fl_size(*level);
	}

	return false;
}
EXPORT_SYMBOL_IF_KUNIT(flpt_next_leaf);

static bool flpt_count_next(struct flpt *pt, u64 *iova, unsigned int *level)
{
	u64 path[FLPT_MAX_LEVELS + 1];

	guard(rcu)();
	return flpt_next_leaf(flpt_root(pt), pt->cfg.levels, iova, path, level);
}

/**
 * flpt_get_stats() - count tables and leaves
 * @pt: the table
 * @stats: what was found
 *
 * Tables are counted as they come and go. Leaves are not, which would cost every
 * map a store to a shared line; they are counted now, by a walk that sees
 * concurrent operations in part.
 *
 * Context: may sleep; takes time in proportion to the table.
 */
void flpt_get_stats(struct flpt *pt, struct flpt_stats *stats)
{
	unsigned int level;
	u64 iova = 0;

	memset(stats, 0, sizeof(*stats));
	for (level = 1; level <= FLPT_MAX_LEVELS; level++)
		stats->tables[level] = atomic_long_read(&pt->tables[level]);
	stats->parked = atomic_long_read(&pt->parked);
	stats->shadows = atomic_long_read(&pt->shadows);

	while (flpt_count_next(pt, &iova, &level)) {
		stats->leaves[level]++;
		iova += fl_size(level);
		cond_resched();
	}
}
EXPORT_SYMBOL_IF_KUNIT(flpt_get_stats);
