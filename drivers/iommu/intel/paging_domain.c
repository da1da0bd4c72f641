// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paging domains: the iommu core's domain operations on top of the page-table
 * library.
 *
 * A domain's table is configured once, when the domain is allocated, for the
 * IOMMU of the device that it is allocated for. Attaching checks whether the
 * table suits another IOMMU too; it never changes the table.
 *
 * The levels have domain operations of their own (intel_fl_domain_*() and
 * intel_sl_domain_*()), each of which calls the library's functions for its
 * format, so that mapping and unmapping need not check the level. The other
 * functions serve both (intel_paging_*()).
 */

#define pr_fmt(fmt)	"DMAR: " fmt

#include <kunit/static_stub.h>
#include <linux/mm.h>
#include <linux/processor.h>
#include <linux/sizes.h>

#include <asm/special_insns.h>

#include "iommu.h"
#include "paging_domain.h"
#include "pgtable_test.h"

/*
 * Unlike clflush_cache_range(), this keeps the lines in the cache for the next
 * call, if the CPU supports that. No fence is needed before it, as a write-back
 * is ordered after older stores to its line.
 */
VISIBLE_IF_KUNIT void intel_paging_sync_entries(void *owner, void *addr, size_t size)
{
	size_t line = boot_cpu_data.x86_clflush_size;
	void *p = PTR_ALIGN_DOWN(addr, line);

	KUNIT_STATIC_STUB_REDIRECT(intel_paging_sync_entries, owner, addr, size);

	for (; p < addr + size; p += line)
		clwb(p);
	/*
	 * Order later stores after the write-back: another entry, a doorbell.
	 */
	wmb();
}

static void intel_paging_invalidate(void *owner, u64 start, u64 last,
				    enum vtd_pt_change change)
{
	cache_tag_flush_range(owner, start, last, change == VTD_PT_LEAVES);
}

static const struct vtd_pt_ops intel_paging_ops = {
	.sync_entries	= intel_paging_sync_entries,
	.invalidate	= intel_paging_invalidate,
};

/* Capabilities */

/**
 * intel_paging_caps_init() - start with everything that an IOMMU may support
 * @caps: set to all depths, all page sizes and a coherent walk
 * @first_level: for the first level, or for the second
 */
void intel_paging_caps_init(struct paging_caps *caps, bool first_level)
{
	*caps = (struct paging_caps) {
		.first_level	= first_level,
		.levels		= BIT(5) | BIT(4) | (first_level ? 0 : BIT(3)),
		.pgsize_bitmap	= SZ_4K | SZ_2M | SZ_1G,
		.coherent	= true,
		.mgaw		= 64,
	};
}

/*
 * The first level's depth comes from first-level capabilities alone; SAGAW
 * describes only the second level (VT-d section 11.4.2).
 */
static unsigned long paging_fl_levels(struct intel_iommu *iommu)
{
	if (!sm_supported(iommu) || !ecap_flts(iommu->ecap))
		return 0;

	return BIT(4) | (cap_fl5lp_support(iommu->cap) ? BIT(5) : 0);
}

static unsigned long paging_sl_levels(struct intel_iommu *iommu)
{
	if (sm_supported(iommu) && !ecap_slts(iommu->ecap))
		return 0;

	/* Bit 1 of SAGAW: 39 bits, 3 levels */
	return cap_sagaw(iommu->cap) << 2;
}

static unsigned long paging_pgsizes(struct intel_iommu *iommu, bool first_level)
{
	unsigned long large = cap_super_page_val(iommu->cap);

	if (!intel_iommu_superpage)
		return SZ_4K;
	if (first_level)
		return SZ_4K | SZ_2M | (cap_fl1gp_support(iommu->cap) ? SZ_1G : 0);

	/* SSLPS */
	return SZ_4K | (large & BIT(0) ? SZ_2M : 0) | (large & BIT(1) ? SZ_1G : 0);
}

static bool paging_walk_is_coherent(struct intel_iommu *iommu)
{
	return sm_supported(iommu) ? ecap_smpwc(iommu->ecap) : ecap_coherent(iommu->ecap);
}

