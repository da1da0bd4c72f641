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
 * Locking
 * -------
 * No function takes a lock. Callers and the library share the work:
 *
 * - A caller owns the range of IOVA that it maps or unmaps: nobody else maps, unmaps or
 *   splits a page of that range, or reads its Dirty bits, which may split it, at the same
 *   time. Users of the iommu core have always had to ensure that. So a leaf is checked
 *   and stored without an atomic operation.
 * - An entry that covers the ranges of several callers changes only by cmpxchg. Apart from
 *   FMT_SYNCED it changes in two ways only: empty to table (populate), and leaf to a table
 *   that translates the same (split). The loser of a race uses the winner's table.
 * - A table is never freed while others may walk, and it is only reused for the same
 *   slot. When a large page replaces an empty table, the table is deposited: it waits,
 *   empty, until the slot turns into a table again and withdraws it. So a pointer to a
 *   table stays valid without a reference.
 *
 * An example: CPU A maps IOVA 0 to 4095 while CPU B maps 4096 to 8191, in a domain where
 * nothing is mapped. Both find no page table for the first 2 MiB, and each allocates one.
 * A's cmpxchg succeeds; B's fails, and B frees its table and walks on through A's. Then
 * each stores its leaf, in an entry that the other one does not touch.
 *
 * Split and deposit, by the life of one slot, entry 0 of a page directory:
 *
 *   map 4 KiB at 0		slot: table T		T[0]: leaf
 *   unmap it			slot: table T		T is empty, and stays
 *   map 2 MiB at 0		slot: leaf		T is marked as replaced
 *   invalidate			slot: leaf		T is deposited for the slot
 *   unmap 4 KiB at 4096	T is withdrawn and filled with 512 leaves that translate the
 *				same; cmpxchg from leaf to T: others and hardware see either
 *   invalidate 2 MiB		hardware sees T only
 *   set FMT_SYNCED		whoever comes by may rely on that
 *   clear T[1]			what the caller asked for; its caller invalidates 4 KiB
 *
 * Had nothing been deposited, T would be a new page. Had the owner of another part of the
 * page split it at the same time, one cmpxchg would fail: the loser deposits its table
 * again, or frees it, and goes on below the winner's.
 *
 * Callers that break the first rule (two operations on overlapping ranges at the
 * same time) may find either result in their ranges, and may lose a table page until
 * the end: a large page that is stored where another caller has just installed a table.
 * Nothing else is harmed.
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
 * entry and follows it: what it finds in the table is what was filled in. It orders the
 * stores for hardware as well: x86 makes stores visible in order, to devices too, so that
 * keeping the compiler from moving them, as dma_wmb() does, is all that is needed.
 *
 * From 2 to 5, CPUs see an entry that hardware does not, and the CPU in between
 * may be preempted. Let another one, which owns a part of the same slot, map a
 * page below the entry and start its device: the device faults, as the write-
 * back of the leaf does not cover the entry. Let it unmap its part of a large
 * page, invalidate 4 KiB and return: memory, the IOTLB or a device TLB still has
 * the large page, which goes only by an invalidation that covers it. Hence the
 * rule, for walks of both kinds: no CPU changes anything below an entry that
 * lacks FMT_SYNCED. One that finds it missing does not wait, but does 3 to 5 itself.
 * All of that may be done twice, and what is below changes only after it: a CPU goes
 * on after its own 5, or after it has seen FMT_SYNCED, which comes after another's 4, as
 * 5 is fully ordered. A CPU that did not install the entry cannot tell what was there
 * before, so it invalidates where a large page may have been.
 *
 * FMT_SYNCED is for CPUs only, so it does not matter whether it reaches memory. If
 * the walk is coherent and the slot was empty, there is nothing to sync, and the
 * entry has it from the start.
 */

#include <kunit/static_stub.h>
#include <linux/bitmap.h>
#include <linux/cache.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "../iommu-pages.h"
#include "pgtable.h"
#include "pgtable_test.h"

