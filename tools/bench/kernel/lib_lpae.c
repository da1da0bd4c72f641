// SPDX-License-Identifier: GPL-2.0-only
/*
 * io-pgtable-arm in its 64-bit stage-1 format, as arm-smmu-v3 uses it.
 */

#include <linux/io-pgtable.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "bench.h"

struct lpae_domain {
	struct iommu_domain domain;
	struct io_pgtable_ops *ops;
};

static struct lpae_domain *to_lpae(struct iommu_domain *domain)
{
	return container_of(domain, struct lpae_domain, domain);
}

static int lpae_map_pages(struct iommu_domain *domain, unsigned long iova,
			  phys_addr_t paddr, size_t pgsize, size_t pgcount,
			  int prot, gfp_t gfp, size_t *mapped)
{
	struct io_pgtable_ops *ops = to_lpae(domain)->ops;

	return ops->map_pages(ops, iova, paddr, pgsize, pgcount, prot, gfp,
			      mapped);
}

static size_t lpae_unmap_pages(struct iommu_domain *domain, unsigned long iova,
			       size_t pgsize, size_t pgcount,
			       struct iommu_iotlb_gather *gather)
{
	struct io_pgtable_ops *ops = to_lpae(domain)->ops;

	return ops->unmap_pages(ops, iova, pgsize, pgcount, gather);
}

static phys_addr_t lpae_iova_to_phys(struct iommu_domain *domain,
				     dma_addr_t iova)
{
	struct io_pgtable_ops *ops = to_lpae(domain)->ops;

	return ops->iova_to_phys(ops, iova);
}

static void lpae_free(struct iommu_domain *domain)
{
	struct lpae_domain *lpae = to_lpae(domain);

	free_io_pgtable_ops(lpae->ops);
	kfree(lpae);
}

static const struct iommu_domain_ops lpae_domain_ops = {
	.map_pages	= lpae_map_pages,
	.unmap_pages	= lpae_unmap_pages,
	.iova_to_phys	= lpae_iova_to_phys,
	.free		= lpae_free,
};

static void lpae_flush_all(void *cookie)
{
}

static void lpae_flush_walk(unsigned long iova, size_t size, size_t granule,
			    void *cookie)
{
}

static void lpae_add_page(struct iommu_iotlb_gather *gather,
			  unsigned long iova, size_t granule, void *cookie)
{
	struct lpae_domain *lpae = cookie;

	iommu_iotlb_gather_add_page(&lpae->domain, gather, iova, granule);
}

static const struct iommu_flush_ops lpae_flush_ops = {
	.tlb_flush_all	= lpae_flush_all,
	.tlb_flush_walk	= lpae_flush_walk,
	.tlb_add_page	= lpae_add_page,
};

static struct iommu_domain *lpae_create(bool coherent)
{
	struct lpae_domain *lpae = kzalloc(sizeof(*lpae), GFP_KERNEL);
	/* required but not used, see lpae_compat.h */
	static struct device walker;
	struct io_pgtable_cfg cfg = {
		.pgsize_bitmap	= SZ_4K | SZ_2M | SZ_1G,
		.ias		= 48,
		.oas		= 48,
		.coherent_walk	= coherent,
		.tlb		= &lpae_flush_ops,
		.iommu_dev	= &walker,
	};

	if (!lpae)
		return NULL;

	lpae->domain.ops = &lpae_domain_ops;
	lpae->ops = alloc_io_pgtable_ops(ARM_64_LPAE_S1, &cfg, lpae);
	if (!lpae->ops) {
		kfree(lpae);
		return NULL;
	}

	return &lpae->domain;
}

const struct bench_lib bench_lpae = {
	.name		= "lpae",
	.level		= 1,
	.noncoherent	= true,
	.create		= lpae_create,
};
