// SPDX-License-Identifier: GPL-2.0-only
/*
 * First-level domains: the iommu core's domain operations on top of the
 * first-level page-table library.
 *
 * A domain's table is configured once, when the domain is allocated, for the
 * IOMMU of the device that it is allocated for. Attaching checks whether the
 * table suits another IOMMU too; it never changes the table.
 */

#define pr_fmt(fmt)	"DMAR: " fmt

#include <kunit/static_stub.h>
#include <linux/mm.h>
#include <linux/processor.h>
#include <linux/sizes.h>

#include <asm/special_insns.h>

#include "iommu.h"
#include "fl_domain.h"
#include "pgtable_test.h"

/*
 * Unlike clflush_cache_range(), this leaves the lines in the cache, where the next
 * call wants them, if the CPU can do that. No fence is needed in front, as a write-
 * back is ordered behind older stores to its line.
 */
VISIBLE_IF_KUNIT void intel_fl_sync_entries(void *owner, void *addr, size_t size)
{
	size_t line = boot_cpu_data.x86_clflush_size;
	void *p = PTR_ALIGN_DOWN(addr, line);

	KUNIT_STATIC_STUB_REDIRECT(intel_fl_sync_entries, owner, addr, size);

	for (; p < addr + size; p += line)
		clwb(p);
	/* What comes after: another entry, or a store that starts the device. */
	wmb();
}

static void intel_fl_invalidate(void *owner, u64 start, u64 last,
				enum vtd_pt_change change)
{
	cache_tag_flush_range(owner, start, last, change == VTD_PT_LEAVES);
}

static const struct vtd_pt_ops intel_fl_ops = {
	.sync_entries	= intel_fl_sync_entries,
	.invalidate	= intel_fl_invalidate,
};

/**
 * intel_fl_caps_init() - the best that any IOMMU can do, to be restricted
 * @caps: set to 5 levels, all page sizes and a coherent walk
 */
void intel_fl_caps_init(struct fl_caps *caps)
{
	*caps = (struct fl_caps) {
		.levels		= 5,
		.pgsize_bitmap	= SZ_4K | SZ_2M | SZ_1G,
		.coherent	= true,
		.mgaw		= 64,
	};
}

/**
 * intel_fl_caps_restrict() - leave only what an IOMMU can do too
 * @caps: what has been possible so far
 * @iommu: the IOMMU
 *
 * The depth comes from first-level capabilities alone; what the second level
 * supports (SAGAW) has no say (VT-d section 11.4.2).
 */
void intel_fl_caps_restrict(struct fl_caps *caps, struct intel_iommu *iommu)
{
	int superpages = iommu_superpage_capability(iommu, true);

	if (!cap_fl5lp_support(iommu->cap))
		caps->levels = 4;
	if (superpages < 2)
		caps->pgsize_bitmap &= ~(unsigned long)SZ_1G;
	if (superpages < 1)
		caps->pgsize_bitmap &= ~(unsigned long)SZ_2M;
	if (!iommu_paging_structure_coherency(iommu))
		caps->coherent = false;
	caps->mgaw = min_t(unsigned int, caps->mgaw, cap_mgaw(iommu->cap));
}

/* Without a device, whatever the domain is attached to first must do. */
static void intel_fl_caps_of_all(struct fl_caps *caps)
{
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;

	rcu_read_lock();
	for_each_active_iommu(iommu, drhd)
		intel_fl_caps_restrict(caps, iommu);
	rcu_read_unlock();
}

/*
 * The most table pages of a domain that belongs to a user: 1/64 of memory, but not
 * less than 64 MiB. It takes 1/512 to map all of memory once, page by page.
 */
static unsigned long intel_fl_max_user_pages(void)
{
	return max(totalram_pages() / 64, (unsigned long)SZ_64M / PAGE_SIZE);
}

static struct dmar_domain *intel_fl_domain_new(gfp_t gfp)
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
	xa_init(&domain->iommu_array);
	domain->use_first_level = true;
	domain->iotlb_sync_map = domain_need_iotlb_sync_map(true);
	domain->domain.ops = &intel_fl_domain_ops;
	domain->domain.owner = &intel_iommu_ops;

	return domain;
}