/*
 * A table, in place of its struct page. While it is in use, nothing else looks at
 * these fields but at bit 0 of the second, which is clear.
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
	struct vtd_pt_page *deposited;	/* tables that were, below this one */
};

#define VTD_PT_PAGE_MATCH(ours, theirs)					\
	static_assert(offsetof(struct vtd_pt_page, ours) ==		\
		      offsetof(struct page, theirs))
VTD_PT_PAGE_MATCH(__page_flags, flags);
VTD_PT_PAGE_MATCH(rcu, rcu_head);
VTD_PT_PAGE_MATCH(__page_mapping, mapping);
VTD_PT_PAGE_MATCH(deposited, private);
#undef VTD_PT_PAGE_MATCH
static_assert(sizeof(struct vtd_pt_page) <= sizeof(struct page));

/* The key of a table that was ever deposited, else 0 */
#define VTD_PT_KEY_LISTED		BIT(0)	/* below its parent, from then on */
#define VTD_PT_KEY_DEPOSITED		BIT(1)	/* free to be used for its slot */
#define VTD_PT_KEY_REPLACED		BIT(2)	/* not yet: hardware may still walk it */
#define VTD_PT_KEY_SLOT			3	/* from here on, the index of the slot */

struct vtd_pt {
	u64 *root;
	u64 last;		/* last IOVA of the aperture */
	struct vtd_pt_cfg cfg;

	/* Written when a table comes, never by a plain map or unmap. */
	struct vtd_pt_page *pages ____cacheline_aligned_in_smp;
	atomic_long_t nr_pages;	/* of the list, or on their way into it */
	atomic_long_t nr_tables[VTD_PT_MAX_LEVELS + 1];	/* of the list, by level */
	atomic_long_t nr_deposited;	/* of these */
};

/* The most tables that one split can take: 1 GiB to 4 KiB at both ends. */
#define VTD_PT_MAX_SPARES	(2 * (VTD_PT_MAX_LEAF - 1))

/* Tables that were allocated before anything was changed. */
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
	unsigned long nr = atomic_long_inc_return(&pt->nr_pages);

	return !pt->cfg.max_pages || nr <= pt->cfg.max_pages;
}

static void vtd_pt_uncharge(struct vtd_pt *pt)
{
	atomic_long_dec(&pt->nr_pages);
}

