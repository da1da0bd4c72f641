/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * generic_pt's formats as 7.x's VT-d driver uses them: x86_64 for the first level, vtdss
 * for the second. Included by one file for each build, which defines GENERIC_FMT,
 * GENERIC_INIT, GENERIC_LOOKUP, GENERIC_LIB, GENERIC_NAME and GENERIC_LEVEL.
 */

#include <linux/args.h>
#include <linux/generic_pt/iommu.h>
#include <linux/slab.h>

#include "bench.h"

#define GENERIC_TABLE	CONCATENATE(pt_iommu_, GENERIC_FMT)
#define GENERIC_CFG	CONCATENATE(GENERIC_TABLE, _cfg)

int GENERIC_INIT(struct GENERIC_TABLE *table,
		 const struct GENERIC_CFG *cfg, gfp_t gfp);
phys_addr_t GENERIC_LOOKUP(struct iommu_domain *domain, dma_addr_t iova);

static void generic_free(struct iommu_domain *domain)
{
	struct pt_iommu *pt = iommupt_from_domain(domain);

	pt_iommu_deinit(pt);
	kfree(container_of(pt, struct GENERIC_TABLE, iommu));
}

/* If a large page replaces a table, map adds the table to the gather. */
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
	struct GENERIC_CFG cfg = {
		.common = {
			.features = (GENERIC_LEVEL == 1 ? BIT(PT_FEAT_SIGN_EXTEND) : 0) |
				    BIT(PT_FEAT_FLUSH_RANGE),
			.hw_max_vasz_lg2 = 48,
			.hw_max_oasz_lg2 = 52,
		},
		.top_level = 3,
	};
	struct GENERIC_TABLE *table = kzalloc(sizeof(*table), GFP_KERNEL);
	/* required but not used, as x86 flushes cache lines without it */
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
	.level		= GENERIC_LEVEL,
	.noncoherent	= true,
	.create		= generic_create,
};
