// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables of the Intel IOMMU, as a library.
 *
 * This file walks, fills, clears and splits ranges. The format headers define the entries:
 * pgtable_fl.h those of the first level, pgtable_sl.h those of the second.
 * pgtable_fl.c and pgtable_sl.c include one of them and then this file, so that each
 * level has its own copy of each function, with all bits as compile-time constants:
 * vtd_pt_map() here is vtd_pt_fl_map() or vtd_pt_sl_map() to others. pgtable_ns.h renames
 * the entry points, which are what a stack trace begins with; static functions have the
 * same name in both objects.
 *
 * The common cases, one leaf below tables that exist, are in vtd_pt_map_one() and at the
 * top of vtd_pt_unmap(): start reading there. Everything else deals with missing tables
 * (Populate), large pages (Split, and "A large page over ..."), and reports (Dirty, Inspect).
 * "Slot" is the address of an entry. Levels count from 1, the page table.
 *
 * Locking
 * -------
 * No function takes a lock. The following rules replace it:
 *
 * - A caller owns the range of IOVA that it maps or unmaps: no other caller maps, unmaps
 *   or splits a page of that range, or reads its Dirty bits, which may split it, at the
 *   same time. The iommu core has always required that of its users. So a leaf is checked
 *   and stored without an atomic operation.
 * - An entry that covers the ranges of several callers changes only by cmpxchg. Apart from
 *   FMT_SYNCED it changes in two ways only: empty to table (populate), and leaf to a table
 *   that translates the same (split). The loser of a race uses the winner's table.
 * - A table is never freed while others may walk it, and it is only reused for the same
 *   slot. When a large page replaces an empty table, the table is deposited: it stays empty
 *   and unused until the slot turns into a table again and withdraws it. So a pointer to a
 *   table stays valid without a reference.
 *
 * An example: CPU A maps IOVA 0 to 4095 while CPU B maps 4096 to 8191, in a domain where
 * nothing is mapped. Both find no page table for the first 2 MiB, and each allocates one.
 * A's cmpxchg succeeds; B's fails, and B frees its table and walks on through A's. Then
 * each stores its leaf, in an entry that the other one does not touch.
 *
 * Split and deposit, shown for one slot, entry 0 of a page directory:
 *
 *   map 4 KiB at 0		slot: table T		T[0]: leaf
 *   unmap it			slot: table T		T is empty, and stays
 *   map 2 MiB at 0		slot: leaf		T is marked as replaced
 *   invalidate			slot: leaf		T is deposited for the slot
 *   unmap 4 KiB at 4096	T is withdrawn and filled with 512 leaves that translate the
 *				same; cmpxchg from leaf to T: other CPUs and hardware see
 *				one or the other
 *   invalidate 2 MiB		hardware sees T only
 *   set FMT_SYNCED		all CPUs can rely on that
 *   clear T[1]			as requested; the caller of unmap invalidates 4 KiB
 *
 * If nothing is deposited, T is a new page. If the owner of another part of the large page
 * splits it at the same time, one cmpxchg fails: the loser deposits its table again, or
 * frees it, and continues below the winner's.
 *
 * Callers that break the first rule (two operations on overlapping ranges at the
 * same time) may find either result in their ranges. They may also lose a table page until
 * the domain is freed, by storing a large page where another caller has just installed a
 * table. They cannot damage anything else.
 *
 * Syncing a table
 * ---------------
 * An entry that refers to a table exists in up to three places: in the caches of
 * CPUs, in memory, where a walk that is not coherent looks, and, if it replaced
 * a large page, as that page in the caches of hardware. The order is:
 *
 *   1. fill the new table, and write it back;
 *   2. smp_wmb(), then exchange the entry that refers to it;
 *   3. write that entry back;
 *   4. if it replaced a large page, invalidate all of that;
 *   5. set FMT_SYNCED in it.
 *
 * smp_wmb() in 2 pairs with the address dependency of every CPU that loads the
 * entry and follows it: it finds the table filled. It orders the stores for hardware as
 * well: x86 makes stores visible in order, also to devices, so it is enough to keep the
 * compiler from moving them, as dma_wmb() does.
 *
 * Between 2 and 5, CPUs see an entry that hardware may not see, and the CPU that installs
 * it may be preempted. Suppose that another CPU, which owns a part of the same slot, maps a
 * page below the entry and starts its device: the device faults, because writing back
 * the leaf does not write back the entry. Or suppose that it unmaps its part of a large
 * page, invalidates 4 KiB and returns: memory, the IOTLB or a device TLB still has
 * the large page, which only an invalidation of its whole range removes. Hence the
 * rule, for coherent and for other walks: no CPU changes anything below an entry that
 * lacks FMT_SYNCED. A CPU that finds it missing does not wait, but does 3 to 5 itself.
 * Doing them twice is harmless, and nothing below changes before they are done: a CPU
 * continues after its own 5, or after it has seen FMT_SYNCED, which comes after another
 * CPU's 4, as 5 is fully ordered. A CPU that did not install the entry cannot tell what was
 * there before, so it invalidates where a large page may have been.
 *
 * FMT_SYNCED is for CPUs only, so it does not matter whether it reaches memory. If
 * the walk is coherent and the slot was empty, there is nothing to sync, and the
 * entry is installed with FMT_SYNCED.
 */

#include <kunit/static_stub.h>
#include <linux/bitmap.h>
#include <linux/cache.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "../iommu-pages.h"
#include "pgtable.h"
#include "pgtable_test.h"

/*
 * The library's own data for a table, overlaid on its struct page. While the table is in
 * use, mm reads none of these fields except bit 0 of the second word (compound_head), which
 * is clear in a pointer.
 */
struct vtd_pt_page {
	unsigned long __page_flags;
	union {
		struct {
			struct vtd_pt_page *sibling;	/* in the list of its parent */
			unsigned long key;
		};
		struct rcu_head rcu;
	};
	unsigned long __page_mapping;
	struct vtd_pt_page *next;		/* of all pages of this struct vtd_pt */
	struct vtd_pt_page *deposited;	/* list of tables once deposited below this one */
};

#define VTD_PT_PAGE_MATCH(ours, theirs)					\
	static_assert(offsetof(struct vtd_pt_page, ours) ==		\
		      offsetof(struct page, theirs))
VTD_PT_PAGE_MATCH(__page_flags, flags);
VTD_PT_PAGE_MATCH(rcu, rcu_head);
VTD_PT_PAGE_MATCH(__page_mapping, mapping);
VTD_PT_PAGE_MATCH(next, index);
VTD_PT_PAGE_MATCH(deposited, private);
#undef VTD_PT_PAGE_MATCH
static_assert(sizeof(struct vtd_pt_page) <= offsetof(struct page, _mapcount));

/*
 * vtd_pt_page.key is 0 until a large page replaces the table, or it is deposited, for the
 * first time. From then on it is in its parent's list, and the key has the index of its slot
 * in the parent and one of three states: REPLACED, DEPOSITED, or neither (in use).
 */