/* A page to become a table. */
static void *vtd_pt_new_page(struct vtd_pt *pt, gfp_t gfp)
{
	struct vtd_pt_page *page;
	void *addr = NULL;

	if (vtd_pt_charge(pt))
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

/* Free a page that nobody else has ever been able to reach. */
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
 * Free @page and all behind it, which may be millions. Fault dumps walk from the PASID entry in
 * interrupt context, where they cannot keep the domain from going away.
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

/* Entries that are looked at together, or stored, rather than each by itself. */
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

/* In pairs, as each sum waits for the one before it. */
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
 * Clear @n entries that the caller owns. Those of a page table always have one owner, as
 * nothing smaller can be owned.
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
 * Link @page, an empty table, into the list of the table that @slot is in, for @slot. It
 * stays there; its key tells what @state it is in. There may be more than one for
 * a slot, if several CPUs split the same large page at the same time and those that had
 * a deposited table lost against a new one. Listing takes no memory, at the price of a
 * search when a slot turns into a table.
 */
static void vtd_pt_link_deposit(struct vtd_pt_page *page, u64 *slot, unsigned long state)
{
	struct vtd_pt_page *parent = vtd_pt_page(slot);

	if (!(READ_ONCE(page->key) & VTD_PT_KEY_LISTED)) {
		page->sibling = READ_ONCE(parent->deposited);
		while (!try_cmpxchg(&parent->deposited, &page->sibling, page))
			;
	}
	/* The zeroes before the key: the CPU that withdraws the table relies on them. */
	smp_store_release(&page->key, vtd_pt_key(slot, state));
}

/* Keep @table, which is empty and out of hardware's reach, until @slot needs it. */
static void vtd_pt_deposit(struct vtd_pt *pt, u64 *slot, u64 *table)
{
	atomic_long_inc(&pt->nr_deposited);
	vtd_pt_link_deposit(vtd_pt_page(table), slot, VTD_PT_KEY_DEPOSITED);
}

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
 * the slot refers to no table, or to one that is not in sync. Else @table is that one.
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
 * entry of @level for @iova; @replaced if a large page may have been there. See
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

/* The same for an entry that was found, and that another CPU has installed. */
static void vtd_pt_sync_found(struct vtd_pt *pt, u64 *slot, unsigned int level, u64 iova,
			      u64 entry)
{
	vtd_pt_sync_table(pt, slot, level, iova, entry,
			  pt->cfg.pgsize_bitmap & vtd_pt_size(level));
}

/*
 * Put @new, which refers to a table that nobody else sees, where @slot, an entry of @level,
 * still holds *@old. On failure *@old is what the slot holds. These are steps 1 and 2 of
 * "Syncing a table" above; what follows is the caller's.
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

/*
 * A table that nobody else sees, for @slot: a deposited one, whose entries are zero, or a
 * new one.
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
 * The table below @slot, an entry of @level for @iova: made if there is none, and
 * in sync in any case. -EADDRINUSE if the slot is a leaf.
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

		/* Somebody else was faster; theirs is as good. */
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
 * Like vtd_pt_walk(), for the owner of @iova: sync tables on the way instead of stopping at
 * them. Entries on the way are in sync then: to hardware, a leaf is not gone while it still
 * has the large page that the leaf was part of.
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
 * Store @leaf at @slot, an entry of @level that is in use. That works if what it refers
 * to is an empty table. Hardware may have the table in a paging-structure cache and
 * would go on finding nothing there, so the caller has to invalidate, and then to
 * call vtd_pt_deposit_replaced(). No memory is needed.
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
 * Deposit what vtd_pt_replace_table() has taken out of @n slots from @slot on, of @level.
 * The table that the slots are in lists it, with those of other slots, which belong to
 * others.
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

		/* An exchange, for callers that break the rules: one of them deposits it. */
		if (i >= n || !(key & VTD_PT_KEY_REPLACED) ||
		    !try_cmpxchg(&page->key, &key, key & ~VTD_PT_KEY_REPLACED))
			continue;

		vtd_pt_deposit_children(pt, table, level - 1);
		vtd_pt_deposit(pt, slot + i, table);
	}
}

/*
 * Large pages of @level from @iova to @last have replaced empty tables. Invalidate once for
 * all of them, as each invalidation waits for hardware. Until it is
 * done, hardware may still walk a table that no entry refers to any more, so nobody may
 * fill that table again. The order is:
 *
 *   1. exchange the entries and mark the tables as replaced (vtd_pt_replace_table()), then
 *      write the entries back;
 *   2. invalidate all of the range, and wait for that;
 *   3. deposit the tables, by their marks.
 *
 * vtd_pt_withdraw() takes no table before 3: it looks for deposited ones, and a table goes
 * from in use to replaced to deposited. The mark is needed because other slots have
 * their tables in the same list: some are in use, and some are replaced by a neighbour's
 * call, whose invalidation may not be done. Each call deposits those of its own slots.
 */
static void vtd_pt_deposit_replaced(struct vtd_pt *pt, u64 iova, u64 last,
				    unsigned int level)
{
	pt->cfg.ops->invalidate(pt->cfg.owner, iova, last, VTD_PT_STRUCTURE);

	while (iova <= last) {
		unsigned int at, n = vtd_pt_entries_left(level, iova, last);
		u64 *slot = vtd_pt_walk(pt, iova, level, &at);

		/* It is, unless a caller that breaks the rules has changed what is above. */
		if (at == level)
			vtd_pt_deposit_run(pt, slot, level, n);
		iova += n * vtd_pt_size(level);
	}
}

/* Split */

/* All entries of a table that nobody else sees. */
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

	/* Somebody who splits the same page elsewhere was faster. */
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
	 * exchange fails, and the table is filled again. It does so at most once for
	 * each bit, as nobody clears them meanwhile, so this ends. If it fails because
	 * there is a table now, somebody else was faster.
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