/**
 * intel_paging_caps_restrict() - remove what an IOMMU does not support
 * @caps: capabilities to restrict
 * @iommu: the IOMMU
 */
void intel_paging_caps_restrict(struct paging_caps *caps, struct intel_iommu *iommu)
{
	caps->levels &= caps->first_level ? paging_fl_levels(iommu) : paging_sl_levels(iommu);
	caps->pgsize_bitmap &= paging_pgsizes(iommu, caps->first_level);
	caps->coherent &= paging_walk_is_coherent(iommu);
	caps->mgaw = min_t(unsigned int, caps->mgaw, cap_mgaw(iommu->cap));
}

/* Without a device, the domain has to suit every IOMMU. */
static void paging_caps_of_all(struct paging_caps *caps)
{
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;

	rcu_read_lock();
	for_each_active_iommu(iommu, drhd)
		intel_paging_caps_restrict(caps, iommu);
	rcu_read_unlock();
}

/* Number of address bits that a table of @levels translates. */
static unsigned int paging_width(unsigned int levels)
{
	return VTD_PAGE_SHIFT + levels * VTD_STRIDE_SHIFT;
}

/*
 * The fewest levels that translate all addresses that the IOMMU does not block:
 * every level costs a step on each walk, and an IOMMU with fewer levels cannot
 * use the table. If no depth does, the deepest. At the first level this covers
 * the lower half of the addresses.
 */
static unsigned int paging_levels(const struct paging_caps *caps)
{
	unsigned int levels;

	for_each_set_bit(levels, &caps->levels, VTD_PT_MAX_LEVELS + 1) {
		if (paging_width(levels) >= caps->mgaw)
			return levels;
	}

	return __fls(caps->levels);
}

/* Allocate and free */

/*
 * Limit for the table pages of a domain that belongs to a user: 1/64 of memory,
 * but at least 64 MiB. Mapping all of memory once, page by page, takes 1/512.
 */
static unsigned long paging_max_user_pages(void)
{
	return max(totalram_pages() / 64, (unsigned long)SZ_64M / PAGE_SIZE);
}

static struct dmar_domain *paging_domain_new(bool first_level, gfp_t gfp)
{
	struct dmar_domain *domain;

	domain = kzalloc(sizeof(*domain), GFP_KERNEL | gfp);
	if (!domain)
		return NULL;

	INIT_LIST_HEAD(&domain->devices);
	INIT_LIST_HEAD(&domain->dev_pasids);
	INIT_LIST_HEAD(&domain->cache_tags);
	spin_lock_init(&domain->lock);
	spin_lock_init(&domain->cache_lock);
	xa_init_flags(&domain->iommu_array, gfp & __GFP_ACCOUNT ? XA_FLAGS_ACCOUNT : 0);
	domain->use_first_level = first_level;
	domain->iotlb_sync_map = domain_need_iotlb_sync_map(first_level);
	domain->domain.ops = first_level ? &intel_fl_domain_ops : &intel_sl_domain_ops;
	domain->domain.owner = &intel_iommu_ops;

	return domain;
}

static struct vtd_pt *paging_table_create(struct dmar_domain *domain,
					  const struct paging_caps *caps, int nid, gfp_t gfp)
{
	struct vtd_pt_cfg cfg = {
		.ops		= &intel_paging_ops,
		.owner		= domain,
		.levels		= paging_levels(caps),
		.pgsize_bitmap	= caps->pgsize_bitmap,
		.last_iova	= GENMASK_ULL(caps->mgaw - 1, 0),
		.coherent	= caps->coherent,
		.nid		= nid,
		.gfp		= gfp,
		.max_pages	= gfp & __GFP_ACCOUNT ? paging_max_user_pages() : 0,
	};

	return caps->first_level ? vtd_pt_fl_create(&cfg) : vtd_pt_sl_create(&cfg);
}