#define VTD_PT_KEY_LISTED		BIT(0)	/* in the parent's list */
#define VTD_PT_KEY_DEPOSITED		BIT(1)	/* can be withdrawn for its slot */
#define VTD_PT_KEY_REPLACED		BIT(2)	/* hardware may still walk it */
#define VTD_PT_KEY_SLOT			3	/* shift of the slot's index */

struct vtd_pt {
	u64 *root;
	u64 last;		/* last IOVA of the aperture */
	struct vtd_pt_cfg cfg;

	/* Written when a table is added or deposited, not by a map or unmap of leaves. */
	struct vtd_pt_page *pages ____cacheline_aligned_in_smp;
	atomic_long_t nr_pages;	/* in the list, or about to be */
	atomic_long_t nr_tables[VTD_PT_MAX_LEVELS + 1];	/* in the list, by level */
	atomic_long_t nr_deposited;	/* of these */
};

/* The most tables that one split can take: 1 GiB to 4 KiB at both ends. */
#define VTD_PT_MAX_SPARES	(2 * (VTD_PT_MAX_LEAF - 1))

/* Tables for a split, allocated before the first change. */
struct vtd_pt_spares {
	unsigned int nr;
	u64 *table[VTD_PT_MAX_SPARES];
};

/* Pages */

VISIBLE_IF_KUNIT void *vtd_pt_alloc_page(const struct vtd_pt_cfg *cfg, gfp_t gfp)
{
	struct page *page;

	KUNIT_STATIC_STUB_REDIRECT(vtd_pt_alloc_page, cfg, gfp);

	page = alloc_pages_node(cfg->nid, gfp | cfg->gfp, 0);
	if (!page)
		return NULL;

	__iommu_alloc_account(page, 0);
	return page_address(page);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_alloc_page);

static struct vtd_pt_page *vtd_pt_page(const void *addr)
{
	return (struct vtd_pt_page *)virt_to_page(addr);
}

static u64 *vtd_pt_page_table(const struct vtd_pt_page *page)
{
	return page_address((const struct page *)page);
}

static bool vtd_pt_charge(struct vtd_pt *pt)
{
	if (atomic_long_add_unless(&pt->nr_pages, 1, pt->cfg.max_pages ?: LONG_MAX))
		return true;

	pr_warn_once("DMAR: The tables of a domain have reached their limit of %lu pages\n",
		     pt->cfg.max_pages);
	return false;
}

/* Would vtd_pt_charge() fail? */
static bool vtd_pt_is_full(struct vtd_pt *pt)
{
	return pt->cfg.max_pages && atomic_long_read(&pt->nr_pages) >= pt->cfg.max_pages;
}

static void vtd_pt_uncharge(struct vtd_pt *pt)
{
	atomic_long_dec(&pt->nr_pages);
}

/* Allocate a page for a table, within the limit. */
static void *vtd_pt_new_page(struct vtd_pt *pt, gfp_t gfp)
{
	struct vtd_pt_page *page;
	void *addr;

	if (!vtd_pt_charge(pt))
		return NULL;

	addr = vtd_pt_alloc_page(&pt->cfg, gfp);
	if (!addr) {
		vtd_pt_uncharge(pt);
		return NULL;
	}

	page = vtd_pt_page(addr);
	WRITE_ONCE(page->key, 0);
	page->deposited = NULL;

	return addr;
}

/* Free a page that was never reachable for other CPUs. */
static void vtd_pt_drop_page(struct vtd_pt *pt, void *addr)
{
	iommu_free_page(addr);
	vtd_pt_uncharge(pt);
}

/* Link a reachable table of @level into the list that is freed with the domain. */
static void vtd_pt_link_page(struct vtd_pt *pt, struct vtd_pt_page *page, unsigned int level)
{
	atomic_long_inc(&pt->nr_tables[level]);
	page->next = READ_ONCE(pt->pages);
	while (!try_cmpxchg(&pt->pages, &page->next, page))
		;
}

static void vtd_pt_free_batch(struct rcu_head *rcu)
{
	struct vtd_pt_page *page = container_of(rcu, struct vtd_pt_page, rcu);

	while (page) {
		struct vtd_pt_page *next = page->next;

		page->deposited = NULL;
		__iommu_free_pages((struct page *)page, 0);
		page = next;
	}
}

/*
 * Free @page and all pages after it in the list, which may be millions. Freed by RCU for
 * fault dumps: they walk from the PASID entry in interrupt context, where they cannot keep
 * the domain from being freed.
 */
static void vtd_pt_free_pages(struct vtd_pt_page *page)
{
	while (page) {
		struct vtd_pt_page *batch = page, *next;
		unsigned int nr;

		for (nr = 1; nr < 64 && page->next; nr++)
			page = page->next;

		next = page->next;
		page->next = NULL;
		call_rcu(&batch->rcu, vtd_pt_free_batch);
		page = next;
		cond_resched();
	}
}

static u64 *vtd_pt_table(u64 entry)
{
	return phys_to_virt(fmt_table_addr(entry));
}

static void vtd_pt_sync_entries(struct vtd_pt *pt, void *addr, size_t size)
{
	if (!pt->cfg.coherent)
		pt->cfg.ops->sync_entries(pt->cfg.owner, addr, size);
}

/* Entries */

/* Entries that are read or stored in one step of an unrolled loop. */
#define VTD_PT_STRIDE	8

static bool vtd_pt_stride_is_free(u64 *slot)
{
	unsigned int i;
	u64 any = 0;

#pragma GCC unroll 8
	for (i = 0; i < VTD_PT_STRIDE; i++)
		any |= vtd_pt_load(slot + i);

	return !any;
}

static bool vtd_pt_stride_has_leaves_only(u64 *slot)
{
	unsigned int i;
	u64 all = ~0ULL;

#pragma GCC unroll 8
	for (i = 0; i < VTD_PT_STRIDE; i++)
		all &= vtd_pt_load(slot + i);

	return fmt_is_large_leaf(all);
}

/* In pairs, which halves the chain of dependent additions. */
static void vtd_pt_store_stride(u64 *slot, u64 leaf, u64 step)
{
	unsigned int i;

#pragma GCC unroll 8
	for (i = 0; i < VTD_PT_STRIDE; i += 2, leaf += 2 * step) {
		vtd_pt_store(slot + i, leaf);
		vtd_pt_store(slot + i + 1, leaf + step);
	}
}

/*
 * Clear @n entries that the caller owns. An entry of a page table always has a single owner,
 * as 4 KiB is the smallest range.
 */
static void vtd_pt_clear_pages(u64 *slot, unsigned int n)
{
	unsigned int i;

	for (; n >= VTD_PT_STRIDE; n -= VTD_PT_STRIDE, slot += VTD_PT_STRIDE)
		vtd_pt_store_stride(slot, 0, 0);
	for (i = 0; i < n; i++)
		vtd_pt_store(slot + i, 0);
}

/* Depositing */

static unsigned long vtd_pt_key(u64 *slot, unsigned long state)
{
	return (offset_in_page(slot) / sizeof(*slot)) << VTD_PT_KEY_SLOT |
	       VTD_PT_KEY_LISTED | state;
}

