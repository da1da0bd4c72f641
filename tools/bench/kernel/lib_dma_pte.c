// SPDX-License-Identifier: GPL-2.0-only
/*
 * The page tables of 6.12's VT-d driver. dma_pte.h has the required definitions, which
 * are copied unmodified from the driver's source when the benchmark is built.
 */

#include <linux/bitfield.h>
#include <linux/dma-map-ops.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>
#include <uapi/linux/iommufd.h>

#include "bench.h"
#include "../iommu-pages.h"

struct dmar_domain;

/* nothing is invalidated */
static void cache_tag_flush_range(struct dmar_domain *domain,
				  unsigned long start, unsigned long end,
				  int ih)
{
}

#include "dma_pte.h"

static void dma_pte_free(struct iommu_domain *domain)
{
	domain_exit(to_dmar_domain(domain));
}

static void dma_pte_iotlb_sync(struct iommu_domain *domain,
			       struct iommu_iotlb_gather *gather)
{
	bench_put_gathered(gather);
}

static const struct iommu_domain_ops dma_pte_ops = {
	.map_pages	= intel_iommu_map_pages,
	.unmap_pages	= intel_iommu_unmap_pages,
	.iotlb_sync	= dma_pte_iotlb_sync,
	.iova_to_phys	= intel_iommu_iova_to_phys,
	.free		= dma_pte_free,
};

static struct iommu_domain *dma_pte_new(bool coherent, bool first)
{
	struct dmar_domain *domain = kzalloc(sizeof(*domain), GFP_KERNEL);

	if (!domain)
		return NULL;

	INIT_LIST_HEAD(&domain->devices);
	domain->nid = NUMA_NO_NODE;
	domain->use_first_level = first;
	domain->domain.ops = &dma_pte_ops;
	if (md_domain_init(domain, 48)) {
		kfree(domain);
		return NULL;
	}
	domain->iommu_coherency = coherent;
	domain->iommu_superpage = 2;

	return &domain->domain;
}

static struct iommu_domain *dma_pte_create(bool coherent)
{
	return dma_pte_new(coherent, true);
}

static struct iommu_domain *dma_pte_ss_create(bool coherent)
{
	return dma_pte_new(coherent, false);
}

const struct bench_lib bench_dma_pte = {
	.name		= "dma_pte",
	.level		= 1,
	.noncoherent	= true,
	.create		= dma_pte_create,
};

const struct bench_lib bench_dma_pte_ss = {
	.name		= "dma_pte",
	.level		= 2,
	.noncoherent	= true,
	.create		= dma_pte_ss_create,
};
