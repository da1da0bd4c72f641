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
 *   cmpxchg, and but for FL_SYNCED only in two ways: from nothing to a table
 *   (populate), and from a leaf to a table that translates the same (break-
 *   down). The loser frees its page and uses the winner's table.
 * - A table belongs to its slot until flpt_destroy(). A pointer to it stays good,
 *   and stays a pointer to the table of that region. When a large page takes the
 *   place of an empty table, the table is parked: kept for that slot, empty,
 *   until the slot turns into a table again.
 *
 * Callers that break the first rule (two operations on overlapping ranges at the
 * same time) may find either result in their ranges, and may lose a table page until
 * the end: a 2 MiB leaf that is stored where another has just installed a table.
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
 *   5. set FL_SYNCED in it, and set the key of the table.
 *
 * smp_wmb() in 2 pairs with the address dependency of every CPU that loads the
 * entry and follows it: what it finds in the table is what was filled in.
 *
 * From 2 to 5, CPUs see an entry that hardware does not, and the CPU in between
 * may be preempted. Let another one, which owns a part of the same slot, map a
 * page below the entry and start its device: the device faults, as the write-
 * back of the leaf does not cover the entry. Let it unmap its part of a large
 * page, invalidate 4 KiB and return: memory, the IOTLB or a device TLB still has
 * the large page, which goes only by an invalidation that covers it. Hence the
 * rule, for walks of both kinds: no CPU changes anything below an entry that
 * lacks FL_SYNCED. One that finds it missing does not wait, but does 3 to 5 (but
 * for the key) itself. All of that may be done twice, and what is below changes
 * only after it: a CPU goes on after its own 5, or after it has seen FL_SYNCED or
 * the key, which come after another's 4, as both are exchanges, which are fully
 * ordered. A CPU that did not install the entry cannot tell what was there
 * before, so it invalidates where a large page may have been.
 *
 * FL_SYNCED is for CPUs only, so it does not matter whether it reaches memory. If
 * the walk is coherent and the slot was empty, there is nothing to sync, and the
 * entry has it from the start.
 *
 * Remembering a table
 * -------------------
 * Each CPU remembers some of the page directories that it has worked in, and need
 * not walk to them again. Such a hint is never wrong about where the table is. It may
 * have been parked since; what counts is its key, which says for what region it is
 * in use. Parking takes that away, before the owner of the region who mapped the
 * large page returns. Installing sets it as the last step, so a CPU that finds the
 * key finds all that the walk would have shown: the exchange there, which is fully
 * ordered, pairs with smp_load_acquire() here.
 */

#include <kunit/static_stub.h>
#include <linux/cache.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "../iommu-pages.h"
#include "flpt.h"
#include "flpt_fmt.h"
#include "flpt_test.h"

/*
 * A table, in place of its struct page. While it is in use, nothing else looks at
 * these fields but at bit 0 of the second, which is clear.
 */
struct flpt_page {
	unsigned long __page_flags;
	union {
		struct {
			struct flpt_page *sibling;	/* in the list of its parent */
			unsigned long key;
		};
		struct rcu_head rcu;
	};
	unsigned long __page_mapping;
	struct flpt_page *next;		/* of all pages of this struct flpt */
	struct flpt_page *parked;	/* tables that were, below this one */
};

#define FLPT_PAGE_MATCH(ours, theirs)					\
	static_assert(offsetof(struct flpt_page, ours) ==		\
		      offsetof(struct page, theirs))
FLPT_PAGE_MATCH(__page_flags, flags);
FLPT_PAGE_MATCH(rcu, rcu_head);
FLPT_PAGE_MATCH(__page_mapping, mapping);
FLPT_PAGE_MATCH(parked, private);
#undef FLPT_PAGE_MATCH
static_assert(sizeof(struct flpt_page) <= sizeof(struct page));

/* The key of a table: its level, and what it is in use or parked for. */
#define FLPT_KEY_LEVEL		GENMASK(2, 0)
#define FLPT_KEY_IN_USE		BIT(3)
#define FLPT_KEY_LISTED		BIT(4)	/* below its parent, since it was parked first */
#define FLPT_KEY_PARKED		BIT(5)	/* free to be used for its slot */
#define FLPT_KEY_FOR		6	/* from here on, the IOVA in GiB or the slot */

/*
 * Page directories are remembered, of up to 8 GiB in one piece. From there it is one
 * step to a page table; to remember those, too, makes a map of one page cheaper by a
 * little, and those that are scattered over many tables dearer by more.
 */
#define FLPT_HINT_LEVEL		2
#define FLPT_HINTS		8

struct flpt_hints {
	u64 *directory[FLPT_HINTS];
};

struct flpt {
	u64 *root;
	u64 last;		/* last IOVA of the aperture */
	struct flpt_hints __percpu *hints;
	struct flpt_cfg cfg;

	/* Written when a table comes, never by a plain map or unmap. */
	struct flpt_page *pages ____cacheline_aligned_in_smp;
	atomic_long_t nr_pages;	/* of the list, or on their way into it */
	atomic_long_t nr_tables[FLPT_MAX_LEVELS + 1];	/* of the list, by level */
	atomic_long_t nr_parked;	/* of these */
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
	struct page *page;

	KUNIT_STATIC_STUB_REDIRECT(flpt_alloc_page, cfg, gfp);

	page = alloc_pages_node(cfg->nid, gfp | cfg->gfp, 0);
	if (!page)
		return NULL;

	__iommu_alloc_account(page, 0);
	return page_address(page);
}
EXPORT_SYMBOL_IF_KUNIT(flpt_alloc_page);

static struct flpt_page *flpt_page(const void *addr)
{
	return (struct flpt_page *)virt_to_page(addr);
}

static u64 *flpt_page_table(const struct flpt_page *page)
{
	return page_address((const struct page *)page);
}

static bool flpt_charge(struct flpt *pt)
{
	unsigned long nr = atomic_long_inc_return(&pt->nr_pages);

	return !pt->cfg.max_pages || nr <= pt->cfg.max_pages;
}