/*
 * Link @page, an empty table for @slot, into the list of its parent, the table that @slot
 * is in, and set its @state. It stays in the list. A slot may have more than one table in
 * it, if several CPUs split the same large page at the same time and those with a deposited
 * table lost against a new one. The list takes no memory, but has to be searched when a
 * slot turns into a table.
 */
static void vtd_pt_link_deposit(struct vtd_pt_page *page, u64 *slot, unsigned long state)
{
	struct vtd_pt_page *parent = vtd_pt_page(slot);

	if (!(READ_ONCE(page->key) & VTD_PT_KEY_LISTED)) {
		page->sibling = READ_ONCE(parent->deposited);
		while (!try_cmpxchg(&parent->deposited, &page->sibling, page))
			;
	}
	/* Zeroes before key: the CPU that withdraws the table relies on them. */
	smp_store_release(&page->key, vtd_pt_key(slot, state));
}

/* Keep @table, which is empty and out of hardware's reach, until @slot needs it. */
static void vtd_pt_deposit(struct vtd_pt *pt, u64 *slot, u64 *table)
{
	atomic_long_inc(&pt->nr_deposited);
	vtd_pt_link_deposit(vtd_pt_page(table), slot, VTD_PT_KEY_DEPOSITED);
}

/* Take a table that is deposited for @slot, if there is one. */
static u64 *vtd_pt_withdraw(struct vtd_pt *pt, u64 *slot)
{
	struct vtd_pt_page *page = READ_ONCE(vtd_pt_page(slot)->deposited);

	for (; page; page = page->sibling) {
		unsigned long key = READ_ONCE(page->key);

		if (key == vtd_pt_key(slot, VTD_PT_KEY_DEPOSITED) &&
		    try_cmpxchg(&page->key, &key, key & ~VTD_PT_KEY_DEPOSITED)) {
			atomic_long_dec(&pt->nr_deposited);
			return vtd_pt_page_table(page);
		}
	}

	return NULL;
}

/* Is a table deposited for @slot? It may be withdrawn at once. */
static bool vtd_pt_has_deposit(u64 *slot)
{
	struct vtd_pt_page *page = READ_ONCE(vtd_pt_page(slot)->deposited);

	for (; page; page = page->sibling) {
		if (READ_ONCE(page->key) == vtd_pt_key(slot, VTD_PT_KEY_DEPOSITED))
			return true;
	}

	return false;
}

/* Walk */

/*
 * Find @slot for @iova in @table, of @level. Returns false where a walk ends: at @stop, or if
 * the slot refers to no table, or to one that is not in sync. Otherwise, set @table to the
 * table that the slot refers to.
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
 * The slot for @iova at level @stop, or at the level above where the walk ends: at a
 * leaf, at nothing, or at a table that is not in sync. There is no loop, so that each
 * level has its shift as a constant.
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
 * Bring hardware in sync with @entry, which refers to a table and is at @slot, an
 * entry of @level for @iova. @replaced: a large page may have been there. Steps 3 to 5 of
 * "Syncing a table" above.
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
 * Put @new, which refers to a table that no other CPU sees, where @slot, an entry of @level,
 * still holds *@old. On failure *@old is what the slot holds. These are steps 1 and 2 of
 * "Syncing a table" above; the caller has to do the others.
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
 * Put @table where @slot, an entry of @level for @iova, still holds *@old, and sync it. On
 * failure *@old is what the slot holds.
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

/* A table for @slot that no other CPU sees: a deposited one, which is zeroed, or a new one. */
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
 * Return the table below @slot, an entry of @level for @iova: installed if there is none,
 * and in sync in any case. -EADDRINUSE if the slot is a leaf.
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
 * Continue a walk that stopped at @slot, an entry of level @from for @iova, and populate the
 * missing tables down to @level.
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
 * Return the entry that translates @iova, or the empty entry where the walk ends, with its
 * level and slot. Read-only: the caller need not own @iova. Entries need not be in sync.
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
 * Like vtd_pt_walk(), for the owner of @iova: sync tables on the path instead of stopping at
 * them. All entries on the path have to be in sync before a leaf is cleared, as hardware may
 * otherwise still have the large page that the leaf was a part of.
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

/* A large page over a table that has become empty */

static bool vtd_pt_is_empty(u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; i < VTD_PT_ENTRIES; i++) {
		if (i % VTD_PT_STRIDE == 0 && vtd_pt_stride_is_free(table + i)) {
			i += VTD_PT_STRIDE - 1;
			continue;
		}

		u64 entry = vtd_pt_load(table + i);

		if (fmt_is_table(entry, level)) {
			if (!vtd_pt_is_empty(vtd_pt_table(entry), level - 1))
				return false;
		} else if (entry) {
			return false;
		}
	}

	return true;
}

/* Deposit the tables below @table, which is no longer reachable for hardware. */
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
 * Store @leaf at @slot, an entry of @level that is in use, if it refers to an empty table.
 * Hardware may have the table in a paging-structure cache and would keep finding nothing
 * there, so the caller has to call vtd_pt_deposit_replaced(), which invalidates. No memory is
 * needed.
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
 * Deposit the tables that vtd_pt_replace_table() has removed from @n slots from @slot on,
 * of @level. The parent's list has them, and tables of other owners' slots.
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

		/* An exchange: if callers break the rules, only one of them deposits it. */
		if (i >= n || !(key & VTD_PT_KEY_REPLACED) ||
		    !try_cmpxchg(&page->key, &key, key & ~VTD_PT_KEY_REPLACED))
			continue;

		vtd_pt_deposit_children(pt, table, level - 1);
		vtd_pt_deposit(pt, slot + i, table);
	}
}

/*
 * Large pages of @level from @iova to @last have replaced empty tables. Invalidate once for
 * all of them, as each invalidation waits for hardware. Until it is done, hardware may still
 * walk a table that no entry refers to, so that table must not be filled again. The order is:
 *
 *   1. exchange the entries and mark the tables as replaced (vtd_pt_replace_table()), then
 *      write the entries back;
 *   2. invalidate all of the range, and wait for that;
 *   3. deposit the tables, by their marks.
 *
 * vtd_pt_withdraw() takes no table before 3: it looks for deposited ones, and a table goes
 * from in use to replaced to deposited. The mark is needed because the list also has the
 * tables of other slots: some are in use, and some are replaced by a neighbour's call, whose
 * invalidation may not be done. Each call deposits the tables of its own slots.
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
 * translates the same. A deposited table of that slot is used before a spare. -EAGAIN if
 * there is neither.
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
	 * If hardware sets Accessed or Dirty between the fill and the exchange, the
	 * exchange fails, and the table is filled again. Hardware sets each bit at most
	 * once, as no CPU clears it meanwhile, so the loop ends. It also ends if another
	 * CPU has installed a table.
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
 * Split leaves until none crosses @iova. A leaf that does is partly owned by the caller,
 * whether @iova is the start or the end of its range, and so are the entries above it. After
 * another owner has split it, the entries below may belong to a neighbour only.
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

/* Split at @iova and @end. Allocate @need tables first, and free those that are left. */
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
 * Number of tables that have to be allocated for a split. Only deposits for 2 MiB pages are
 * taken into account.
 */