/**
 * intel_paging_domain_alloc() - allocate a paging domain
 * @dev: device that the domain is for, or NULL if it is not known yet: the
 *	 domain then suits every IOMMU of the machine
 * @first_level: use the first level rather than the second
 * @gfp: __GFP_ACCOUNT if the tables belong to a user, else 0
 *
 * The caller sets the domain's type. Depth, page sizes and aperture are final.
 *
 * Context: may sleep.
 *
 * Return: the domain, or ERR_PTR: -EOPNOTSUPP if there is no depth that the
 * IOMMU, or, without @dev, every IOMMU supports; -EINVAL if addresses have
 * fewer bits than a page of the largest size; -ENOMEM.
 */
struct iommu_domain *intel_paging_domain_alloc(struct device *dev, bool first_level,
					       gfp_t gfp)
{
	struct device_domain_info *info = dev ? dev_iommu_priv_get(dev) : NULL;
	struct iommu_domain_geometry *geometry;
	struct dmar_domain *domain;
	struct paging_caps caps;

	intel_paging_caps_init(&caps, first_level);
	if (info)
		intel_paging_caps_restrict(&caps, info->iommu);
	else
		paging_caps_of_all(&caps);
	if (!caps.levels)
		return ERR_PTR(-EOPNOTSUPP);

	domain = paging_domain_new(first_level, gfp);
	if (!domain)
		return ERR_PTR(-ENOMEM);

	domain->pgtable = paging_table_create(domain, &caps,
					      dev ? dev_to_node(dev) : NUMA_NO_NODE, gfp);
	if (IS_ERR(domain->pgtable)) {
		struct iommu_domain *err = ERR_CAST(domain->pgtable);

		kfree(domain);
		return err;
	}

	domain->domain.pgsize_bitmap = caps.pgsize_bitmap;
	geometry = &domain->domain.geometry;
	geometry->aperture_start = 0;
	geometry->aperture_end = first_level ? vtd_pt_fl_last_iova(domain->pgtable) :
					       vtd_pt_sl_last_iova(domain->pgtable);
	geometry->force_aperture = true;
	intel_pgtable_debugfs_add(domain);

	return &domain->domain;
}

/**
 * intel_paging_domain_free() - free a paging domain and its table
 * @domain: the domain, attached to nothing, and nothing nested on it
 *
 * Context: may sleep.
 */
void intel_paging_domain_free(struct iommu_domain *domain)
{
	struct dmar_domain *dmar_domain = to_dmar_domain(domain);

	/* Leak the table rather than let a device walk freed memory. */
	if (WARN_ON(!list_empty(&dmar_domain->devices) ||
		    !list_empty(&dmar_domain->dev_pasids)) ||
	    WARN_ON(dmar_domain->nested_parent && !list_empty(&dmar_domain->s1_domains)))
		return;

	intel_pgtable_debugfs_remove(dmar_domain);
	if (dmar_domain->use_first_level)
		vtd_pt_fl_destroy(dmar_domain->pgtable);
	else
		vtd_pt_sl_destroy(dmar_domain->pgtable);
	dmar_domain_free(dmar_domain);
}

/**
 * intel_paging_domain_compatible() - can an IOMMU walk a domain's table?
 * @domain: paging domain
 * @iommu: the IOMMU of a device that is about to be attached
 *
 * Return: 0, or -EINVAL: users of the iommu core then try another domain.
 */
int intel_paging_domain_compatible(struct dmar_domain *domain, struct intel_iommu *iommu)
{
	const struct vtd_pt_cfg *cfg;
	struct paging_caps caps;

	cfg = domain->use_first_level ? vtd_pt_fl_config(domain->pgtable) :
					vtd_pt_sl_config(domain->pgtable);
	intel_paging_caps_init(&caps, domain->use_first_level);
	intel_paging_caps_restrict(&caps, iommu);
	if (!(caps.levels & BIT(cfg->levels)) || (cfg->coherent && !caps.coherent) ||
	    (cfg->pgsize_bitmap & ~caps.pgsize_bitmap) ||
	    domain->domain.geometry.aperture_end > GENMASK_ULL(caps.mgaw - 1, 0))
		return -EINVAL;

	return 0;
}

/* Unmap */

