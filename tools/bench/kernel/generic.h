/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * generic_pt's x86_64 format as 7.x's VT-d driver uses it for the first level.
 * Included by a file for each of its builds, which sets GENERIC_INIT,
 * GENERIC_LOOKUP, GENERIC_LIB and GENERIC_NAME.
 */

#include <linux/generic_pt/iommu.h>
#include <linux/slab.h>

#include "bench.h"

int GENERIC_INIT(struct pt_iommu_x86_64 *table,
		 const struct pt_iommu_x86_64_cfg *cfg, gfp_t gfp);
phys_addr_t GENERIC_LOOKUP(struct iommu_domain *domain, dma_addr_t iova);

static void generic_free(struct iommu_domain *domain)
{
	struct pt_iommu *pt = iommupt_from_domain(domain);

	pt_iommu_deinit(pt);
	kfree(container_of(pt, struct pt_iommu_x86_64, iommu));
}

/* Where a large page took the place of a table, map gives back the table. */
static void generic_iotlb_sync(struct iommu_domain *domain,
			       struct iommu_iotlb_gather *gather)
{
	bench_put_gathered(gather);
}

static const struct iommu_domain_ops generic_ops = {
	.iova_to_phys	= GENERIC_LOOKUP,
	.iotlb_sync	= generic_iotlb_sync,
	.free		= generic_free,
};

static struct iommu_domain *generic_create(bool coherent)
{
	struct pt_iommu_x86_64_cfg cfg = {
		.common = {
			.features = BIT(PT_FEAT_SIGN_EXTEND) |
				    BIT(PT_FEAT_FLUSH_RANGE),
			.hw_max_vasz_lg2 = 48,
			.hw_max_oasz_lg2 = 52,
		},
		.top_level = 3,
	};
	struct pt_iommu_x86_64 *table = kzalloc(sizeof(*table), GFP_KERNEL);
	/* asked for, but not used: x86 flushes lines by itself */
	static struct device walker;

	if (!table)
		return NULL;

	if (!coherent)
		cfg.common.features |= BIT(PT_FEAT_DMA_INCOHERENT);
	table->iommu.iommu_device = &walker;
	table->iommu.nid = NUMA_NO_NODE;
	table->iommu.domain.ops = &generic_ops;
	if (GENERIC_INIT(table, &cfg, GFP_KERNEL)) {
		kfree(table);
		return NULL;
	}

	return &table->iommu.domain;
}

const struct bench_lib GENERIC_LIB = {
	.name		= GENERIC_NAME,
	.noncoherent	= true,
	.create		= generic_create,
};