static unsigned int vtd_pt_split_missing(struct vtd_pt *pt, u64 iova, u64 end)
{
	unsigned int need = vtd_pt_split_tables_needed(pt, iova, end), deposited;

	/* In one page, both ends find the same table, and one is needed. */
	deposited = vtd_pt_split_has_deposit(pt, iova) + vtd_pt_split_has_deposit(pt, end);

	return need - min(need, deposited);
}

/*
 * Ensure that no leaf crosses @iova or @end. Memory is allocated before the first change.
 * If others split the same pages at the same time, one of them may withdraw a table that
 * was counted on (-EAGAIN); then one end may have been split when an allocation for the
 * other fails. Or they leave less to split, so that less memory is enough: retry.
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

/* Clear */

/*
 * Clear @n entries of @level above 1. Stops at a table, and returns the number of entries
 * that are clear. An empty entry may become a neighbour's table at any time.
 */
static unsigned int vtd_pt_clear_large(u64 *slot, unsigned int level, unsigned int n)
{
	unsigned int i = 0;

	while (i < n) {
		u64 entry;

		if (n - i >= VTD_PT_STRIDE) {
			bool leaves = vtd_pt_stride_has_leaves_only(slot + i);

			if (leaves)
				vtd_pt_clear_pages(slot + i, VTD_PT_STRIDE);
			if (leaves || vtd_pt_stride_is_free(slot + i)) {
				i += VTD_PT_STRIDE;
				continue;
			}
		}

		entry = vtd_pt_load(slot + i);
		if (fmt_is_table(entry, level))
			break;
		if (entry)
			vtd_pt_store(slot + i, 0);
		i++;
	}

	return i;
}

/* Clear every leaf from @iova to @last, beginning at @slot, of @level. */
static void vtd_pt_clear(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 iova,
			 u64 last)
{
	for (;;) {
		unsigned int n = vtd_pt_entries_left(level, iova, last);

		if (level == 1)
			vtd_pt_clear_pages(slot, n);
		else
			n = vtd_pt_clear_large(slot, level, n);

		/* n == 0: a neighbour has just populated this slot. */
		if (n) {
			vtd_pt_sync_entries(pt, slot, n * sizeof(*slot));
			iova = ALIGN_DOWN(iova, vtd_pt_size(level)) +
			       n * vtd_pt_size(level);
		}
		if (iova > last)
			return;

		slot = vtd_pt_walk_synced(pt, iova, 1, &level);
	}
}

/* Unwind what a failed vtd_pt_map() has mapped so far. */
static void vtd_pt_unwind(struct vtd_pt *pt, u64 iova, u64 end)
{
	unsigned int level;
	u64 *slot;

	if (iova == end)
		return;

	slot = vtd_pt_walk_synced(pt, iova, 1, &level);
	vtd_pt_clear(pt, slot, level, iova, end - 1);
	pt->cfg.ops->invalidate(pt->cfg.owner, iova, end - 1, VTD_PT_LEAVES);
}

/* Map */

/*
 * Store a leaf of @level in @slot, unless that is in use. Above page directories use an
 * exchange, as vtd_pt_prealloc() may install a table at the same time without owning the
 * range.
 */
static __always_inline bool vtd_pt_fill_slot(u64 *slot, u64 leaf, unsigned int level)
{
	u64 none = 0;

	if (vtd_pt_load(slot))
		return false;
	if (level > 2)
		return try_cmpxchg64(slot, &none, leaf);

	vtd_pt_store(slot, leaf);
	return true;
}

/* Fill @n slots of @level up to the first one in use. Returns the number filled. */
static __always_inline unsigned int vtd_pt_fill(u64 *slot, u64 leaf, unsigned int level,
						unsigned int n)
{
	u64 step = vtd_pt_size(level);
	unsigned int i = 0;

	while (i < n) {
		if (level <= 2 && n - i >= VTD_PT_STRIDE && vtd_pt_stride_is_free(slot + i)) {
			vtd_pt_store_stride(slot + i, leaf, step);
			leaf += VTD_PT_STRIDE * step;
			i += VTD_PT_STRIDE;
			continue;
		}

		if (!vtd_pt_fill_slot(slot + i, leaf, level))
			break;
		leaf += step;
		i++;
	}

	return i;
}

/*
 * Map the whole range of @slot, an empty entry of @level for @iova, by a table that is
 * filled before it is visible. Returns the number of leaves mapped: 0 if another CPU
 * has just populated the slot.
 */
static int vtd_pt_map_table(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 iova,
			    u64 leaf, gfp_t gfp)
{
	u64 *table = vtd_pt_alloc_table(pt, slot, gfp);
	u64 none = 0;

	if (!table)
		return -ENOMEM;

	vtd_pt_fill_table(table, leaf, vtd_pt_size(level - 1));
	if (vtd_pt_install(pt, slot, level, iova, &none, table))
		return VTD_PT_ENTRIES;

	vtd_pt_put_table(pt, slot, table, true);
	return 0;
}

/*
 * Map @n leaves of @level in one table. Returns the number mapped, or an error. Sets
 * *@replaced if some have replaced tables.
 */
static __always_inline int vtd_pt_map_run(struct vtd_pt *pt, u64 iova, u64 leaf,
					  unsigned int level, unsigned int n, gfp_t gfp,
					  bool *replaced)
{
	unsigned int at, done;
	u64 *slot = vtd_pt_walk(pt, iova, level, &at);

	if (at > level && n == VTD_PT_ENTRIES) {
		slot = vtd_pt_walk_alloc(pt, slot, at, iova, level + 1, gfp);
		if (IS_ERR(slot))
			return PTR_ERR(slot);
		if (!vtd_pt_load(slot))
			return vtd_pt_map_table(pt, slot, level + 1, iova, leaf, gfp);
		at = level + 1;
	}
	if (at > level) {
		slot = vtd_pt_walk_alloc(pt, slot, at, iova, level, gfp);
		if (IS_ERR(slot))
			return PTR_ERR(slot);
	}

	done = vtd_pt_fill(slot, leaf, level, n);
	while (done < n && vtd_pt_replace_table(pt, slot + done, level,
						leaf + done * vtd_pt_size(level))) {
		*replaced = true;
		done++;
		done += vtd_pt_fill(slot + done, leaf + done * vtd_pt_size(level), level,
				    n - done);
	}
	if (!done)
		return -EADDRINUSE;

	vtd_pt_sync_entries(pt, slot, done * sizeof(*slot));

	return done;
}

static bool vtd_pt_in_aperture(struct vtd_pt *pt, u64 iova, size_t size)
{
	return iova <= pt->last && size - 1 <= pt->last - iova;
}

