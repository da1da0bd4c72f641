// SPDX-License-Identifier: GPL-2.0-only
/*
 * Freeing the tables that an unmap gives back, as a driver does it when it has
 * invalidated. In a file of its own, for the kernel's own iommu-pages.h.
 */

#include <linux/mm.h>

#include "../iommu-pages.h"

#include "bench.h"

void bench_put_gathered(struct iommu_iotlb_gather *gather)
{
	iommu_put_pages_list(&gather->freelist);
}