/**
 * intel_fl_domain_alloc() - allocate a first-level paging domain
 * @dev: device that the domain is for, or NULL if that is not known yet: the
 *	 domain then suits every IOMMU of the machine
 * @gfp: __GFP_ACCOUNT if the tables belong to a user, else 0
 *
 * The caller sets the domain's type. Page sizes and aperture are final.
 *
 * Context: may sleep.
 *
 * Return: the domain, or ERR_PTR(-ENOMEM).
 */
struct iommu_domain *intel_fl_domain_alloc(struct device *dev, gfp_t gfp)
{
	struct device_domain_info *info = dev ? dev_iommu_priv_get(dev) : NULL;
	struct iommu_domain_geometry *geometry;
	struct dmar_domain *domain;
	struct fl_caps caps;
	struct vtd_pt_cfg cfg;

	intel_fl_caps_init(&caps);
	if (info)
		intel_fl_caps_restrict(&caps, info->iommu);
	else
		intel_fl_caps_of_all(&caps);

	domain = intel_fl_domain_new(gfp);
	if (!domain)
		return ERR_PTR(-ENOMEM);

	cfg = (struct vtd_pt_cfg) {
		.ops		= &intel_fl_ops,
		.owner		= domain,
		.levels		= caps.levels,
		.pgsize_bitmap	= caps.pgsize_bitmap,
		.last_iova	= GENMASK_ULL(caps.mgaw - 1, 0),
		.coherent	= caps.coherent,
		.nid		= dev ? dev_to_node(dev) : NUMA_NO_NODE,
		.gfp		= gfp,
		.max_pages	= gfp & __GFP_ACCOUNT ? intel_fl_max_user_pages() : 0,
	};
	domain->pgtable = vtd_pt_fl_create(&cfg);
	if (IS_ERR(domain->pgtable)) {
		struct iommu_domain *err = ERR_CAST(domain->pgtable);

		kfree(domain);
		return err;
	}

	domain->domain.pgsize_bitmap = caps.pgsize_bitmap;
	geometry = &domain->domain.geometry;
	geometry->aperture_start = 0;
	geometry->aperture_end = vtd_pt_fl_last_iova(domain->pgtable);
	geometry->force_aperture = true;
	intel_fl_debugfs_add(domain);

	return &domain->domain;
}

/**
 * intel_fl_domain_free() - free a first-level domain and its table
 * @domain: the domain, attached to nothing
 *
 * Context: may sleep.
 */
void intel_fl_domain_free(struct iommu_domain *domain)
{
	struct dmar_domain *dmar_domain = to_dmar_domain(domain);

	/* Rather leak the table than let a device walk freed memory. */
	if (WARN_ON(!list_empty(&dmar_domain->devices) ||
		    !list_empty(&dmar_domain->dev_pasids)))
		return;

	intel_fl_debugfs_remove(dmar_domain);
	vtd_pt_fl_destroy(dmar_domain->pgtable);
	domain_free(dmar_domain);
}

/**
 * intel_fl_domain_compatible() - can an IOMMU walk a domain's table?
 * @domain: first-level domain
 * @iommu: the IOMMU of a device that is about to be attached
 *
 * Return: 0, or -EINVAL, which tells the iommu core's users that another domain
 * may do.
 */
int intel_fl_domain_compatible(struct dmar_domain *domain, struct intel_iommu *iommu)
{
	const struct vtd_pt_cfg *cfg = vtd_pt_fl_config(domain->pgtable);
	struct fl_caps caps;

	if (!sm_supported(iommu) || !ecap_flts(iommu->ecap))
		return -EINVAL;

	intel_fl_caps_init(&caps);
	intel_fl_caps_restrict(&caps, iommu);
	if (cfg->levels > caps.levels || (cfg->coherent && !caps.coherent) ||
	    (cfg->pgsize_bitmap & ~caps.pgsize_bitmap) ||
	    domain->domain.geometry.aperture_end > GENMASK_ULL(caps.mgaw - 1, 0))
		return -EINVAL;

	return 0;
}