/* Map @iova to @last by leaves of @level, the first of which is @leaf. */
static __always_inline int vtd_pt_map_range(struct vtd_pt *pt, u64 iova, u64 last,
					    u64 leaf, unsigned int level, gfp_t gfp,
					    size_t *mapped)
{
	bool replaced = false;
	size_t done = 0;
	int ret;

	do {
		u64 at = iova + done;

		ret = vtd_pt_map_run(pt, at, leaf + done, level,
				     vtd_pt_entries_left(level, at, last), gfp, &replaced);
		if (ret < 0)
			break;

		done += ret * vtd_pt_size(level);
	} while (done <= last - iova);

	if (replaced)
		vtd_pt_deposit_replaced(pt, iova, iova + done - 1, level);
	if (ret == -EADDRINUSE)
		vtd_pt_unwind(pt, iova, iova + done);
	else
		*mapped = done;

	return min(ret, 0);
}

/* The general case of vtd_pt_map(), with all checks. */
static noinline int vtd_pt_map_any(struct vtd_pt *pt, u64 iova, phys_addr_t paddr,
				   size_t pgsize, size_t pgcount, int prot, gfp_t gfp,
				   size_t *mapped)
{
	unsigned int level = pgsize == SZ_4K ? 1 : pgsize == SZ_2M ? 2 : 3;
	u64 size = (u64)pgcount << vtd_pt_shift(level), leaf;

	*mapped = 0;
	if (!(pgsize & pt->cfg.pgsize_bitmap) || pgsize != vtd_pt_size(level) ||
	    !pgcount || !IS_ALIGNED(iova | paddr, pgsize) ||
	    !(prot & (IOMMU_READ | IOMMU_WRITE)))
		return -EINVAL;

	if (iova > pt->last || pgcount - 1 > (pt->last - iova) >> vtd_pt_shift(level) ||
	    size != (size_t)size || (paddr | (paddr + size - 1)) > VTD_PT_LAST_ADDR)
		return -ERANGE;

	/* For small pages, let the level be a constant. */
	leaf = fmt_make_leaf(paddr, level, prot);
	if (level == 1)
		return vtd_pt_map_range(pt, iova, iova + size - 1, leaf, 1, gfp, mapped);

	return vtd_pt_map_range(pt, iova, iova + size - 1, leaf, level, gfp, mapped);
}

/*
 * Map one leaf of @level if all tables exist. Returns false, with nothing changed, if a
 * table is missing or a check fails.
 */
static __always_inline bool vtd_pt_map_one(struct vtd_pt *pt, u64 iova, phys_addr_t paddr,
					   unsigned int level, int prot)
{
	unsigned int at;
	u64 *slot;

	if (unlikely(!IS_ALIGNED(iova | paddr, vtd_pt_size(level)) || iova > pt->last ||
		     paddr > VTD_PT_LAST_ADDR || !(prot & (IOMMU_READ | IOMMU_WRITE)) ||
		     !(pt->cfg.pgsize_bitmap & vtd_pt_size(level))))
		return false;

	slot = vtd_pt_walk(pt, iova, level, &at);
	if (unlikely(at > level || vtd_pt_load(slot)))
		return false;

	vtd_pt_store(slot, fmt_make_leaf(paddr, level, prot));
	vtd_pt_sync_entries(pt, slot, sizeof(*slot));

	return true;
}

/**
 * vtd_pt_map() - map a physically contiguous range with leaves of one size
 * @pt: the table
 * @iova: first I/O virtual address, in bytes
 * @paddr: first physical address, in bytes
 * @pgsize: size of the leaves in bytes, one of &vtd_pt_cfg.pgsize_bitmap
 * @pgcount: number of leaves
 * @prot: IOMMU_READ or IOMMU_WRITE or both. At the first level, writable implies
 *	readable, as there is no write-only page. At the second, IOMMU_CACHE sets the
 *	snoop bit, which needs ECAP.SC.
 * @gfp: how to allocate tables
 * @mapped: set to the bytes that this call has mapped and left mapped
 *
 * A large page may replace a table that has become empty; &vtd_pt_ops.invalidate() is
 * called for that.
 *
 * Context: any, as far as @gfp and the callbacks allow. No lock is taken. Other
 * ranges may be mapped and unmapped at the same time.
 *
 * Return:
 * * 0		- everything is mapped
 * * -EINVAL	- @pgsize not supported, an address misaligned, @pgcount 0, or @prot
 *		  without access
 * * -ERANGE	- outside of the aperture (see vtd_pt_last_iova()), or of physical
 *		  addresses
 * * -EADDRINUSE - something is mapped there already; it stays, and what this
 *		  call had mapped has been unwound and invalidated
 * * -ENOMEM	- no memory for a table, or &vtd_pt_cfg.max_pages reached; what was
 *		  mapped so far stays, see @mapped, for the iommu core to unmap
 */
int vtd_pt_map(struct vtd_pt *pt, u64 iova, phys_addr_t paddr, size_t pgsize,
	       size_t pgcount, int prot, gfp_t gfp, size_t *mapped)
{
	/* The common case: one leaf, and all tables exist. */
	if (pgcount == 1 &&
	    ((pgsize == SZ_4K && vtd_pt_map_one(pt, iova, paddr, 1, prot)) ||
	     (pgsize == SZ_2M && vtd_pt_map_one(pt, iova, paddr, 2, prot)))) {
		*mapped = pgsize;
		return 0;
	}

	return vtd_pt_map_any(pt, iova, paddr, pgsize, pgcount, prot, gfp, mapped);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_map);

/* The general case of vtd_pt_unmap(). The walk for @iova has ended at @slot, of @level. */
static noinline size_t vtd_pt_unmap_any(struct vtd_pt *pt, u64 *slot, unsigned int level,
					u64 iova, u64 last)
{
	/* Unless these are whole entries of one table, a large page may cross either end. */
	if (!IS_ALIGNED(iova | (last + 1), vtd_pt_size(level)) ||
	    (iova ^ last) >> vtd_pt_shift(level + 1)) {
		if (vtd_pt_split_ends(pt, iova, last + 1, GFP_ATOMIC | __GFP_NOWARN))
			return 0;
		slot = vtd_pt_walk_synced(pt, iova, 1, &level);
	}

	vtd_pt_clear(pt, slot, level, iova, last);

	return last - iova + 1;
}

/**
 * vtd_pt_unmap() - clear exactly a range
 * @pt: the table
 * @iova: first I/O virtual address, in bytes, 4 KiB aligned
 * @size: length in bytes, 4 KiB aligned
 *
 * The range may begin or end inside of large pages. These are split first, and the
 * parts outside of the range never stop translating, for hardware that walks this
 * table. (A hypervisor that shadows it may unmap the large page before it maps the
 * parts, as QEMU does for VFIO with caching mode.) Only the split needs memory, which
 * is allocated without sleeping. Holes in the range are skipped.
 *
 * The caller has to invalidate the range, as %VTD_PT_LEAVES, before it reuses the
 * memory. Changes to the structure have been invalidated on return.
 *
 * Context: any that the callbacks allow. No lock is taken. Other ranges may be
 * mapped and unmapped at the same time.
 *
 * Return: @size, or 0 if nothing was unmapped: the range is misaligned, empty or
 * outside of the aperture, or it cuts a large page and there is no memory.
 */