/* How many tables it takes for no leaf to reach across @iova. */
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

/* The same for @iova and @end, which may lie in one large page. */
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
 * Split leaves until none reaches across @iova. One that does is partly the caller's,
 * whether @iova is the start or the end of its range, and so is everything above; what is
 * below belongs to a neighbour as soon as somebody else has split it.
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

/* Split at @iova and @end, by @need tables of which some may not be needed. */
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

/* Is a table deposited for the page of 2 MiB that reaches across @iova, if one does? */
static bool vtd_pt_split_has_deposit(struct vtd_pt *pt, u64 iova)
{
	unsigned int level;
	u64 *slot;

	return !IS_ALIGNED(iova, SZ_2M) &&
	       fmt_present(vtd_pt_lookup(pt, iova, &level, &slot)) && level == 2 &&
	       vtd_pt_has_deposit(slot);
}

/* How many tables it takes that are not deposited, as far as that is seen for 2 MiB. */
static unsigned int vtd_pt_split_missing(struct vtd_pt *pt, u64 iova, u64 end)
{
	unsigned int need = vtd_pt_split_tables_needed(pt, iova, end), deposited;

	deposited = vtd_pt_split_has_deposit(pt, iova);
	if (!deposited || (iova ^ end) >> vtd_pt_shift(2))
		deposited += vtd_pt_split_has_deposit(pt, end);

	return need - min(need, deposited);
}

/*
 * Ensure that no leaf reaches across @iova or @end. Memory is there before the first
 * change, unless others split the same pages: one of them may have withdrawn a table that
 * was counted on (-EAGAIN), and then one end may be split when memory is missing for the
 * other. Or they have left less to split, so that less memory is enough.
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
 * Clear @n entries of @level above 1. An entry may be a neighbour's table, or become one at
 * any time while it is empty. Stops at a table; returns the number of entries done.
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

		/* Nothing, if a hole has just become a neighbour's table. */
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
 * Store a leaf of @level in @slot, unless that is in use. Above page directories,
 * vtd_pt_prealloc() may install a table at the same time, though it owns nothing.
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

/* Fill @n slots of @level. Returns how many are filled before one is in use. */
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
 * Map all that @slot covers, an entry of @level for @iova that is empty, by a table
 * that is full before anybody sees it. Returns how many leaves are mapped: none if
 * somebody else has just populated the slot.
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
 * Map @n leaves of @level in one table. Returns how many are, or an error. Sets *@replaced
 * if some have replaced tables.
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

/* vtd_pt_map() with all its checks. */
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

	/* Small pages have their level as a constant. */
	leaf = fmt_make_leaf(paddr, level, prot);
	if (level == 1)
		return vtd_pt_map_range(pt, iova, iova + size - 1, leaf, 1, gfp, mapped);

	return vtd_pt_map_range(pt, iova, iova + size - 1, leaf, level, gfp, mapped);
}

/*
 * Map one leaf of @level, where all tables are there. Returns false, with nothing
 * changed, if that is not so, or if anything else is wrong.
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
 * @pgcount: how many leaves
 * @prot: IOMMU_READ or IOMMU_WRITE or both. At the first level, writable implies
 *	readable, as there is no write-only page. At the second, IOMMU_CACHE sets the
 *	snoop bit, which needs ECAP.SC.
 * @gfp: how to allocate tables
 * @mapped: set to the bytes that this call has mapped and left mapped
 *
 * A large page may take the place of a table that has become empty;
 * &vtd_pt_ops.invalidate() is called for that.
 *
 * Context: any, as far as @gfp and the callbacks allow. No lock is taken. Other
 * ranges may be mapped and unmapped at the same time.
 *
 * Return:
 * * 0		- all is mapped
 * * -EINVAL	- size unknown, misaligned or nothing, or no access allowed
 * * -ERANGE	- outside of the aperture (see vtd_pt_last_iova()), or of physical
 *		  addresses
 * * -EADDRINUSE - something is mapped there already; it stays, and what this
 *		  call had mapped has been unwound and invalidated
 * * -ENOMEM	- no memory for a table, or none left of &vtd_pt_cfg.max_pages; what
 *		  had been mapped stays, see @mapped, for the iommu core to unmap
 */