static void paging_gather(struct iommu_domain *domain, struct iommu_iotlb_gather *gather,
			  unsigned long iova, size_t size)
{
	/* The flush queue invalidates everything; it needs no ranges. */
	if (!size || iommu_iotlb_gather_queued(gather))
		return;

	/*
	 * Each sync of a nest parent flushes whole device TLBs for the domains
	 * nested on it. So sync it once, although the gaps between ranges are
	 * invalidated, too.
	 */
	if (!to_dmar_domain(domain)->nested_parent &&
	    iommu_iotlb_gather_is_disjoint(gather, iova, size))
		iommu_iotlb_sync(domain, gather);
	iommu_iotlb_gather_add_range(gather, iova, size);
}

/**
 * intel_paging_iotlb_sync() - invalidate the gathered range
 * @domain: paging domain
 * @gather: range that was unmapped, or whose leaves are no longer dirty
 *
 * Invalidates leaves only: changes to the structure were invalidated when they
 * were made, and unmapping frees no tables, so cached paging structures may
 * stay.
 *
 * Context: any.
 */
void intel_paging_iotlb_sync(struct iommu_domain *domain,
			     struct iommu_iotlb_gather *gather)
{
	/*
	 * Nothing was gathered: nothing could be unmapped, or nothing was
	 * dirty.
	 */
	if (gather->start > gather->end)
		return;

	cache_tag_flush_range(to_dmar_domain(domain), gather->start,
			      gather->end, 1);
}

/*
 * Fewer tables than these, 256 KiB, are not worth an invalidation of the whole
 * domain: a user that keeps mapping and unmapping one buffer reuses them.
 */
#define PAGING_KEEP_TABLES	64

void intel_paging_free_empty_tables(struct iommu_domain *domain)
{
	struct dmar_domain *dmar_domain = to_dmar_domain(domain);
	struct vtd_pt *pt = dmar_domain->pgtable;

	/* Both fail if something is mapped nevertheless. */
	if (dmar_domain->use_first_level) {
		if (vtd_pt_fl_nr_tables(pt) > PAGING_KEEP_TABLES)
			vtd_pt_fl_free_empty_tables(pt);
	} else {
		if (vtd_pt_sl_nr_tables(pt) > PAGING_KEEP_TABLES)
			vtd_pt_sl_free_empty_tables(pt);
	}
}

/*
 * First level: operations of struct iommu_domain_ops, each by the library's
 * function
 */

int intel_fl_domain_map_pages(struct iommu_domain *domain, unsigned long iova,
			      phys_addr_t paddr, size_t pgsize, size_t pgcount,
			      int prot, gfp_t gfp, size_t *mapped)
{
	return vtd_pt_fl_map(to_dmar_domain(domain)->pgtable, iova, paddr, pgsize,
			     pgcount, prot, gfp, mapped);
}

size_t intel_fl_domain_unmap_pages(struct iommu_domain *domain, unsigned long iova,
				   size_t pgsize, size_t pgcount,
				   struct iommu_iotlb_gather *gather)
{
	size_t size = vtd_pt_fl_unmap(to_dmar_domain(domain)->pgtable, iova,
				      pgsize * pgcount);

	paging_gather(domain, gather, iova, size);

	return size;
}

phys_addr_t intel_fl_domain_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova)
{
	return vtd_pt_fl_iova_to_phys(to_dmar_domain(domain)->pgtable, iova);
}

phys_addr_t intel_fl_domain_iova_to_phys_length(struct iommu_domain *domain, dma_addr_t iova,
						size_t size, size_t *length)
{
	return vtd_pt_fl_iova_to_phys_length(to_dmar_domain(domain)->pgtable, iova, size,
					     length);
}

bool intel_fl_domain_is_writable(struct iommu_domain *domain, dma_addr_t iova)
{
	return vtd_pt_fl_is_writable(to_dmar_domain(domain)->pgtable, iova);
}

int intel_fl_domain_prealloc_tables(struct iommu_domain *domain, unsigned long iova,
				    size_t size, gfp_t gfp)
{
	return vtd_pt_fl_prealloc(to_dmar_domain(domain)->pgtable, iova, size, gfp);
}

/* Second level: the same, and snooping */