size_t vtd_pt_unmap(struct vtd_pt *pt, u64 iova, size_t size)
{
	unsigned int level;
	u64 *slot;

	if (unlikely(!size || !IS_ALIGNED(iova | size, SZ_4K) ||
		     !vtd_pt_in_aperture(pt, iova, size)))
		return 0;

	slot = vtd_pt_walk(pt, iova, 1, &level);
	/* The common case: one leaf. An empty entry may become a neighbour's table. */
	if (likely(size == vtd_pt_size(level) && IS_ALIGNED(iova, size) &&
		   (level == 1 || fmt_is_large_leaf(vtd_pt_load(slot))))) {
		vtd_pt_store(slot, 0);
		vtd_pt_sync_entries(pt, slot, sizeof(*slot));
		return size;
	}

	return vtd_pt_unmap_any(pt, slot, level, iova, iova + size - 1);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_unmap);

/*
 * Ensure that @slot of a page directory has a page table, in use or deposited. A table
 * always stays with its slot, so this remains true.
 */
static int vtd_pt_prealloc_slot(struct vtd_pt *pt, u64 *slot, gfp_t gfp)
{
	u64 *table;

	if (fmt_is_table(vtd_pt_load(slot), 2) || vtd_pt_has_deposit(slot))
		return 0;

	table = vtd_pt_new_page(pt, gfp | __GFP_ZERO);
	if (!table)
		return -ENOMEM;

	vtd_pt_link_page(pt, vtd_pt_page(table), 1);
	vtd_pt_deposit(pt, slot, table);

	return 0;
}

/**
 * vtd_pt_prealloc() - allocate the tables that a range may need
 * @pt: the table
 * @iova: first I/O virtual address, in bytes
 * @size: length in bytes, not 0
 * @gfp: how to allocate tables
 *
 * Until vtd_pt_free_empty_tables(), mapping pages of 4 KiB or 2 MiB in the range and
 * splitting 2 MiB pages takes no memory: each 2 MiB has a page table, installed or
 * deposited, like each huge page of a process. For callers that cannot allocate when they
 * unmap, such as MMU notifiers.
 *
 * Context: any that @gfp allows. Pages of 4 KiB and 2 MiB may be mapped and unmapped, and
 * tables preallocated, in the range at the same time, as demand paging does: this call
 * changes no leaf, and no entry of a page directory, and installs page directories by
 * cmpxchg in empty entries only. Pages of 1 GiB must not be mapped or unmapped meanwhile:
 * this call owns no part of the range, so it could mark a page directory as synced that has
 * just replaced such a page. Two callers that preallocate the same range may allocate a
 * table more than needed. Two that split the same page at the same time may each take a
 * table, of which one is returned.
 *
 * Return: 0; -ERANGE if the range is outside of the aperture; -ENOMEM; -ENOSPC if
 * &vtd_pt_cfg.max_pages is reached, which waiting does not change; -EADDRINUSE where a page
 * of 1 GiB is mapped.
 */
int vtd_pt_prealloc(struct vtd_pt *pt, u64 iova, size_t size, gfp_t gfp)
{
	u64 last = iova + size - 1;
	unsigned int level;
	int ret = 0;
	u64 *slot;

	if (!vtd_pt_in_aperture(pt, iova, size))
		return -ERANGE;

	for (iova = ALIGN_DOWN(iova, SZ_2M); !ret && iova <= last; iova += SZ_2M) {
		slot = vtd_pt_walk(pt, iova, 2, &level);
		slot = vtd_pt_walk_alloc(pt, slot, level, iova, 2, gfp);
		ret = IS_ERR(slot) ? PTR_ERR(slot) : vtd_pt_prealloc_slot(pt, slot, gfp);
	}

	return ret == -ENOMEM && vtd_pt_is_full(pt) ? -ENOSPC : ret;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_prealloc);

/**
 * vtd_pt_iova_to_phys() - look up an address
 * @pt: the table
 * @iova: I/O virtual address in bytes, any alignment
 *
 * Context: any. It sees the state before or after a concurrent map or unmap.
 *
 * Return: the physical address, or 0 if nothing is mapped there.
 */
phys_addr_t vtd_pt_iova_to_phys(struct vtd_pt *pt, u64 iova)
{
	unsigned int level;
	u64 entry, *slot;

	if (iova > pt->last)
		return 0;

	entry = vtd_pt_lookup(pt, iova, &level, &slot);
	if (!fmt_present(entry))
		return 0;

	return fmt_leaf_addr(entry, level) + (iova & (vtd_pt_size(level) - 1));
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_iova_to_phys);

/**
 * vtd_pt_iova_to_phys_length() - look up a contiguous range
 * @pt: the table
 * @iova: I/O virtual address in bytes, any alignment
 * @size: number of bytes of interest, not 0
 * @length: set to the number of bytes that are contiguous in memory, by leaves of one
 *	table; 0 if nothing is mapped at @iova
 *
 * The leaves of the next table may continue the range; the caller has to look up again.
 *
 * Context: as vtd_pt_iova_to_phys(), for each leaf.
 *
 * Return: the physical address of @iova, or 0 if nothing is mapped there.
 */
phys_addr_t vtd_pt_iova_to_phys_length(struct vtd_pt *pt, u64 iova, size_t size,
				       size_t *length)
{
	unsigned int level, i, n;
	u64 entry, *slot, offset;
	phys_addr_t paddr;

	*length = 0;
	if (iova > pt->last)
		return 0;

	entry = vtd_pt_lookup(pt, iova, &level, &slot);
	if (!fmt_present(entry))
		return 0;

	paddr = fmt_leaf_addr(entry, level);
	n = vtd_pt_entries_left(level, iova, iova + min(size - 1, pt->last - iova));
	for (i = 1; i < n; i++) {
		entry = vtd_pt_load(slot + i);
		if (!fmt_present(entry) || !fmt_is_leaf(entry, level) ||
		    fmt_leaf_addr(entry, level) != paddr + i * vtd_pt_size(level))
			break;
	}

	offset = iova & (vtd_pt_size(level) - 1);
	*length = min_t(u64, size, i * vtd_pt_size(level) - offset);

	return paddr + offset;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_iova_to_phys_length);

/**
 * vtd_pt_is_writable() - look up whether a device may write
 * @pt: the table
 * @iova: I/O virtual address in bytes, any alignment
 *
 * Context: as vtd_pt_iova_to_phys().
 *
 * Return: true if a leaf is mapped there that allows writes.
 */
bool vtd_pt_is_writable(struct vtd_pt *pt, u64 iova)
{
	unsigned int level;
	u64 entry, *slot;

	if (iova > pt->last)
		return false;

	entry = vtd_pt_lookup(pt, iova, &level, &slot);
	return fmt_present(entry) && fmt_allows_write(entry);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_is_writable);

/* Create and destroy */

