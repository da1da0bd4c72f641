/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page tables of the Intel IOMMU, first and second level, as a library.
 *
 * The library knows page tables and nothing of domains, devices or queued
 * invalidation; paging_domain.c implements the iommu core's domain operations
 * with it. Documentation/arch/x86/intel-iommu-pgtable.rst describes the design
 * and the reasons.
 */
#ifndef _INTEL_IOMMU_PGTABLE_H
#define _INTEL_IOMMU_PGTABLE_H

#include <linux/gfp_types.h>
#include <linux/types.h>

#define VTD_PT_MAX_LEVELS	5

struct iommu_dirty_bitmap;
struct vtd_pt;

/**
 * enum vtd_pt_change - what an operation did to entries that hardware may cache
 * @VTD_PT_LEAVES: only leaves were cleared. Cached paging structures stay
 *		 valid: the invalidation hint may be set (VT-d section 6.5.2,
 *		 IH).
 * @VTD_PT_STRUCTURE: an entry went from table to leaf or from leaf to table.
 *		 Paging-structure caches have to be invalidated as well (IH
 *		 clear), and device TLBs for the whole range.
 */
enum vtd_pt_change {
	VTD_PT_LEAVES,
	VTD_PT_STRUCTURE,
};

/**
 * struct vtd_pt_ops - callbacks of the library
 * @sync_entries: Write @size bytes at @addr back to memory, and return when a
 *	page walk that does not snoop caches will find them there. Only called
 *	if &vtd_pt_cfg.coherent is false.
 * @invalidate: Entries for @start to @last (inclusive, bytes) changed under
 *	mappings that stay: invalidate, and return when it is done. @change says
 *	which caches. Not called for the range of a vtd_pt_unmap(), which the
 *	caller has to invalidate, as %VTD_PT_LEAVES. An operation that only adds
 *	entries calls it if it finds a table that another CPU has not finished
 *	installing.
 *
 * Both are called from the context of the library call, which may be atomic.
 */
struct vtd_pt_ops {
	void (*sync_entries)(void *owner, void *addr, size_t size);
	void (*invalidate)(void *owner, u64 start, u64 last,
			   enum vtd_pt_change change);
};

/**
 * struct vtd_pt_cfg - configuration of a table, fixed when it is created
 * @ops: the callbacks
 * @owner: passed to the callbacks
 * @levels: first level: 4, or 5, which needs CAP.FL5LP (VT-d section 3.6);
 *	second level: 3 to 5, see CAP.SAGAW (section 3.7)
 * @pgsize_bitmap: leaf sizes in bytes, OR-ed: SZ_4K always, SZ_2M, and SZ_1G
 *	(first level: CAP.FL1GP; second level: CAP.SSLPS)
 * @last_iova: last address of the aperture, which is a multiple of 1 GiB; 0, or
 *	more than the depth allows, means all that the depth allows
 * @coherent: page walks snoop the caches (ECAP.SMPWC; in legacy mode ECAP.C)
 * @nid: NUMA node of the tables, or NUMA_NO_NODE
 * @gfp: added to the gfp of every table: __GFP_ACCOUNT to charge a user for
 *       them
 * @max_pages: limit for the pages of all tables, or 0 for none; an operation
 *	that needs more fails with -ENOMEM
 */
struct vtd_pt_cfg {
	const struct vtd_pt_ops *ops;
	void *owner;
	unsigned int levels;
	unsigned long pgsize_bitmap;
	u64 last_iova;
	bool coherent;
	int nid;
	gfp_t gfp;
	unsigned long max_pages;
};

/**
 * struct vtd_pt_stats - numbers of tables and leaves
 * @tables: table pages per level, [1] to [5], including deposited ones
 * @deposited: of these, pages that are deposited for their slot
 * @leaves: present leaves by level: [1] 4 KiB, [2] 2 MiB, [3] 1 GiB
 */
struct vtd_pt_stats {
	unsigned long tables[VTD_PT_MAX_LEVELS + 1];
	unsigned long deposited;
	unsigned long leaves[VTD_PT_MAX_LEVELS + 1];
};

/*
 * All functions exist once for each format: vtd_pt_fl_map() and
 * vtd_pt_sl_map(), and so on. Their kernel-doc is in pgtable.c, pgtable_dirty.h
 * and pgtable_inspect.h.
 */
#define VTD_PT_FUNCTIONS(fmt)								\
struct vtd_pt *vtd_pt_##fmt##_create(const struct vtd_pt_cfg *cfg);			\
void vtd_pt_##fmt##_destroy(struct vtd_pt *pt);						\
unsigned long vtd_pt_##fmt##_nr_tables(struct vtd_pt *pt);				\
int vtd_pt_##fmt##_free_empty_tables(struct vtd_pt *pt);				\
int vtd_pt_##fmt##_map(struct vtd_pt *pt, u64 iova, phys_addr_t paddr, size_t pgsize,	\
		       size_t pgcount, int prot, gfp_t gfp, size_t *mapped);		\
size_t vtd_pt_##fmt##_unmap(struct vtd_pt *pt, u64 iova, size_t size);			\
int vtd_pt_##fmt##_prealloc(struct vtd_pt *pt, u64 iova, size_t size, gfp_t gfp);	\
phys_addr_t vtd_pt_##fmt##_iova_to_phys(struct vtd_pt *pt, u64 iova);			\
phys_addr_t vtd_pt_##fmt##_iova_to_phys_length(struct vtd_pt *pt, u64 iova,		\
					       size_t size, size_t *length);		\
bool vtd_pt_##fmt##_is_writable(struct vtd_pt *pt, u64 iova);				\
phys_addr_t vtd_pt_##fmt##_root(const struct vtd_pt *pt);				\
const struct vtd_pt_cfg *vtd_pt_##fmt##_config(const struct vtd_pt *pt);		\
u64 vtd_pt_##fmt##_last_iova(const struct vtd_pt *pt);					\
void vtd_pt_##fmt##_count_tables(struct vtd_pt *pt, struct vtd_pt_stats *stats);	\
bool vtd_pt_##fmt##_count_leaves(struct vtd_pt *pt, u64 *iova,				\
				 struct vtd_pt_stats *stats);				\
unsigned int vtd_pt_##fmt##_path(phys_addr_t root, unsigned int levels, u64 iova,	\
				 u64 path[VTD_PT_MAX_LEVELS + 1]);			\
bool vtd_pt_##fmt##_next_leaf(phys_addr_t root, unsigned int levels, u64 *iova,		\
			      u64 path[VTD_PT_MAX_LEVELS + 1],				\
			      unsigned int *level)

VTD_PT_FUNCTIONS(fl);
VTD_PT_FUNCTIONS(sl);

#undef VTD_PT_FUNCTIONS

/* Only the second level has dirty tracking. */
void vtd_pt_sl_read_and_clear_dirty(struct vtd_pt *pt, u64 iova, u64 last,
				    unsigned long flags, u64 unit,
				    struct iommu_dirty_bitmap *report);

#endif /* _INTEL_IOMMU_PGTABLE_H */