static void flpt_uncharge(struct flpt *pt)
{
	atomic_long_dec(&pt->nr_pages);
}

/* A page to become a table. */
static void *flpt_new_page(struct flpt *pt, gfp_t gfp)
{
	struct flpt_page *page;
	void *addr = NULL;

	if (flpt_charge(pt))
		addr = flpt_alloc_page(&pt->cfg, gfp);
	if (!addr) {
		flpt_uncharge(pt);
		return NULL;
	}

	page = flpt_page(addr);
	WRITE_ONCE(page->key, 0);
	page->parked = NULL;

	return addr;
}

/* Free a page that nobody else has ever been able to reach. */
static void flpt_drop_page(struct flpt *pt, void *addr)
{
	iommu_free_page(addr);
	flpt_uncharge(pt);
}

/* Note a table of @level that others can reach: it stays to the end. */
static void flpt_keep_page(struct flpt *pt, struct flpt_page *page, unsigned int level)
{
	atomic_long_inc(&pt->nr_tables[level]);
	page->next = READ_ONCE(pt->pages);
	while (!try_cmpxchg(&pt->pages, &page->next, page))
		;
}

static void flpt_free_batch(struct rcu_head *rcu)
{
	struct flpt_page *page = container_of(rcu, struct flpt_page, rcu);

	while (page) {
		struct flpt_page *next = page->next;

		page->parked = NULL;
		__iommu_free_pages((struct page *)page, 0);
		page = next;
	}
}

/*
 * Free @page and all behind it, which may be millions. Fault dumps walk from the PASID entry in
 * interrupt context, where they cannot keep the domain from going away.
 */
