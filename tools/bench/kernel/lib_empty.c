// SPDX-License-Identifier: GPL-2.0-only
/*
 * A library that does nothing, to measure the overhead of the benchmark.
 */

#include <linux/slab.h>

#include "bench.h"

static int empty_map_pages(struct iommu_domain *domain, unsigned long iova,
			   phys_addr_t paddr, size_t pgsize, size_t pgcount,
			   int prot, gfp_t gfp, size_t *mapped)
{
	*mapped = pgsize * pgcount;

	return 0;
}

static size_t empty_unmap_pages(struct iommu_domain *domain,
				unsigned long iova, size_t pgsize,
				size_t pgcount,
				struct iommu_iotlb_gather *gather)
{
	return pgsize * pgcount;
}

static phys_addr_t empty_iova_to_phys(struct iommu_domain *domain,
				      dma_addr_t iova)
{
	return iova;
}

static void empty_free(struct iommu_domain *domain)
{
	kfree(domain);
}

static const struct iommu_domain_ops empty_ops = {
	.map_pages	= empty_map_pages,
	.unmap_pages	= empty_unmap_pages,
	.iova_to_phys	= empty_iova_to_phys,
	.free		= empty_free,
};

static struct iommu_domain *empty_create(bool coherent)
{
	struct iommu_domain *domain = kzalloc(sizeof(*domain), GFP_KERNEL);

	if (domain)
		domain->ops = &empty_ops;

	return domain;
}

static int empty_split(struct iommu_domain *domain, unsigned long iova)
{
	return 0;
}

const struct bench_lib bench_empty = {
	.name		= "empty",
	.noncoherent	= true,
	.create		= empty_create,
	.split		= empty_split,
};
