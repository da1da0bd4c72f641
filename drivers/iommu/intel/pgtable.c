// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables of the Intel IOMMU, as a library.
 *
 * This file maps and unmaps ranges. It stands on:
 *
 * pgtable_pages.h	pages for tables, entries, and deposited tables
 * pgtable_walk.h	walks, and how tables are installed
 * pgtable_split.h	how large pages and tables replace each other
 * pgtable_dirty.h	dirty tracking, of the second level only
 * pgtable_inspect.h	counts and dumps
 *
 * The format headers define the entries: pgtable_fl.h those of the first level,
 * pgtable_sl.h those of the second. pgtable_fl.c and pgtable_sl.c include one
 * of them and then this file, so that each level has its own copy of each
 * function, with all bits as compile-time constants: vtd_pt_map() here is
 * vtd_pt_fl_map() or vtd_pt_sl_map() to others. pgtable_ns.h renames the entry
 * points, which are what a stack trace begins with; static functions have the
 * same name in both objects.
 *
 * The common cases, one leaf below tables that exist, are in vtd_pt_map_one()
 * and at the top of vtd_pt_unmap(): start reading there. "Slot" is the address
 * of an entry. Levels count from 1, the page table.
 *
 * Locking
 * -------
 * No function takes a lock. The following rules replace it:
 *
 * - A caller owns the range of IOVA that it maps or unmaps: no other caller
 *   maps, unmaps or splits a page of that range, or reads its Dirty bits, which
 *   may split it, at the same time. The iommu core has always required that of
 *   its users. So a leaf is checked and stored without an atomic operation.
 * - An entry that covers the ranges of several callers changes only by cmpxchg.
 *   Apart from FMT_SYNCED it changes in two ways only: empty to table
 *   (populate), and leaf to a table that translates the same (split). The loser
 *   of a race uses the winner's table.
 * - A table is never freed while others may walk it, and it is only reused for
 *   the same slot. When a large page replaces an empty table, the table is
 *   deposited: it stays empty and unused until the slot turns into a table
 *   again and withdraws it. So a pointer to a table stays valid without a
 *   reference.
 *
 * An example: CPU A maps IOVA 0 to 4095 while CPU B maps 4096 to 8191, in a
 * domain where nothing is mapped. Both find no page table for the first 2 MiB,
 * and each allocates one. A's cmpxchg succeeds; B's fails, and B frees its
 * table and walks on through A's. Then each stores its leaf, in an entry that
 * the other one does not touch.
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
 * If nothing is deposited, T is a new page. If the owner of another part of the
 * large page splits it at the same time, one cmpxchg fails: the loser deposits
 * its table again, or frees it, and continues below the winner's.
 *
 * Callers that break the first rule (two operations on overlapping ranges at
 * the same time) may find either result in their ranges. They may also lose a
 * table page until the domain is freed, by storing a large page where another
 * caller has just installed a table. They cannot damage anything else.
 */

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "pgtable_inspect.h"
#include "pgtable_split.h"

/* Clear */

/*
 * Clear @n entries of @level above 1. Stops at a table, and returns the number
 * of entries that are clear. An empty entry may become a neighbour's table at
 * any time.
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
 * Store a leaf of @level in @slot, unless that is in use. Above page
 * directories use an exchange, as vtd_pt_prealloc() may install a table at the
 * same time without owning the range.
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

/*
 * Fill @n slots of @level up to the first one in use. Returns the number
 * filled.
 */
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
 * Map the whole range of @slot, an empty entry of @level for @iova, by a table
 * that is filled before it is visible. Returns the number of leaves mapped: 0
 * if another CPU has just populated the slot.
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
 * Map @n leaves of @level in one table. Returns the number mapped, or an error.
 * Sets *@replaced if some have replaced tables.
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
 * Map one leaf of @level if all tables exist. Returns false, with nothing
 * changed, if a table is missing or a check fails.
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
 * @prot: IOMMU_READ or IOMMU_WRITE or both. At the first level, writable
 *	implies readable, as there is no write-only page. At the second,
 *	IOMMU_CACHE sets the snoop bit, which needs ECAP.SC.
 * @gfp: how to allocate tables
 * @mapped: set to the bytes that this call has mapped and left mapped
 *
 * A large page may replace a table that has become empty;
 * &vtd_pt_ops.invalidate() is called for that.
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

/*
 * The general case of vtd_pt_unmap(). The walk for @iova has ended at @slot, of
 * @level.
 */