static void flpt_free_pages(struct flpt_page *page)
{
	while (page) {
		struct flpt_page *batch = page, *next;
		unsigned int nr;

		for (nr = 1; nr < 64 && page->next; nr++)
			page = page->next;

		next = page->next;
		page->next = NULL;
		call_rcu(&batch->rcu, flpt_free_batch);
		page = next;
		cond_resched();
	}
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

/* Entries */

/* Entries that are looked at together, or stored, rather than each by itself. */
#define FLPT_STRIDE	8

/* In pairs, as each sum waits for the one before it. */
static __always_inline void flpt_store_stride(u64 *slot, u64 leaf, u64 step)
{
	unsigned int i;

#pragma GCC unroll 8
	for (i = 0; i < FLPT_STRIDE; i += 2, leaf += 2 * step) {
		fl_store(slot + i, leaf);
		fl_store(slot + i + 1, leaf + step);
	}
}

/*
 * Clear @n entries of the caller's. All of a page table's are, as they are not
 * larger than what can be owned.
 */
static void flpt_clear_pages(u64 *slot, unsigned int n)
{
	unsigned int i;

	for (; n >= FLPT_STRIDE; n -= FLPT_STRIDE, slot += FLPT_STRIDE)
		flpt_store_stride(slot, 0, 0);
	for (i = 0; i < n; i++)
		fl_store(slot + i, 0);
}

/* Remembering: see "Remembering a table" above. */

static u64 **flpt_hint(struct flpt *pt, u64 iova)
{
	unsigned int place = (iova >> fl_shift(FLPT_HINT_LEVEL + 1)) % FLPT_HINTS;

	/* Another CPU's, if this one is left meanwhile, is as good. */
	return &raw_cpu_ptr(pt->hints)->directory[place];
}

static unsigned long flpt_key(u64 iova, unsigned int level)
{
	return (iova >> fl_shift(FLPT_HINT_LEVEL + 1)) << FLPT_KEY_FOR |
	       FLPT_KEY_IN_USE | level;
}

/* The page directory for @iova, if this CPU remembers it. */
static __always_inline u64 *flpt_recall_directory(struct flpt *pt, u64 iova)
{
	u64 *table = READ_ONCE(*flpt_hint(pt, iova));
	unsigned long key;

	if (unlikely(!table))
		return NULL;

	/* What was done before the key was set; see flpt_install(). */
	key = smp_load_acquire(&flpt_page(table)->key) & ~FLPT_KEY_LISTED;
	if (unlikely(key != flpt_key(iova, FLPT_HINT_LEVEL)))
		return NULL;

	return table;
}

/*
 * Where a walk for @iova down to @level begins, and at what level: at what is
 * remembered, or at the root.
 */
static u64 *flpt_begin(struct flpt *pt, u64 iova, unsigned int level,
		       unsigned int *from)
{
	u64 *table = NULL;

	*from = FLPT_HINT_LEVEL;
	if (level <= FLPT_HINT_LEVEL)
		table = flpt_recall_directory(pt, iova);
	if (likely(table))
		return table;

	*from = pt->cfg.levels;
	return pt->root;
}

static void flpt_remember(struct flpt *pt, u64 iova, unsigned int level, u64 *table)
{
	if (level != FLPT_HINT_LEVEL)
		return;

	/*
	 * The table's key before the table: a task that was migrated stores for another
	 * CPU, which must not find what the page's last owner has left there.
	 */
	smp_store_release(flpt_hint(pt, iova), table);
}

/* The slot for @iova at @level, 1 or 2, by what this CPU remembers, or NULL. */
static __always_inline u64 *flpt_recall_slot(struct flpt *pt, u64 iova,
					     unsigned int level)
{
	u64 *table = flpt_recall_directory(pt, iova), entry;

	if (!table || level == 2)
		return table ? table + fl_index(iova, 2) : NULL;

	entry = fl_load(table + fl_index(iova, 2));
	if (unlikely(!fl_is_synced_table(entry)))
		return NULL;

	return flpt_table(entry) + fl_index(iova, 1);
}

/* Parking */

static unsigned long flpt_parked_key(u64 *slot)
{
	return (offset_in_page(slot) / sizeof(*slot)) << FLPT_KEY_FOR |
	       FLPT_KEY_LISTED | FLPT_KEY_PARKED;
}

/*
 * Keep @table, which is empty and out of hardware's reach, for @slot. It joins the
 * list of the table that @slot is in, and stays there; its key tells whether it can
 * be had. There may be more than one for a slot, if several CPUs split the same large
 * page at the same time and those that had a parked table lost against a new one.
 * Listing takes no memory, at the price of a search when a slot turns into a table.
 */
static void flpt_park(struct flpt *pt, u64 *slot, u64 *table)
{
	struct flpt_page *parent = flpt_page(slot), *page = flpt_page(table);
	unsigned long key = READ_ONCE(page->key);

	if (!(key & FLPT_KEY_LISTED)) {
		page->sibling = READ_ONCE(parent->parked);
		while (!try_cmpxchg(&parent->parked, &page->sibling, page))
			;
	}

	atomic_long_inc(&pt->nr_parked);
	/*
	 * Nothing has to come before this: the slot holds a large page or a table now,
	 * so the CPU that takes @table next owns all of the slot, and has ordered
	 * itself behind this one.
	 */
	WRITE_ONCE(page->key, flpt_parked_key(slot) | (key & FLPT_KEY_LEVEL));
}

static u64 *flpt_unpark(struct flpt *pt, u64 *slot)
{
	struct flpt_page *page = READ_ONCE(flpt_page(slot)->parked);

	for (; page; page = page->sibling) {
		unsigned long key = READ_ONCE(page->key);

		if ((key & ~FLPT_KEY_LEVEL) == flpt_parked_key(slot) &&
		    try_cmpxchg(&page->key, &key, key & ~FLPT_KEY_PARKED)) {
			atomic_long_dec(&pt->nr_parked);
			return flpt_page_table(page);
		}
	}

	return NULL;
}

/* Populate */

/*
 * Bring hardware in sync with @entry, which refers to a table and is at @slot, an
 * entry of @level for @iova; @replaced if a large page may have been there. See
 * "Syncing a table" above.
 */
static noinline void flpt_sync(struct flpt *pt, u64 *slot, unsigned int level, u64 iova,
			       u64 entry, bool replaced)
{
	iova = ALIGN_DOWN(iova, fl_size(level));
	flpt_write_back(pt, slot, sizeof(*slot));
	if (replaced)
		pt->cfg.ops->invalidate(pt->cfg.owner, iova, iova + fl_size(level) - 1,
					FLPT_STRUCTURE);
	/* Fully ordered. It fails if another CPU has done the same. */
	cmpxchg64(slot, entry, entry | FL_SYNCED);
}

/* The same for an entry that was found, and that another CPU has installed. */
static void flpt_sync_found(struct flpt *pt, u64 *slot, unsigned int level, u64 iova,
			    u64 entry)
{
	flpt_sync(pt, slot, level, iova, entry, pt->cfg.pgsize_bitmap & fl_size(level));
}

/*
 * Put @table where @slot, an entry of @level for @iova, still holds *@old. On
 * failure *@old is what the slot holds.
 */
static bool flpt_install(struct flpt *pt, u64 *slot, unsigned int level, u64 iova,
			 u64 *old, u64 *table)
{
	struct flpt_page *page = flpt_page(table);
	u64 new = fl_make_table(virt_to_phys(table));
	unsigned long key = READ_ONCE(page->key);
	bool replaced = fl_present(*old);

	if (pt->cfg.coherent && !replaced)
		new |= FL_SYNCED;

	flpt_write_back(pt, table, PAGE_SIZE);
	smp_wmb();	/* the table's content before the table */
	if (!try_cmpxchg64_relaxed(slot, old, new))
		return false;

	if (!(new & FL_SYNCED))
		flpt_sync(pt, slot, level, iova, new, replaced);

	if (!(key & FLPT_KEY_LISTED))
		flpt_keep_page(pt, page, level - 1);
	/*
	 * All of the above before another CPU finds the key. Fully ordered; it fails
	 * if a caller that owns nothing here has parked the table.
	 */
	try_cmpxchg(&page->key, &key,
		    (key & FLPT_KEY_LISTED) | flpt_key(iova, level - 1));

	return true;
}

/*
 * A table that nobody else sees, for @slot: a parked one, whose entries are zero, or a
 * new one.
 */
static u64 *flpt_take_table(struct flpt *pt, u64 *slot, gfp_t gfp)
{
	u64 *table = flpt_unpark(pt, slot);

	return table ?: flpt_new_page(pt, gfp);
}

/* What was taken turned out not to be needed; @filled if it is not empty. */
static void flpt_return_table(struct flpt *pt, u64 *slot, u64 *table, bool filled)
{
	if (!(READ_ONCE(flpt_page(table)->key) & FLPT_KEY_LISTED)) {
		flpt_drop_page(pt, table);
		return;
	}

	if (filled)
		flpt_clear_pages(table, FL_ENTRIES);
	flpt_park(pt, slot, table);
}

/*
 * The table below @slot, an entry of @level for @iova: made if there is none, and
 * in sync in any case. -EADDRINUSE if the slot is a leaf.
 */
static noinline u64 *flpt_populate(struct flpt *pt, u64 *slot, unsigned int level,
				   u64 iova, gfp_t gfp)
{
	u64 entry = fl_load(slot);

	if (!fl_present(entry)) {
		u64 *table = flpt_take_table(pt, slot, gfp | __GFP_ZERO);

		if (!table)
			return ERR_PTR(-ENOMEM);

		if (flpt_install(pt, slot, level, iova, &entry, table))
			return table;

		/* Somebody else was faster; theirs is as good. */
		flpt_return_table(pt, slot, table, false);
	}

	if (fl_is_leaf(entry, level))
		return ERR_PTR(-EADDRINUSE);

	if (!(entry & FL_SYNCED))
		flpt_sync_found(pt, slot, level, iova, entry);

	return flpt_table(entry);
}

/* A table for what @entry at @slot, a slot of @level for @iova, ought to refer to. */
static u64 *flpt_below(struct flpt *pt, u64 *slot, unsigned int level, u64 iova,
		       gfp_t gfp)
{
	u64 entry = fl_load(slot);

	if (likely(fl_is_synced_table(entry)))
		return flpt_table(entry);

	return flpt_populate(pt, slot, level, iova, gfp);
}

/* The table of @level that has the slot for @iova. */
static u64 *flpt_get_table(struct flpt *pt, u64 iova, unsigned int level, gfp_t gfp)
{
	unsigned int l;
	u64 *table = flpt_begin(pt, iova, level, &l);

	while (l > level) {
		table = flpt_below(pt, table + fl_index(iova, l), l, iova, gfp);
		if (IS_ERR(table))
			return table;

		flpt_remember(pt, iova, --l, table);
	}

	return table;
}

/*
 * What decides about @iova, a leaf or nothing, and at which level. Only looks,
 * so that @iova may be anybody's.
 */
static u64 flpt_look(struct flpt *pt, u64 iova, unsigned int *level)
{
	unsigned int l;
	u64 *table = flpt_begin(pt, iova, 1, &l);

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
 * Entries on the way are in sync: to hardware, a leaf is not gone while it still
 * has the large page that the leaf was part of.
 */
static u64 *flpt_find(struct flpt *pt, u64 iova, unsigned int *level)
{
	unsigned int l;
	u64 *table = flpt_begin(pt, iova, 1, &l);

	for (;;) {
		u64 *slot = table + fl_index(iova, l);
		u64 entry = fl_load(slot);

		if (!fl_is_table(entry, l)) {
			*level = l;
			return slot;
		}
		if (unlikely(!(entry & FL_SYNCED)))
			flpt_sync_found(pt, slot, l, iova, entry);
		table = flpt_table(entry);
		flpt_remember(pt, iova, --l, table);
	}
}

/* How many entries of @level from @iova on, in one table, the range to @last has. */
static __always_inline unsigned int flpt_run(unsigned int level, u64 iova, u64 last)
{
	u64 run = (last >> fl_shift(level)) - (iova >> fl_shift(level)) + 1;

	return min_t(u64, run, FL_ENTRIES - fl_index(iova, level));
}

/*
 * Store @new at @slot, an entry of @level that held @old, a leaf or nothing. The caller
 * owns all of it, so nobody else changes it. Should two callers break that rule, then
 * what they break is their range; but a 1 GiB page that took the place of a directory
 * while CPUs remember it would lead everybody astray, for as long as the table lives.
 * So that is exchanged.
 */
static __always_inline bool flpt_replace_leaf(u64 *slot, unsigned int level, u64 old,
					      u64 new)
{
	if (level > FLPT_HINT_LEVEL)
		return try_cmpxchg64(slot, &old, new);

	fl_store(slot, new);
	return true;
}

/* A large page over a table that has become empty */

static bool flpt_stride_is_free(u64 *slot)
{
	unsigned int i;
	u64 any = 0;

#pragma GCC unroll 8
	for (i = 0; i < FLPT_STRIDE; i++)
		any |= fl_load(slot + i);

	return !any;
}

static bool flpt_is_empty(u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; i < FL_ENTRIES; i++) {
		if (i % FLPT_STRIDE == 0 && flpt_stride_is_free(table + i)) {
			i += FLPT_STRIDE - 1;
			continue;
		}

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

/* Park the tables below @table, which is no longer reachable for hardware. */
static void flpt_park_children(struct flpt *pt, u64 *table, unsigned int level)
{
	unsigned int i;

	for (i = 0; level > 1 && i < FL_ENTRIES; i++) {
		u64 entry = fl_load(table + i);

		if (!fl_is_table(entry, level))
			continue;

		fl_store(table + i, 0);
		flpt_park(pt, table + i, flpt_table(entry));
	}
}

/*
 * Store @leaf at @slot, an entry of @level for @iova that is in use. That works
 * if what it refers to is an empty table. Hardware may have the table in a
 * paging-structure cache and would go on finding nothing there, hence the
 * invalidation; only after that may the table be used again. No memory is needed.
 */
static noinline int flpt_supersede(struct flpt *pt, u64 *slot, unsigned int level,
				   u64 iova, u64 leaf)
{
	u64 old = fl_load(slot);
	u64 *table;

	if (!fl_is_table(old, level))
		return -EADDRINUSE;

	table = flpt_table(old);
	if (!flpt_is_empty(table, level - 1))
		return -EADDRINUSE;

	if (!try_cmpxchg64(slot, &old, leaf))
		return -EADDRINUSE;

	flpt_write_back(pt, slot, sizeof(*slot));
	pt->cfg.ops->invalidate(pt->cfg.owner, iova, iova + fl_size(level) - 1,
				FLPT_STRUCTURE);

	flpt_park_children(pt, table, level - 1);
	flpt_park(pt, slot, table);

	return 0;
}

/* Break-down */

/* All entries of a table that nobody else sees. */
static void flpt_fill_table(u64 *table, u64 leaf, u64 step)
{
	unsigned int i;

	for (i = 0; i < FL_ENTRIES; i += FLPT_STRIDE)
		flpt_store_stride(table + i, leaf + i * step, step);
}

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
		flpt_fill_table(table, fl_split_leaf(leaf, level, 0),
				fl_size(level - 1));
		if (flpt_install(pt, slot, level, iova, &leaf, table))
			return 0;
	}

	if (parked)
		flpt_return_table(pt, slot, parked, true);
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
		u64 *table = flpt_get_table(pt, iova, level, GFP_NOWAIT);
		int ret;

		if (IS_ERR(table))
			return PTR_ERR(table);

		ret = flpt_break_down(pt, table + fl_index(iova, level), level,
				      iova, spares);
		if (ret)
			return ret;
	}

	return 0;
}