int vtd_pt_map(struct vtd_pt *pt, u64 iova, phys_addr_t paddr, size_t pgsize,
	       size_t pgcount, int prot, gfp_t gfp, size_t *mapped)
{
	/* Most often it is one leaf where there are tables already. */
	if (pgcount == 1 &&
	    ((pgsize == SZ_4K && vtd_pt_map_one(pt, iova, paddr, 1, prot)) ||
	     (pgsize == SZ_2M && vtd_pt_map_one(pt, iova, paddr, 2, prot)))) {
		*mapped = pgsize;
		return 0;
	}

	return vtd_pt_map_any(pt, iova, paddr, pgsize, pgcount, prot, gfp, mapped);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_map);

/* vtd_pt_unmap() of more than one entry, from @slot on, of @level. */
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
 * The range may end or begin inside of large pages: these are split first,
 * and the part outside of the range never stops translating, for hardware that walks
 * this table. (A hypervisor that shadows it may unmap the large page before it maps the
 * parts, as QEMU does for VFIO behind a caching mode.) Only that needs
 * memory, which is tried for without sleeping. Holes in the range are skipped.
 *
 * What was unmapped is the caller's to invalidate, as %VTD_PT_LEAVES, before it
 * reuses the memory; structure that was changed has been invalidated on return.
 *
 * Context: any that the callbacks allow. No lock is taken. Other ranges may be
 * mapped and unmapped at the same time.
 *
 * Return: @size, or 0 if nothing was unmapped: the range is misaligned, empty or
 * outside of the aperture, or it splits a large page and there is no memory.
 */