static noinline size_t vtd_pt_unmap_any(struct vtd_pt *pt, u64 *slot, unsigned int level,
					u64 iova, u64 last)
{
	/*
	 * Unless these are whole entries of one table, a large page may cross
	 * either end.
	 */
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
 * The range may begin or end inside of large pages. These are split first, and
 * the parts outside of the range never stop translating, for hardware that
 * walks this table. (A hypervisor that shadows it may unmap the large page
 * before it maps the parts, as QEMU does for VFIO with caching mode.) Only the
 * split needs memory, which is allocated without sleeping. Holes in the range
 * are skipped.
 *
 * The caller has to invalidate the range, as %VTD_PT_LEAVES, before it reuses
 * the memory. Changes to the structure have been invalidated on return.
 *
 * Context: any that the callbacks allow. No lock is taken. Other ranges may be
 * mapped and unmapped at the same time.
 *
 * Return: @size, or 0 if nothing was unmapped: the range is misaligned, empty
 * or outside of the aperture, or it cuts a large page and there is no memory.
 */
size_t vtd_pt_unmap(struct vtd_pt *pt, u64 iova, size_t size)
{
	unsigned int level;
	u64 *slot;

	if (unlikely(!size || !IS_ALIGNED(iova | size, SZ_4K) ||
		     !vtd_pt_in_aperture(pt, iova, size)))
		return 0;

	slot = vtd_pt_walk(pt, iova, 1, &level);
	/*
	 * The common case: one leaf. An empty entry may become a neighbour's
	 * table.
	 */
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
 * Ensure that @slot of a page directory has a page table, in use or deposited.
 * A table always stays with its slot, so this remains true.
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
 * Until vtd_pt_free_empty_tables(), mapping pages of 4 KiB or 2 MiB in the
 * range and splitting 2 MiB pages takes no memory: each 2 MiB has a page table,
 * installed or deposited, like each huge page of a process. For callers that
 * cannot allocate when they unmap, such as MMU notifiers.
 *
 * Context: any that @gfp allows. Pages of 4 KiB and 2 MiB may be mapped and
 * unmapped, and tables preallocated, in the range at the same time, as demand
 * paging does: this call changes no leaf, and no entry of a page directory, and
 * installs page directories by cmpxchg in empty entries only. Pages of 1 GiB
 * must not be mapped or unmapped meanwhile: this call owns no part of the
 * range, so it could mark a page directory as synced that has just replaced
 * such a page. Two callers that preallocate the same range may allocate a table
 * more than needed. Two that split the same page at the same time may each take
 * a table, of which one is returned.
 *
 * Return: 0; -ERANGE if the range is outside of the aperture; -ENOMEM; -ENOSPC
 * if &vtd_pt_cfg.max_pages is reached, which waiting does not change;
 * -EADDRINUSE where a page of 1 GiB is mapped.
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
 * @length: set to the number of bytes that are contiguous in memory, by leaves
 *	of one table; 0 if nothing is mapped at @iova
 *
 * The leaves of the next table may continue the range; the caller has to look
 * up again.
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
 * Return: the table, or ERR_PTR: -EINVAL if the format does not support @cfg,
 * or the aperture is not a multiple of 1 GiB; -ENOMEM.
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
 * Context: no device can reach the table any more, its caches are invalidated,
 * and no other function may be called on @pt.
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
 * vtd_pt_free_empty_tables() - free all tables except the root, if nothing is
 * mapped
 * @pt: the table
 *
 * Unmapping never frees a table, as CPUs and hardware may be walking it. Here
 * they cannot: the owner of the whole address space guarantees that no CPU is,
 * and hardware is not once its caches have been invalidated after the root was
 * cleared. Domains may stay attached.
 *
 * Context: may sleep. No other function of this library may run on @pt at the
 * same time, except those that only count or dump: vtd_pt_count_leaves(),
 * vtd_pt_count_tables(), and under rcu_read_lock() vtd_pt_path() and
 * vtd_pt_next_leaf().
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
 * First level: 47 bits with 4 levels, 56 bits with 5. Second level: 39, 48 or
 * 57 bits with 3, 4 or 5 levels. &vtd_pt_cfg.last_iova may reduce that.
 *
 * Return: the address in bytes, inclusive.
 */
u64 vtd_pt_last_iova(const struct vtd_pt *pt)
{
	return pt->last;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_last_iova);