/**
 * vtd_pt_create() - create an empty table
 * @cfg: configuration; copied
 *
 * Context: may sleep.
 *
 * Return: the table, or ERR_PTR: -EINVAL if the format does not support @cfg, or the
 * aperture is not a multiple of 1 GiB; -ENOMEM.
 */
struct vtd_pt *vtd_pt_create(const struct vtd_pt_cfg *cfg)
{
	u64 last = cfg->last_iova ?: U64_MAX;
	struct vtd_pt *pt;

	if (cfg->levels < FMT_MIN_LEVELS || cfg->levels > FMT_MAX_LEVELS ||
	    !(cfg->pgsize_bitmap & SZ_4K) ||
	    (cfg->pgsize_bitmap & ~(unsigned long)(SZ_4K | SZ_2M | SZ_1G)) ||
	    !IS_ALIGNED(last + 1, SZ_1G))
		return ERR_PTR(-EINVAL);

	pt = kzalloc(sizeof(*pt), GFP_KERNEL | cfg->gfp);
	if (!pt)
		return ERR_PTR(-ENOMEM);

	pt->cfg = *cfg;
	pt->last = min(last, fmt_last_iova(cfg->levels));
	pt->root = vtd_pt_new_page(pt, GFP_KERNEL | __GFP_ZERO);
	if (!pt->root) {
		kfree(pt);
		return ERR_PTR(-ENOMEM);
	}

	vtd_pt_link_page(pt, vtd_pt_page(pt->root), cfg->levels);
	vtd_pt_sync_entries(pt, pt->root, PAGE_SIZE);

	return pt;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_create);

/**
 * vtd_pt_destroy() - free a table with all its pages
 * @pt: the table; it may still map something
 *
 * The pages are freed after an RCU grace period, for fault dumps.
 *
 * Context: no device can reach the table any more, its caches are invalidated, and
 * no other function may be called on @pt.
 */
void vtd_pt_destroy(struct vtd_pt *pt)
{
	vtd_pt_free_pages(pt->pages);
	kfree(pt);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_destroy);

/**
 * vtd_pt_nr_tables() - number of tables, including deposited ones
 * @pt: the table
 *
 * Return: the number of pages.
 */
unsigned long vtd_pt_nr_tables(struct vtd_pt *pt)
{
	return atomic_long_read(&pt->nr_pages);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_nr_tables);

/* Reads every table, of which there may be millions, so reschedule. */
static bool vtd_pt_maps_nothing(struct vtd_pt *pt)
{
	struct vtd_pt_stats stats = {};
	u64 iova = 0;
	bool more;

	do {
		more = vtd_pt_count_leaves(pt, &iova, &stats);
		if (stats.leaves[1] + stats.leaves[2] + stats.leaves[3])
			return false;
		cond_resched();
	} while (more);

	return true;
}

/**
 * vtd_pt_free_empty_tables() - free all tables except the root, if nothing is mapped
 * @pt: the table
 *
 * Unmapping never frees a table, as CPUs and hardware may be walking it. Here they
 * cannot: the owner of the whole address space guarantees that no CPU is, and hardware is
 * not once its caches have been invalidated after the root was cleared. Domains may stay
 * attached.
 *
 * Context: may sleep. No other function of this library may run on @pt at the same time,
 * except those that only count or dump: vtd_pt_count_leaves(), vtd_pt_count_tables(), and
 * under rcu_read_lock() vtd_pt_path() and vtd_pt_next_leaf().
 *
 * Return: 0, and only the root is left; -EBUSY if anything is mapped.
 */
int vtd_pt_free_empty_tables(struct vtd_pt *pt)
{
	struct vtd_pt_page *root = vtd_pt_page(pt->root), *pages = pt->pages, **end;
	unsigned int i;

	if (!vtd_pt_maps_nothing(pt))
		return -EBUSY;

	for (i = 0; i < VTD_PT_ENTRIES; i++)
		vtd_pt_store(pt->root + i, 0);
	vtd_pt_sync_entries(pt, pt->root, PAGE_SIZE);
	pt->cfg.ops->invalidate(pt->cfg.owner, 0, pt->last, VTD_PT_STRUCTURE);

	/* The root was linked first, so it is the last in the list. */
	for (end = &pages, i = 0; *end != root; end = &(*end)->next) {
		if (++i % 64 == 0)
			cond_resched();
	}
	*end = NULL;
	pt->pages = root;
	root->deposited = NULL;
	atomic_long_set(&pt->nr_pages, 1);
	for (i = 0; i < pt->cfg.levels; i++)
		atomic_long_set(&pt->nr_tables[i], 0);
	atomic_long_set(&pt->nr_deposited, 0);
	vtd_pt_free_pages(pages);

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_free_empty_tables);

/* Dirty */

#ifdef FMT_DIRTY

/* Arguments of vtd_pt_read_and_clear_dirty() */
struct vtd_pt_dirty {
	struct vtd_pt *pt;
	u64 last;		/* of the range */
	u64 unit;		/* split larger leaves */
	bool clear;
	struct iommu_dirty_bitmap *report;
};

/*
 * Clear Dirty in @slot, which held *@entry, a dirty leaf. On failure *@entry is what the
 * slot holds: another reader may have split the leaf and copied the bit to the parts.
 */
static bool vtd_pt_clear_dirty(struct vtd_pt *pt, u64 *slot, u64 *entry)
{
	if (!try_cmpxchg64(slot, entry, *entry & ~FMT_DIRTY))
		return false;

	vtd_pt_sync_entries(pt, slot, sizeof(*slot));
	return true;
}

/*
 * Replace the large page at @slot, an entry of @level for @iova that held *@entry, a dirty
 * leaf, by a table. Its parts that lie in the range are clean, the others dirty.
 * vtd_pt_sync_split() has to follow. On failure *@entry is what the slot holds.
 *
 * Taking a deposited table is safe, as no owner of the page can be splitting it. If a table
 * were allocated instead, each round of mapping and splitting the page would add one.
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
 * Steps 3 to 5 of "Syncing a table" for the large pages set in @split, a bitmap of @n
 * entries in one table from @slot on, the entry of @level for @iova. Invalidate once for all
 * of them, as each invalidation waits for hardware. A write through a cached translation
 * comes before the end of the invalidation, and is covered by this report; a later write
 * sets the bit of its part.
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
 * Report the part of the dirty leaf at @slot, an entry of @level for @iova that held
 * *@entry, that lies in the range. A page that extends beyond the range stays dirty, as the
 * rest of it has not been reported. On failure *@entry is what the slot holds.
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
 * Report the dirty leaves of @level in one table, from @slot on, the entry for @iova.
 * Returns the address at which the table or the range ends, or of an entry that refers to a
 * table.
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
 * @unit: number of bytes that one bit of the report covers: larger pages are split when
 *	they are reported and cleared. U64_MAX splits none.
 * @report: where to report dirty ranges. It also gathers the ranges that have to be
 *	invalidated for hardware to set the bits again.
 *
 * Each leaf is visited once, and its bit is cleared by an exchange of the entry. A write
 * is reported by this call or the next one, also if the leaf is split meanwhile.
 *
 * A large page is split by one level. Only its part in the range is reported; the rest
 * stays dirty. Later reports have the granularity of its parts. If there is no memory for a
 * split, the page stays, and becomes clean only if all of it has been reported.
 *
 * Context: may sleep. The caller has to exclude map, unmap and split in the range, and of
 * large pages that overlap it: they store to leaves that this call replaces by tables.
 * iommufd does so: it calls this for areas that have iopt_area.pages, with iova_rwsem held,
 * and sets that after it has mapped, and clears it before it unmaps, with iova_rwsem held for
 * writing. Lookups and other readers of Dirty bits may run at the same time.
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
		 * A bit must not be cleared below an entry that is not in sync: hardware may
		 * have the whole large page cached as dirty.
		 */
		u64 *slot = vtd_pt_walk_synced(pt, iova, 1, &level);

		iova = vtd_pt_dirty_run(&dirty, slot, level, iova);
		cond_resched();
	}
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_read_and_clear_dirty);