/* While snooping is undecided, count the maps in progress. */
static noinline int paging_first_map_begin(struct dmar_domain *domain)
{
	int snoop = READ_ONCE(domain->sl_snoop);

	while (snoop >= PAGING_SNOOP_OPEN &&
	       !try_cmpxchg(&domain->sl_snoop, &snoop, snoop + 1))
		;

	return snoop;
}

/* A map that succeeded decides that the domain cannot enforce snooping. */
static noinline void paging_first_map_end(struct dmar_domain *domain, bool mapped)
{
	int snoop = READ_ONCE(domain->sl_snoop);

	while (snoop > PAGING_SNOOP_OPEN &&
	       !try_cmpxchg(&domain->sl_snoop, &snoop,
			    mapped ? PAGING_SNOOP_OFF : snoop - 1))
		;
}

/**
 * intel_sl_domain_enforce_snoop() - set the Snoop bit in all leaves
 * @domain: second-level domain, whose IOMMUs all have ECAP.SC
 *
 * Context: any.
 *
 * Return: false if a leaf without the bit exists or is being mapped.
 */
bool intel_sl_domain_enforce_snoop(struct dmar_domain *domain)
{
	int snoop = PAGING_SNOOP_OPEN;

	return try_cmpxchg(&domain->sl_snoop, &snoop, PAGING_SNOOP_ON) ||
	       snoop == PAGING_SNOOP_ON;
}

/*
 * IOMMU_CACHE in @prot does not matter: DMA snoops unless a device requests
 * otherwise. The Snoop bit, which overrides that, is set if the domain enforces
 * it (VT-d section 3.7.3).
 */
int intel_sl_domain_map_pages(struct iommu_domain *domain, unsigned long iova,
			      phys_addr_t paddr, size_t pgsize, size_t pgcount,
			      int prot, gfp_t gfp, size_t *mapped)
{
	struct dmar_domain *dmar_domain = to_dmar_domain(domain);
	int snoop = READ_ONCE(dmar_domain->sl_snoop), ret;

	if (unlikely(dmar_domain->nested_parent && !(prot & IOMMU_WRITE))) {
		pr_err_ratelimited("Read-only mapping is disallowed on the domain which serves as the parent in a nested configuration, due to HW errata (ERRATA_772415_SPR17)\n");
		return -EINVAL;
	}

	if (unlikely(snoop >= PAGING_SNOOP_OPEN))
		snoop = paging_first_map_begin(dmar_domain);
	if (snoop == PAGING_SNOOP_ON)
		prot |= IOMMU_CACHE;
	else
		prot &= ~IOMMU_CACHE;

	ret = vtd_pt_sl_map(dmar_domain->pgtable, iova, paddr, pgsize, pgcount, prot, gfp,
			    mapped);
	if (unlikely(snoop >= PAGING_SNOOP_OPEN))
		paging_first_map_end(dmar_domain, *mapped);

	return ret;
}

size_t intel_sl_domain_unmap_pages(struct iommu_domain *domain, unsigned long iova,
				   size_t pgsize, size_t pgcount,
				   struct iommu_iotlb_gather *gather)
{
	size_t size = vtd_pt_sl_unmap(to_dmar_domain(domain)->pgtable, iova,
				      pgsize * pgcount);

	paging_gather(domain, gather, iova, size);

	return size;
}

phys_addr_t intel_sl_domain_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova)
{
	return vtd_pt_sl_iova_to_phys(to_dmar_domain(domain)->pgtable, iova);
}

phys_addr_t intel_sl_domain_iova_to_phys_length(struct iommu_domain *domain, dma_addr_t iova,
						size_t size, size_t *length)
{
	return vtd_pt_sl_iova_to_phys_length(to_dmar_domain(domain)->pgtable, iova, size,
					     length);
}

bool intel_sl_domain_is_writable(struct iommu_domain *domain, dma_addr_t iova)
{
	return vtd_pt_sl_is_writable(to_dmar_domain(domain)->pgtable, iova);
}

int intel_sl_domain_prealloc_tables(struct iommu_domain *domain, unsigned long iova,
				    size_t size, gfp_t gfp)
{
	return vtd_pt_sl_prealloc(to_dmar_domain(domain)->pgtable, iova, size, gfp);
}