size_t vtd_pt_unmap(struct vtd_pt *pt, u64 iova, size_t size)
{
	unsigned int level;
	u64 *slot;

	if (unlikely(!size || !IS_ALIGNED(iova | size, SZ_4K) ||
		     !vtd_pt_in_aperture(pt, iova, size)))
		return 0;

	slot = vtd_pt_walk(pt, iova, 1, &level);
	/* Most often it is one leaf. What is empty may become a table. */
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
 * that has been in use stays one of that slot, so that neither is lost.
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
 * vtd_pt_prealloc() - allocate what a range may need
 * @pt: the table
 * @iova: first I/O virtual address, in bytes
 * @size: length in bytes, not 0
 * @gfp: how to allocate tables
 *
 * Until vtd_pt_free_empty_tables(), mapping pages of 4 KiB or 2 MiB in the range and
 * splitting those of 2 MiB takes no memory: each 2 MiB have a page table, installed or
 * deposited, as each huge page of a process has. For those who unmap where there may be
 * no memory, as MMU notifiers do.
 *
 * Context: any that @gfp allows. Others may map, unmap and preallocate in the range at the
 * same time, as demand paging does: this call changes no leaf, and no entry of a page
 * directory, and installs page directories only where its cmpxchg finds nothing. Two who
 * preallocate the same may allocate a table more than is needed. Two who split the same
 * page at the same time may each take a table, of which one is returned.
 *
 * Return: 0; -ERANGE if the range is outside of the aperture; -ENOMEM; -EADDRINUSE
 * where a page of 1 GiB is mapped.
 */
int vtd_pt_prealloc(struct vtd_pt *pt, u64 iova, size_t size, gfp_t gfp)
{
	u64 last = iova + size - 1;
	unsigned int level;
	u64 *slot;
	int ret;

	if (!vtd_pt_in_aperture(pt, iova, size))
		return -ERANGE;

	for (iova = ALIGN_DOWN(iova, SZ_2M); iova <= last; iova += SZ_2M) {
		slot = vtd_pt_walk(pt, iova, 2, &level);
		slot = vtd_pt_walk_alloc(pt, slot, level, iova, 2, gfp);
		if (IS_ERR(slot))
			return PTR_ERR(slot);

		ret = vtd_pt_prealloc_slot(pt, slot, gfp);
		if (ret)
			return ret;
	}

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_prealloc);

/**
 * vtd_pt_iova_to_phys() - what an address translates to
 * @pt: the table
 * @iova: I/O virtual address in bytes, any alignment
 *
 * Context: any; safe against concurrent map and unmap, of which it sees the
 * state before or after.
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
 * vtd_pt_iova_to_phys_length() - what a range translates to, as far as it is contiguous
 * @pt: the table
 * @iova: I/O virtual address in bytes, any alignment
 * @size: how many bytes from there on are of interest, not 0
 * @length: set to how many of them are contiguous in memory, by leaves of one table;
 *	0 if nothing is mapped at @iova
 *
 * What is mapped by leaves of another table may be contiguous, too: the caller asks again.
 *
 * Context: as vtd_pt_iova_to_phys(); each leaf is seen as it is before or after.
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

/* Create and destroy */

/**
 * vtd_pt_create() - make an empty table
 * @cfg: what the table is to be like; copied
 *
 * Context: may sleep.
 *
 * Return: the table, or ERR_PTR: -EINVAL if @cfg asks for what the format does
 * not have, or for an aperture of no whole GiB; -ENOMEM.
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
 * vtd_pt_destroy() - free a table and all that was ever allocated for it
 * @pt: the table; whatever is still mapped goes with it
 *
 * The pages go back to the system after an RCU grace period, for the sake of
 * fault dumps.
 *
 * Context: no device may reach the table any more, its caches invalidated, and
 * nobody may call any other function on @pt.
 */
void vtd_pt_destroy(struct vtd_pt *pt)
{
	vtd_pt_free_pages(pt->pages);
	kfree(pt);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_destroy);

/**
 * vtd_pt_nr_tables() - how many tables there are, deposited ones included
 * @pt: the table
 *
 * Return: the number of pages.
 */
unsigned long vtd_pt_nr_tables(struct vtd_pt *pt)
{
	return atomic_long_read(&pt->nr_pages);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_nr_tables);

/* Looks at every table, of which there may be millions, and lets others run. */
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
 * vtd_pt_free_empty_tables() - free all tables but the root, if nothing is mapped
 * @pt: the table
 *
 * Unmapping never frees a table. It is safe at a moment when nobody can be on the way
 * through these tables, and only the owner of the whole address space knows one: no
 * CPU is (the caller says so), and hardware is not when its caches are invalidated
 * after the root has become empty. Domains may stay attached.
 *
 * Context: may sleep. No other function of this library may be at work on @pt, or
 * begin before this one is through, but for those that only count or dump:
 * vtd_pt_count_leaves(), vtd_pt_count_tables(), and under rcu_read_lock() vtd_pt_path()
 * and vtd_pt_next_leaf().
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

	/* The root was the first, and so is the last of the list. */
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

/* What a call of vtd_pt_read_and_clear_dirty() is to do */
struct vtd_pt_dirty {
	struct vtd_pt *pt;
	u64 last;		/* of the range */
	u64 unit;		/* split what is larger */
	bool clear;
	struct iommu_dirty_bitmap *report;
};

/*
 * Clear Dirty in @slot, which held *@entry, a dirty leaf. On failure *@entry is what the
 * slot holds: another reader that has split the leaf has copied the bit to the parts.
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
 * leaf, by a table in which the parts that lie in the range are not dirty, and others are.
 * vtd_pt_sync_split() has to follow. On failure *@entry is what the slot holds.
 *
 * Taking a deposited table is safe, as no owner of the page is at work who may have
 * counted on it; allocating another one would leave one more with each turn of mapping
 * the page and splitting it.
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
 * Steps 3 to 5 of "Syncing a table" for the large pages that @split has, of @n in one
 * table from @slot on, the entry of @level for @iova. One invalidation does for all, as each
 * waits for hardware. A write through what hardware has cached of a page comes
 * before its end, and so belongs to the report; a later one sets the bit of its part.
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
 * Report the dirty leaf at @slot, an entry of @level for @iova that held *@entry, as far as
 * the range goes. A page that reaches out of the range stays dirty, as the rest of it has
 * not been reported. On failure *@entry is what the slot holds.
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
 * Report the leaves that are dirty among those of @level in one table, from @slot on, the
 * entry for @iova. Returns where the table, or the range, ends or a table is in the way.
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
 * @unit: how many bytes one bit of the report stands for: larger pages are split when they
 *	are reported and cleared. At least 4 KiB; U64_MAX splits none.
 * @report: where to report what is dirty in the range. What is to be invalidated for
 *	hardware to set the bits again is gathered there as well.
 *
 * Each leaf is visited once, and its bit is cleared by an exchange of the entry. A write
 * is reported by this call or the next, also if the leaf is split meanwhile.
 *
 * A large page that is split by one level is reported only as far as the range goes; what
 * is outside of it stays dirty. From then on, reports are as fine as its parts. Without
 * memory the page stays, and is clean only if all of it has been reported.
 *
 * Context: may sleep. The caller has to keep map, unmap and split of the range away, and of
 * large pages that reach into it: they store to leaves that this call replaces by tables.
 * iommufd does: it reads what areas with pages have, with iova_rwsem held, and pages come
 * and go with iova_rwsem held for writing. Lookups and other readers of Dirty bits may run
 * at the same time.
 */
void vtd_pt_read_and_clear_dirty(struct vtd_pt *pt, u64 iova, u64 last,
				 unsigned long flags, u64 unit,
				 struct iommu_dirty_bitmap *report)
{
	bool clear = !(flags & IOMMU_DIRTY_NO_CLEAR);
	struct vtd_pt_dirty dirty = {
		.pt	= pt,
		.last	= min(last, pt->last),
		.unit	= clear ? unit : U64_MAX,
		.clear	= clear,
		.report	= report,
	};

	while (iova <= dirty.last) {
		unsigned int level;
		/*
		 * Below an entry that is not in sync, a bit must not be cleared: hardware may
		 * have all of the large page cached as dirty.
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
 * vtd_pt_config() - what the table was created with
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
 * with 3, 4 or 5 levels. Or what &vtd_pt_cfg.last_iova leaves of it.
 *
 * Return: the address in bytes, inclusive.
 */
u64 vtd_pt_last_iova(const struct vtd_pt *pt)
{
	return pt->last;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_last_iova);

/**
 * vtd_pt_path() - follow a table as hardware would
 * @root: physical address of the topmost table
 * @levels: its level
 * @iova: I/O virtual address in bytes
 * @path: the entries met, by level; 0 where the walk did not come
 *
 * Goes from a PASID entry's pointer, so that fault dumps and debugfs need no
 * handle. Only for tables of this library: others may free pages at any time.
 *
 * Context: any; under rcu_read_lock() since before @root was read, or while the
 * table can neither be destroyed nor give anything back.
 *
 * Return: the level at which the walk ended, at a leaf or at nothing.
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
 * vtd_pt_next_leaf() - find the first leaf at or behind an address
 * @root: physical address of the topmost table
 * @levels: its level
 * @iova: where to begin; set to where the leaf begins, in bytes
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

		/* To where the table ends, or something else is in it. */
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
 * vtd_pt_count_leaves() - count the leaves of one GiB, or skip more where nothing is
 * @pt: the table
 * @iova: where to go on, a multiple of 1 GiB; set to where the next call goes on
 * @stats: where to add
 *
 * Leaves are counted when somebody asks: counting them as they come would cost every
 * map a store to a shared line. Concurrent operations are seen in part.
 *
 * Context: any but concurrently with vtd_pt_destroy(). Takes less than a millisecond, so
 * that the caller can let others go ahead in between.
 *
 * Return: true if there is more to come.
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
 * vtd_pt_count_tables() - tell how many tables there are
 * @pt: the table
 * @stats: what was found; no leaves
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
