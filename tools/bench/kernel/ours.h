/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * This series' library, under a domain like the driver's. Included by one file for each
 * format, which defines OURS, OURS_LIB and OURS_LEVEL.
 */

#include <linux/err.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "bench.h"
#include "pgtable/pgtable.h"

#define __OURS_FN(fmt, name)	vtd_pt_##fmt##_##name
#define _OURS_FN(fmt, name)	__OURS_FN(fmt, name)
#define OURS_FN(name)		_OURS_FN(OURS, name)

struct flpt_domain {
	struct iommu_domain domain;
	struct vtd_pt *pgtable;
};

static struct vtd_pt *to_pt(struct iommu_domain *domain)
{
	return container_of(domain, struct flpt_domain, domain)->pgtable;
}

static int flpt_map_pages(struct iommu_domain *domain, unsigned long iova,
			  phys_addr_t paddr, size_t pgsize, size_t pgcount,
			  int prot, gfp_t gfp, size_t *mapped)
{
	return OURS_FN(map)(to_pt(domain), iova, paddr, pgsize, pgcount, prot,
			     gfp, mapped);
}

static size_t flpt_unmap_pages(struct iommu_domain *domain, unsigned long iova,
			       size_t pgsize, size_t pgcount,
			       struct iommu_iotlb_gather *gather)
{
	size_t size = OURS_FN(unmap)(to_pt(domain), iova, pgsize * pgcount);

	if (!size || iommu_iotlb_gather_queued(gather))
		return size;

	if (iommu_iotlb_gather_is_disjoint(gather, iova, size))
		iommu_iotlb_sync(domain, gather);
	iommu_iotlb_gather_add_range(gather, iova, size);

	return size;
}

static phys_addr_t flpt_domain_iova_to_phys(struct iommu_domain *domain,
					    dma_addr_t iova)
{
	return OURS_FN(iova_to_phys)(to_pt(domain), iova);
}

#ifdef CONFIG_IOMMU_BENCH_DMA_PTE
static phys_addr_t flpt_domain_iova_to_phys_length(struct iommu_domain *domain,
						   dma_addr_t iova, size_t size,
						   size_t *length)
{
	return OURS_FN(iova_to_phys_length)(to_pt(domain), iova, size, length);
}
#endif

static void flpt_domain_free(struct iommu_domain *domain)
{
	OURS_FN(destroy)(to_pt(domain));
	kfree(container_of(domain, struct flpt_domain, domain));
}

static const struct iommu_domain_ops flpt_domain_ops = {
	.map_pages	= flpt_map_pages,
	.unmap_pages	= flpt_unmap_pages,
	.iova_to_phys	= flpt_domain_iova_to_phys,
#ifdef CONFIG_IOMMU_BENCH_DMA_PTE
	.iova_to_phys_length = flpt_domain_iova_to_phys_length,
#endif
	.free		= flpt_domain_free,
};

static void flpt_sync_entries(void *owner, void *addr, size_t size)
{
	bench_write_back(addr, size);
}

static void flpt_invalidate(void *owner, u64 start, u64 last,
			    enum vtd_pt_change change)
{
}

static const struct vtd_pt_ops flpt_bench_ops = {
	.sync_entries	= flpt_sync_entries,
	.invalidate	= flpt_invalidate,
};

static struct iommu_domain *flpt_domain_create(bool coherent)
{
	struct flpt_domain *domain = kzalloc(sizeof(*domain), GFP_KERNEL);
	struct vtd_pt_cfg cfg = {
		.ops		= &flpt_bench_ops,
		.owner		= domain,
		.levels		= 4,
		.pgsize_bitmap	= SZ_4K | SZ_2M | SZ_1G,
		.coherent	= coherent,
		.nid		= NUMA_NO_NODE,
	};

	if (!domain)
		return NULL;

	domain->domain.ops = &flpt_domain_ops;
	domain->pgtable = OURS_FN(create)(&cfg);
	if (IS_ERR(domain->pgtable)) {
		kfree(domain);
		return NULL;
	}

	return &domain->domain;
}

static int flpt_domain_split(struct iommu_domain *domain, unsigned long iova)
{
	return OURS_FN(split)(to_pt(domain), iova, GFP_KERNEL);
}

const struct bench_lib OURS_LIB = {
	.name		= "flpt",
	.level		= OURS_LEVEL,
	.noncoherent	= true,
	.create		= flpt_domain_create,
	.split		= flpt_domain_split,
};