/**
 * intel_fl_domain_map_pages() - &iommu_domain_ops.map_pages; see vtd_pt_fl_map()
 * @domain: first-level domain
 * @iova: first I/O virtual address in bytes
 * @paddr: first physical address in bytes
 * @pgsize: size of a leaf in bytes
 * @pgcount: number of leaves
 * @prot: IOMMU_READ, IOMMU_WRITE
 * @gfp: how to allocate tables
 * @mapped: bytes mapped, also on failure
 *
 * Context: any that @gfp allows.
 *
 * Return: 0 or a negative errno.
 */
int intel_fl_domain_map_pages(struct iommu_domain *domain, unsigned long iova,
			      phys_addr_t paddr, size_t pgsize, size_t pgcount,
			      int prot, gfp_t gfp, size_t *mapped)
{
	return vtd_pt_fl_map(to_dmar_domain(domain)->pgtable, iova, paddr, pgsize,
			     pgcount, prot, gfp, mapped);
}

/**
 * intel_fl_domain_unmap_pages() - &iommu_domain_ops.unmap_pages; see vtd_pt_fl_unmap()
 * @domain: first-level domain
 * @iova: first I/O virtual address in bytes
 * @pgsize: size of a page in bytes
 * @pgcount: number of pages; what they are mapped with does not matter
 * @gather: where to note what is to be invalidated
 *
 * Context: any.
 *
 * Return: bytes unmapped, all or 0.
 */
size_t intel_fl_domain_unmap_pages(struct iommu_domain *domain, unsigned long iova,
				   size_t pgsize, size_t pgcount,
				   struct iommu_iotlb_gather *gather)
{
	size_t size = vtd_pt_fl_unmap(to_dmar_domain(domain)->pgtable, iova,
				      pgsize * pgcount);

	/* The flush queue invalidates everything; it needs no ranges. */
	if (!size || iommu_iotlb_gather_queued(gather))
		return size;

	if (iommu_iotlb_gather_is_disjoint(gather, iova, size))
		iommu_iotlb_sync(domain, gather);
	iommu_iotlb_gather_add_range(gather, iova, size);

	return size;
}

/**
 * intel_fl_domain_iotlb_sync() - &iommu_domain_ops.iotlb_sync
 * @domain: first-level domain
 * @gather: what intel_fl_domain_unmap_pages() unmapped
 *
 * Leaves only: structure that changed was invalidated when it changed, and
 * tables are never freed here, so cached paging structures may stay.
 *
 * Context: any.
 */
void intel_fl_domain_iotlb_sync(struct iommu_domain *domain,
				struct iommu_iotlb_gather *gather)
{
	/* Nothing was gathered, as when nothing could be unmapped. */
	if (gather->start > gather->end)
		return;

	cache_tag_flush_range(to_dmar_domain(domain), gather->start,
			      gather->end, 1);
}

/**
 * intel_fl_domain_iova_to_phys() - &iommu_domain_ops.iova_to_phys
 * @domain: first-level domain
 * @iova: I/O virtual address in bytes
 *
 * Context: any.
 *
 * Return: the physical address, or 0.
 */
phys_addr_t intel_fl_domain_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova)
{
	return vtd_pt_fl_iova_to_phys(to_dmar_domain(domain)->pgtable, iova);
}

/*
 * Fewer tables than these, 256 KiB, are not worth an invalidation of everything: a
 * user who maps and unmaps one buffer keeps them.
 */
#define FL_KEEP_TABLES	64

/**
 * intel_fl_domain_free_empty_tables() - &iommu_domain_ops.free_empty_tables
 * @domain: first-level domain in which nothing is mapped, and nobody is at work
 *
 * Context: may sleep; see vtd_pt_fl_free_empty_tables().
 */
void intel_fl_domain_free_empty_tables(struct iommu_domain *domain)
{
	struct vtd_pt *pt = to_dmar_domain(domain)->pgtable;

	/* It refuses if anything is mapped after all. */
	if (vtd_pt_fl_nr_tables(pt) > FL_KEEP_TABLES)
		vtd_pt_fl_free_empty_tables(pt);
}