#endif /* FMT_DIRTY */

/* Inspect */

/**
 * vtd_pt_root() - physical address of the topmost table, for the PASID entry
 * @pt: the table
 *
 * Return: the address in bytes. It does not change.
 */
phys_addr_t vtd_pt_root(const struct vtd_pt *pt)
{
	return virt_to_phys(pt->root);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_root);

/**
 * vtd_pt_config() - configuration of the table
 * @pt: the table
 *
 * Return: the configuration. It does not change.
 */
const struct vtd_pt_cfg *vtd_pt_config(const struct vtd_pt *pt)
{
	return &pt->cfg;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_config);

/**
 * vtd_pt_last_iova() - last address of the aperture, which begins at 0
 * @pt: the table
 *
 * First level: 47 bits with 4 levels, 56 bits with 5. Second level: 39, 48 or 57 bits
 * with 3, 4 or 5 levels. &vtd_pt_cfg.last_iova may reduce that.
 *
 * Return: the address in bytes, inclusive.
 */
u64 vtd_pt_last_iova(const struct vtd_pt *pt)
{
	return pt->last;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_last_iova);

/**
 * vtd_pt_path() - walk a table as hardware would
 * @root: physical address of the topmost table
 * @levels: its level
 * @iova: I/O virtual address in bytes
 * @path: the entries of the walk, by level; 0 for levels that it did not reach
 *
 * Starts from the pointer in a PASID entry, so that fault dumps and debugfs need no
 * &struct vtd_pt. Only for tables of this library: others may be freed at any time.
 *
 * Context: any; under rcu_read_lock() since before @root was read, or while the
 * table can neither be destroyed nor free tables.
 *
 * Return: the level at which the walk ended, at a leaf or an empty entry.
 */
unsigned int vtd_pt_path(phys_addr_t root, unsigned int levels, u64 iova,
			 u64 path[VTD_PT_MAX_LEVELS + 1])
{
	u64 *table = phys_to_virt(root);
	unsigned int level;

	memset(path, 0, sizeof(u64) * (VTD_PT_MAX_LEVELS + 1));
	for (level = levels; ; level--) {
		path[level] = vtd_pt_load(table + vtd_pt_index(iova, level));
		if (!fmt_is_table(path[level], level))
			return level;

		table = vtd_pt_table(path[level]);
	}
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_path);

/**
 * vtd_pt_next_leaf() - find the first leaf at or after an address
 * @root: physical address of the topmost table
 * @levels: its level
 * @iova: where to start, in bytes; set to the first address of the leaf
 * @path: the entries that lead to the leaf, by level
 * @level: the leaf's level: 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB
 *
 * Context: as vtd_pt_path().
 *
 * Return: false if there is no such leaf.
 */
bool vtd_pt_next_leaf(phys_addr_t root, unsigned int levels, u64 *iova,
		      u64 path[VTD_PT_MAX_LEVELS + 1], unsigned int *level)
{
	while (*iova < vtd_pt_size(levels + 1)) {
		u64 *slot;

		*level = vtd_pt_path(root, levels, *iova, path);
		*iova = ALIGN_DOWN(*iova, vtd_pt_size(*level));
		if (fmt_present(path[*level]))
			return true;

		/* Skip to the next present entry, or to the end of the table. */
		slot = *level == levels ? phys_to_virt(root) :
					  vtd_pt_table(path[*level + 1]);
		slot += vtd_pt_index(*iova, *level);
		do {
			*iova += vtd_pt_size(*level);
		} while (vtd_pt_index(*iova, *level) && !fmt_present(vtd_pt_load(++slot)));
	}

	return false;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_next_leaf);

static void vtd_pt_count_table(u64 *table, unsigned int level, struct vtd_pt_stats *stats)
{
	unsigned int i;

	for (i = 0; i < VTD_PT_ENTRIES; i++) {
		u64 entry = vtd_pt_load(table + i);

		if (fmt_is_table(entry, level))
			vtd_pt_count_table(vtd_pt_table(entry), level - 1, stats);
		else if (fmt_present(entry))
			stats->leaves[level]++;
	}
}

/**
 * vtd_pt_count_leaves() - count the leaves of 1 GiB, or skip a larger empty range
 * @pt: the table
 * @iova: where to start, a multiple of 1 GiB; set to the start of the next call
 * @stats: where to add the numbers
 *
 * Leaves are counted on request: a counter would cost every map a store to a shared cache
 * line. Concurrent operations may be counted in part.
 *
 * Context: any except concurrently with vtd_pt_destroy(). Takes less than a millisecond, so
 * that the caller can reschedule between calls.
 *
 * Return: true if there is more to count.
 */
bool vtd_pt_count_leaves(struct vtd_pt *pt, u64 *iova, struct vtd_pt_stats *stats)
{
	unsigned int level = pt->cfg.levels;
	u64 *table = pt->root, entry;

	guard(rcu)();
	for (;; level--) {
		entry = vtd_pt_load(table + vtd_pt_index(*iova, level));
		if (level == VTD_PT_MAX_LEAF || !fmt_is_table(entry, level))
			break;
		table = vtd_pt_table(entry);
	}

	if (fmt_is_table(entry, level))
		vtd_pt_count_table(vtd_pt_table(entry), level - 1, stats);
	else if (fmt_present(entry))
		stats->leaves[level]++;
	*iova = ALIGN_DOWN(*iova, vtd_pt_size(level)) + vtd_pt_size(level);

	return *iova <= pt->last;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_count_leaves);

/**
 * vtd_pt_count_tables() - count the tables by level
 * @pt: the table
 * @stats: set to the numbers of tables; no leaves
 *
 * Context: as vtd_pt_count_leaves().
 */
void vtd_pt_count_tables(struct vtd_pt *pt, struct vtd_pt_stats *stats)
{
	unsigned int level;

	memset(stats, 0, sizeof(*stats));
	for (level = 1; level <= VTD_PT_MAX_LEVELS; level++)
		stats->tables[level] = atomic_long_read(&pt->nr_tables[level]);
	stats->deposited = atomic_long_read(&pt->nr_deposited);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_count_tables);
