// SPDX-License-Identifier: GPL-2.0-only
/*
 * Free the tables that an unmap has added to the gather, as a driver does after it has
 * invalidated. This file includes the kernel's own iommu-pages.h.
 */

#include <linux/mm.h>

#include "../iommu-pages.h"

#include "bench.h"

void bench_put_gathered(struct iommu_iotlb_gather *gather)
{
	iommu_put_pages_list(&gather->freelist);
}