/*
 * See to it that no leaf reaches across @iova or @end. All memory is there
 * before the first change, so that a failure leaves everything as it was.
 */
static noinline int flpt_cut(struct flpt *pt, u64 iova, u64 end, gfp_t gfp)
{
	unsigned int need = flpt_cuts_depth(pt, iova, end);
	struct flpt_spares spares = {};
	int ret = 0;

	while (!ret && spares.nr < need) {
		u64 *table = flpt_new_page(pt, gfp);

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
		flpt_drop_page(pt, spares.table[--spares.nr]);

	return ret;
}

/* Clear */

static bool flpt_stride_has_leaves_only(u64 *slot)
{
	unsigned int i;
	u64 all = ~0ULL;

#pragma GCC unroll 8
	for (i = 0; i < FLPT_STRIDE; i++)
		all &= fl_load(slot + i);

	return fl_is_large_leaf(all);
}

/*
 * The same above page tables, where an entry may be a neighbour's table, or become
 * one at any time if it is empty. Returns how many entries are done; fewer than @n
 * where a table is in the way.
 */
static unsigned int flpt_clear_large(u64 *slot, unsigned int level, unsigned int n)
{
	unsigned int i = 0;

	while (i < n) {
		u64 entry;

		if (level == FLPT_HINT_LEVEL && n - i >= FLPT_STRIDE &&
		    flpt_stride_has_leaves_only(slot + i)) {
			flpt_clear_pages(slot + i, FLPT_STRIDE);
			i += FLPT_STRIDE;
			continue;
		}

		entry = fl_load(slot + i);
		if (fl_is_table(entry, level))
			break;
		if (!entry || flpt_replace_leaf(slot + i, level, entry, 0))
			i++;
	}

	return i;
}

/* Clear every leaf from @iova to @last, beginning at @slot, of @level. */
static void flpt_clear(struct flpt *pt, u64 *slot, unsigned int level, u64 iova,
		       u64 last)
{
	for (;;) {
		unsigned int n = flpt_run(level, iova, last);

		if (level == 1)
			flpt_clear_pages(slot, n);
		else
			n = flpt_clear_large(slot, level, n);

		/* Nothing, if a hole has just become a neighbour's table. */
		if (n) {
			flpt_write_back(pt, slot, n * sizeof(*slot));
			iova = ALIGN_DOWN(iova, fl_size(level)) +
			       n * fl_size(level);
		}
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

/* Fill @n slots of @level. Returns how many are filled before one is in use. */
static __always_inline unsigned int flpt_fill(u64 *slot, u64 leaf, unsigned int level,
					      unsigned int n)
{
	u64 step = fl_size(level);
	unsigned int i = 0;

	while (i < n) {
		if (level <= FLPT_HINT_LEVEL && n - i >= FLPT_STRIDE &&
		    flpt_stride_is_free(slot + i)) {
			flpt_store_stride(slot + i, leaf, step);
			leaf += FLPT_STRIDE * step;
			i += FLPT_STRIDE;
			continue;
		}

		if (fl_load(slot + i) || !flpt_replace_leaf(slot + i, level, 0, leaf))
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
static noinline int flpt_map_table(struct flpt *pt, u64 *slot, unsigned int level,
				   u64 iova, u64 leaf, gfp_t gfp)
{
	u64 *table = flpt_take_table(pt, slot, gfp);
	u64 none = 0;

	if (!table)
		return -ENOMEM;

	flpt_fill_table(table, leaf, fl_size(level - 1));
	if (flpt_install(pt, slot, level, iova, &none, table))
		return FL_ENTRIES;

	flpt_return_table(pt, slot, table, true);
	return 0;
}

/* Map @n leaves of @level in one table. Returns how many are, or an error. */
static int flpt_map_run(struct flpt *pt, u64 iova, u64 leaf, unsigned int level,
			unsigned int n, gfp_t gfp)
{
	u64 *table, *slot;
	unsigned int done;
	int ret;

	if (n == FL_ENTRIES) {
		table = flpt_get_table(pt, iova, level + 1, gfp);
		if (IS_ERR(table))
			return PTR_ERR(table);

		slot = table + fl_index(iova, level + 1);
		if (!fl_load(slot))
			return flpt_map_table(pt, slot, level + 1, iova, leaf,
					      gfp);

		table = flpt_below(pt, slot, level + 1, iova, gfp);
	} else {
		table = flpt_get_table(pt, iova, level, gfp);
	}
	if (IS_ERR(table))
		return PTR_ERR(table);

	slot = table + fl_index(iova, level);
	done = flpt_fill(slot, leaf, level, n);
	if (likely(done)) {
		flpt_write_back(pt, slot, done * sizeof(*slot));
		return done;
	}

	ret = flpt_supersede(pt, slot, level, iova, leaf);
	return ret ?: 1;
}

static bool flpt_in_aperture(struct flpt *pt, u64 iova, size_t size)
{
	return iova <= pt->last && size - 1 <= pt->last - iova;
}

/* Map one leaf at @slot, of @level, if it is free. */
static __always_inline bool flpt_map_slot(struct flpt *pt, u64 *slot, unsigned int level,
					  u64 leaf)
{
	if (unlikely(fl_load(slot) || !flpt_replace_leaf(slot, level, 0, leaf)))
		return false;

	flpt_write_back(pt, slot, sizeof(*slot));
	return true;
}

/* Map a page of 4 KiB below @slot of a page directory, where a table may be missing. */
static noinline int flpt_map_below(struct flpt *pt, u64 *slot, u64 iova, u64 leaf,
				   gfp_t gfp)
{
	u64 *table = flpt_populate(pt, slot, 2, iova, gfp);

	if (IS_ERR(table))
		return PTR_ERR(table);

	return flpt_map_slot(pt, table + fl_index(iova, 1), 1, leaf);
}

/*
 * Map one page of 4 KiB or 2 MiB in a directory that this CPU remembers, or below it;
 * what is remembered is in the aperture. Returns how many are mapped, which is none
 * if there is more to look at, or an error.
 */
static __always_inline int flpt_map_one(struct flpt *pt, u64 iova, phys_addr_t paddr,
					size_t pgsize, int prot, gfp_t gfp)
{
	u64 *table, *slot;

	if (unlikely(!IS_ALIGNED(iova | paddr, pgsize) || paddr > FL_LAST_ADDR ||
		     !(prot & (IOMMU_READ | IOMMU_WRITE))))
		return 0;

	table = flpt_recall_directory(pt, iova);
	if (unlikely(!table))
		return 0;

	slot = table + fl_index(iova, 2);
	if (pgsize == SZ_4K) {
		u64 leaf = fl_make_leaf(paddr, 1, prot), entry = fl_load(slot);

		if (unlikely(!fl_is_synced_table(entry)))
			return flpt_map_below(pt, slot, iova, leaf, gfp);
		return flpt_map_slot(pt, flpt_table(entry) + fl_index(iova, 1), 1, leaf);
	}
	if (pgsize == SZ_2M && (pt->cfg.pgsize_bitmap & SZ_2M))
		return flpt_map_slot(pt, slot, 2, fl_make_leaf(paddr, 2, prot));
	return 0;
}

/*
 * Map @n leaves in a table of @level that this CPU remembers, if all are in there.
 * Returns how many are mapped.
 */
static __always_inline size_t flpt_map_recalled(struct flpt *pt, u64 iova, u64 last,
						u64 leaf, unsigned int level, size_t n)
{
	u64 *slot = flpt_recall_slot(pt, iova, level);

	if (!slot || (iova ^ last) >> fl_shift(level + 1))
		return 0;

	n = flpt_fill(slot, leaf, level, n);
	if (n)
		flpt_write_back(pt, slot, n * sizeof(*slot));

	return n;
}

/*
 * Map @iova to @last by leaves of which the first would be @leaf, but for @done
 * bytes in front, which are mapped already.
 */
static noinline int flpt_map_rest(struct flpt *pt, u64 iova, u64 last, size_t done,
				  u64 leaf, unsigned int level, gfp_t gfp,
				  size_t *mapped)
{
	int ret = 0;

	do {
		u64 at = iova + done;

		ret = flpt_map_run(pt, at, leaf + done, level,
				   flpt_run(level, at, last), gfp);
		if (ret < 0)
			break;

		done += ret * fl_size(level);
	} while (done <= last - iova);

	if (ret == -EADDRINUSE)
		flpt_take_back(pt, iova, iova + done);
	else
		*mapped = done;

	return min(ret, 0);
}

/*
 * Map one leaf where tables may be missing. Returns how many are mapped, which is
 * none if the slot is in use, or an error.
 */
static noinline int flpt_map_new(struct flpt *pt, u64 iova, u64 leaf,
				 unsigned int level, gfp_t gfp)
{
	u64 *table = flpt_get_table(pt, iova, level, gfp);

	if (IS_ERR(table))
		return PTR_ERR(table);

	return flpt_map_slot(pt, table + fl_index(iova, level), level, leaf);
}

/* flpt_map() of leaves of @level, for which the table is configured. */
static __always_inline int flpt_map_level(struct flpt *pt, u64 iova, phys_addr_t paddr,
					  unsigned int level, size_t pgcount, int prot,
					  gfp_t gfp, size_t *mapped)
{
	u64 size = (u64)pgcount << fl_shift(level), last = iova + size - 1, leaf;
	ssize_t n = 0;		/* leaves that are mapped */

	if (unlikely(!pgcount || !IS_ALIGNED(iova | paddr, fl_size(level)) ||
		     !(prot & (IOMMU_READ | IOMMU_WRITE))))
		return -EINVAL;

	if (unlikely(iova > pt->last ||
		     pgcount - 1 > (pt->last - iova) >> fl_shift(level) ||
		     size != (size_t)size ||
		     (paddr | (paddr + size - 1)) > FL_LAST_ADDR))
		return -ERANGE;

	leaf = fl_make_leaf(paddr, level, prot);
	if (pgcount == 1)
		n = flpt_map_new(pt, iova, leaf, level, gfp);
	else if (level <= FLPT_HINT_LEVEL)
		n = flpt_map_recalled(pt, iova, last, leaf, level, pgcount);
	if (n < 0)
		return n;
	if (n == pgcount) {
		*mapped = size;
		return 0;
	}

	return flpt_map_rest(pt, iova, last, n * fl_size(level), leaf, level, gfp,
			     mapped);
}

/* flpt_map() with all its checks. */
static noinline int flpt_map_any(struct flpt *pt, u64 iova, phys_addr_t paddr,
				 size_t pgsize, size_t pgcount, int prot, gfp_t gfp,
				 size_t *mapped)
{
	*mapped = 0;
	if (!(pgsize & pt->cfg.pgsize_bitmap))
		return -EINVAL;

	/* Each has its level as a constant. */
	switch (pgsize) {
	case SZ_4K:
		return flpt_map_level(pt, iova, paddr, 1, pgcount, prot, gfp, mapped);
	case SZ_2M:
		return flpt_map_level(pt, iova, paddr, 2, pgcount, prot, gfp, mapped);
	case SZ_1G:
		return flpt_map_level(pt, iova, paddr, 3, pgcount, prot, gfp, mapped);
	default:
		return -EINVAL;
	}
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
 * * -ERANGE	- outside of the aperture (see flpt_last_iova()), or of physical
 *		  addresses
 * * -EADDRINUSE - something is mapped there already; it stays, and what this
 *		  call had mapped has been taken back and invalidated
 * * -ENOMEM	- no memory for a table, or none left of &flpt_cfg.max_pages; what
 *		  had been mapped stays, see @mapped, for the iommu core to unmap
 */
int flpt_map(struct flpt *pt, u64 iova, phys_addr_t paddr, size_t pgsize,
	     size_t pgcount, int prot, gfp_t gfp, size_t *mapped)
{
	/* Most often it is one leaf where there are tables already. */
	if (pgcount == 1) {
		int ret = flpt_map_one(pt, iova, paddr, pgsize, prot, gfp);

		if (likely(ret)) {
			*mapped = ret > 0 ? pgsize : 0;
			return min(ret, 0);
		}
	}

	return flpt_map_any(pt, iova, paddr, pgsize, pgcount, prot, gfp, mapped);
}
EXPORT_SYMBOL_IF_KUNIT(flpt_map);

/* Clear one leaf of @level, if there is one in a table that this CPU remembers. */
static __always_inline bool flpt_unmap_one(struct flpt *pt, u64 iova,
					   unsigned int level)
{
	u64 *slot = flpt_recall_slot(pt, iova, level);

	if (unlikely(!slot || (level > 1 && !fl_is_large_leaf(fl_load(slot)))))
		return false;

	fl_store(slot, 0);
	flpt_write_back(pt, slot, sizeof(*slot));
	return true;
}

/*
 * Clear @iova to @last, which are whole pages of @level, if that is in a table which
 * this CPU remembers, and no table is in the way.
 */
static __always_inline bool flpt_unmap_recalled(struct flpt *pt, u64 iova, u64 last,
						unsigned int level)
{
	unsigned int n = ((last - iova) >> fl_shift(level)) + 1;
	u64 *slot = flpt_recall_slot(pt, iova, level);

	if (!slot || (iova ^ last) >> fl_shift(level + 1))
		return false;

	if (level == 1)
		flpt_clear_pages(slot, n);
	else if (flpt_clear_large(slot, level, n) < n)
		return false;

	flpt_write_back(pt, slot, n * sizeof(*slot));
	return true;
}

/* Clear @iova to @last, wherever that is. Fails if there is no memory to cut with. */
static noinline int flpt_unmap_walk(struct flpt *pt, u64 iova, u64 last)
{
	unsigned int level, unused;
	u64 *slot = flpt_find(pt, iova, &level);
	int ret;

	/* Unless all is in one page table, either end may be inside of a large page. */
	if ((level > 1 || (iova ^ last) >> fl_shift(2)) &&
	    ((!IS_ALIGNED(iova, fl_size(level)) && fl_present(fl_load(slot))) ||
	     flpt_cut_depth(pt, last + 1, &unused))) {
		ret = flpt_cut(pt, iova, last + 1, GFP_ATOMIC | __GFP_NOWARN);
		if (ret)
			return ret;
		slot = flpt_find(pt, iova, &level);
	}

	flpt_clear(pt, slot, level, iova, last);

	return 0;
}

/* flpt_unmap() with all its checks. */
static noinline size_t flpt_unmap_any(struct flpt *pt, u64 iova, size_t size)
{
	u64 last = iova + size - 1;

	if (!size || !IS_ALIGNED(iova | size, SZ_4K) ||
	    !flpt_in_aperture(pt, iova, size))
		return 0;

	if (IS_ALIGNED(iova | size, SZ_2M) && flpt_unmap_recalled(pt, iova, last, 2))
		return size;
	if (size > SZ_4K && likely(flpt_unmap_recalled(pt, iova, last, 1)))
		return size;

	return flpt_unmap_walk(pt, iova, last) ? 0 : size;
}

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
	/* Most often it is one page. A table that is remembered is in the aperture. */
	if (size == SZ_4K && IS_ALIGNED(iova, SZ_4K) && likely(flpt_unmap_one(pt, iova, 1)))
		return size;
	if (size == SZ_2M && IS_ALIGNED(iova, SZ_2M) && likely(flpt_unmap_one(pt, iova, 2)))
		return size;

	return flpt_unmap_any(pt, iova, size);
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
	unsigned int level = 1;
	u64 *slot, entry;

	if (iova > pt->last)
		return 0;

	slot = flpt_recall_slot(pt, iova, 1);
	entry = likely(slot) ? fl_load(slot) : flpt_look(pt, iova, &level);
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
 * not have, or for an aperture of no whole GiB; -ENOMEM.
 */
struct flpt *flpt_create(const struct flpt_cfg *cfg)
{
	u64 last = cfg->last_iova ?: U64_MAX;
	struct flpt *pt;

	if ((cfg->levels != 4 && cfg->levels != 5) ||
	    !(cfg->pgsize_bitmap & SZ_4K) ||
	    (cfg->pgsize_bitmap & ~(unsigned long)(SZ_4K | SZ_2M | SZ_1G)) ||
	    !IS_ALIGNED(last + 1, SZ_1G))
		return ERR_PTR(-EINVAL);

	pt = kzalloc(sizeof(*pt), GFP_KERNEL | cfg->gfp);
	if (!pt)
		return ERR_PTR(-ENOMEM);

	pt->cfg = *cfg;
	pt->last = min(last, fl_size(cfg->levels + 1) / 2 - 1);
	pt->hints = alloc_percpu_gfp(struct flpt_hints, GFP_KERNEL | cfg->gfp);
	if (!pt->hints)
		goto err_free;

	pt->root = flpt_new_page(pt, GFP_KERNEL | __GFP_ZERO);
	if (!pt->root)
		goto err_free_hints;

	flpt_keep_page(pt, flpt_page(pt->root), cfg->levels);
	flpt_page(pt->root)->key = flpt_key(0, cfg->levels);
	flpt_write_back(pt, pt->root, PAGE_SIZE);

	return pt;

err_free_hints:
	free_percpu(pt->hints);
err_free:
	kfree(pt);
	return ERR_PTR(-ENOMEM);
}
EXPORT_SYMBOL_IF_KUNIT(flpt_create);

/**
 * flpt_destroy() - free a table and all that was ever allocated for it
 * @pt: the table; whatever is still mapped goes with it
 *
 * The pages go back to the system after an RCU grace period, for the sake of
 * fault dumps.
 *
 * Context: no device may reach the table any more, its caches invalidated, and
 * nobody may call any other function on @pt.
 */
void flpt_destroy(struct flpt *pt)
{
	flpt_free_pages(pt->pages);
	free_percpu(pt->hints);
	kfree(pt);
}
EXPORT_SYMBOL_IF_KUNIT(flpt_destroy);

/**
 * flpt_nr_tables() - how many tables there are, parked ones included
 * @pt: the table
 *
 * Return: the number of pages.
 */
unsigned long flpt_nr_tables(struct flpt *pt)
{
	return atomic_long_read(&pt->nr_pages);
}
EXPORT_SYMBOL_IF_KUNIT(flpt_nr_tables);

/* Looks at every table, of which there may be millions, and lets others run. */
static bool flpt_maps_nothing(struct flpt *pt)
{
	struct flpt_stats stats = {};
	u64 iova = 0;
	bool more;

	do {
		more = flpt_count_leaves(pt, &iova, &stats);
		if (stats.leaves[1] + stats.leaves[2] + stats.leaves[3])
			return false;
		cond_resched();
	} while (more);

	return true;
}

/**
 * flpt_free_empty_tables() - free all tables but the root, if nothing is mapped
 * @pt: the table
 *
 * Unmapping never frees a table. It is safe at a moment when nobody can be on the way
 * through these tables, and only the owner of the whole address space knows one: no
 * CPU is (the caller says so), and hardware is not when its caches are invalidated
 * after the root has become empty. Domains may stay attached.
 *
 * Context: may sleep. No other function of this library may be at work on @pt, or
 * begin before this one is through, but for those that only count or dump:
 * flpt_count_leaves(), flpt_get_stats(), and under rcu_read_lock() flpt_path() and
 * flpt_next_leaf().
 *
 * Return: 0, and only the root is left; -EBUSY if anything is mapped.
 */
int flpt_free_empty_tables(struct flpt *pt)
{
	struct flpt_page *root = flpt_page(pt->root), *pages = pt->pages, **end;
	unsigned int i;

	if (!flpt_maps_nothing(pt))
		return -EBUSY;

	for (i = 0; i < FL_ENTRIES; i++)
		fl_store(pt->root + i, 0);
	flpt_write_back(pt, pt->root, PAGE_SIZE);
	pt->cfg.ops->invalidate(pt->cfg.owner, 0, pt->last, FLPT_STRUCTURE);

	for_each_possible_cpu(i)
		memset(per_cpu_ptr(pt->hints, i), 0, sizeof(*pt->hints));

	/* The root was the first, and so is the last of the list. */
	for (end = &pages, i = 0; *end != root; end = &(*end)->next) {
		if (++i % 64 == 0)
			cond_resched();
	}
	*end = NULL;
	pt->pages = root;
	root->parked = NULL;
	atomic_long_set(&pt->nr_pages, 1);
	for (i = 0; i < pt->cfg.levels; i++)
		atomic_long_set(&pt->nr_tables[i], 0);
	atomic_long_set(&pt->nr_parked, 0);
	flpt_free_pages(pages);

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(flpt_free_empty_tables);

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
 * offered: 47 bits with 4 levels, 56 bits with 5, or what &flpt_cfg.last_iova leaves
 * of it.
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
 * table can neither be destroyed nor give anything back.
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
		u64 *slot;

		*level = flpt_path(root, levels, *iova, path);
		*iova = ALIGN_DOWN(*iova, fl_size(*level));
		if (fl_present(path[*level]))
			return true;

		/* To where the table ends, or something else is in it. */
		slot = *level == levels ? phys_to_virt(root) :
					  flpt_table(path[*level + 1]);
		slot += fl_index(*iova, *level);
		do {
			*iova += fl_size(*level);
		} while (fl_index(*iova, *level) && !fl_present(fl_load(++slot)));
	}

	return false;
}
EXPORT_SYMBOL_IF_KUNIT(flpt_next_leaf);

static void flpt_count_table(u64 *table, unsigned int level, struct flpt_stats *stats)
{
	unsigned int i;

	for (i = 0; i < FL_ENTRIES; i++) {
		u64 entry = fl_load(table + i);

		if (fl_is_table(entry, level))
			flpt_count_table(flpt_table(entry), level - 1, stats);
		else if (fl_present(entry))
			stats->leaves[level]++;
	}
}

/**
 * flpt_count_leaves() - count the leaves of one GiB, or skip more where nothing is
 * @pt: the table
 * @iova: where to go on, a multiple of 1 GiB; set to where the next call goes on
 * @stats: where to add
 *
 * Leaves are counted when somebody asks: counting them as they come would cost every
 * map a store to a shared line. Concurrent operations are seen in part.
 *
 * Context: any but concurrently with flpt_destroy(). Takes less than a millisecond, so
 * that the caller can let others go ahead in between.
 *
 * Return: true if there is more to come.
 */
bool flpt_count_leaves(struct flpt *pt, u64 *iova, struct flpt_stats *stats)
{
	unsigned int level = pt->cfg.levels;
	u64 *table = pt->root, entry;

	guard(rcu)();
	for (;; level--) {
		entry = fl_load(table + fl_index(*iova, level));
		if (level == FL_MAX_LEAF || !fl_is_table(entry, level))
			break;
		table = flpt_table(entry);
	}

	if (fl_is_table(entry, level))
		flpt_count_table(flpt_table(entry), level - 1, stats);
	else if (fl_present(entry))
		stats->leaves[level]++;
	*iova = ALIGN_DOWN(*iova, fl_size(level)) + fl_size(level);

	return *iova <= pt->last;
}

/**
 * flpt_count_tables() - tell how many tables there are
 * @pt: the table
 * @stats: what was found; no leaves
 *
 * Context: as flpt_count_leaves().
 */
void flpt_count_tables(struct flpt *pt, struct flpt_stats *stats)
{
	unsigned int level;

	memset(stats, 0, sizeof(*stats));
	for (level = 1; level <= FLPT_MAX_LEVELS; level++)
		stats->tables[level] = atomic_long_read(&pt->nr_tables[level]);
	stats->parked = atomic_long_read(&pt->nr_parked);
}

/**
 * flpt_get_stats() - count tables and leaves
 * @pt: the table
 * @stats: what was found
 *
 * Context: as flpt_count_leaves(), but takes time in proportion to the table, and may
 * sleep.
 */
void flpt_get_stats(struct flpt *pt, struct flpt_stats *stats)
{
	u64 iova = 0;

	flpt_count_tables(pt, stats);
	while (flpt_count_leaves(pt, &iova, stats))
		cond_resched();
}
EXPORT_SYMBOL_IF_KUNIT(flpt_get_stats);
