/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What flpt.c and fl_domain.c open to KUnit suites, which replace the allocator to
 * make it fail on demand, and the write-back to see what memory is like, and come
 * in between when a cut has been decided on.
 */
#ifndef _INTEL_IOMMU_FLPT_TEST_H
#define _INTEL_IOMMU_FLPT_TEST_H

#include <kunit/visibility.h>
#include <linux/gfp_types.h>

#include "flpt.h"

#if IS_ENABLED(CONFIG_KUNIT)
void *flpt_alloc_page(const struct flpt_cfg *cfg, gfp_t gfp);
void fl_write_back(void *owner, void *addr, size_t size);
unsigned int flpt_cut_depth(struct flpt *pt, u64 iova, unsigned int *level);
#endif

#endif /* _INTEL_IOMMU_FLPT_TEST_H */
