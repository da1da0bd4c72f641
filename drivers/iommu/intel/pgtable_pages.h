/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Table pages of pgtable.c: struct page, the limit, entries, and deposited
 * tables.
 */
#ifndef _INTEL_IOMMU_PGTABLE_PAGES_H
#define _INTEL_IOMMU_PGTABLE_PAGES_H

#include <kunit/static_stub.h>
#include <linux/cache.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "../iommu-pages.h"
#include "pgtable.h"
#include "pgtable_test.h"

/*
 * The library's own data for a table, overlaid on its struct page. While the
 * table is in use, mm reads none of these fields except bit 0 of the second
 * word (compound_head), which is clear in a pointer.
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
 * vtd_pt_page.key is 0 until a large page replaces the table, or it is
 * deposited, for the first time. From then on it is in its parent's list, and
 * the key has the index of its slot in the parent and one of three states:
 * REPLACED, DEPOSITED, or neither (in use).
 */
#define VTD_PT_KEY_LISTED		BIT(0)	/* in the parent's list */
#define VTD_PT_KEY_DEPOSITED		BIT(1)	/* can be withdrawn for its slot */
#define VTD_PT_KEY_REPLACED		BIT(2)	/* hardware may still walk it */
#define VTD_PT_KEY_SLOT			3	/* shift of the slot's index */

struct vtd_pt {
	u64 *root;
	u64 last;		/* last IOVA of the aperture */
	struct vtd_pt_cfg cfg;

	/*
	 * Written when a table is added or deposited, not by a map or unmap of
	 * leaves.
	 */
	struct vtd_pt_page *pages ____cacheline_aligned_in_smp;
	atomic_long_t nr_pages;	/* in the list, or about to be */
	atomic_long_t nr_tables[VTD_PT_MAX_LEVELS + 1];	/* in the list, by level */
	atomic_long_t nr_deposited;	/* of these */
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

/*
 * Link a reachable table of @level into the list that is freed with the domain.
 */
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
 * Free @page and all pages after it in the list, which may be millions. Freed
 * by RCU for fault dumps: they walk from the PASID entry in interrupt context,
 * where they cannot keep the domain from being freed.
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
 * Clear @n entries that the caller owns. An entry of a page table always has a
 * single owner, as 4 KiB is the smallest range.
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
 * Link @page, an empty table for @slot, into the list of its parent, the table
 * that @slot is in, and set its @state. It stays in the list. A slot may have
 * more than one table in it, if several CPUs split the same large page at the
 * same time and those with a deposited table lost against a new one. The list
 * takes no memory, but has to be searched when a slot turns into a table.
 */
static void vtd_pt_link_deposit(struct vtd_pt_page *page, u64 *slot, unsigned long state)
{
	struct vtd_pt_page *parent = vtd_pt_page(slot);

	if (!(READ_ONCE(page->key) & VTD_PT_KEY_LISTED)) {
		page->sibling = READ_ONCE(parent->deposited);
		while (!try_cmpxchg(&parent->deposited, &page->sibling, page))
			;
	}
	/* Zeroes before key: pairs with the cmpxchg in vtd_pt_withdraw(). */
	smp_store_release(&page->key, vtd_pt_key(slot, state));
}

/*
 * Keep @table, which is empty and out of hardware's reach, until @slot needs
 * it.
 */
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

#endif /* _INTEL_IOMMU_PGTABLE_PAGES_H */
