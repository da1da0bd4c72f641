/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What flpt.c opens to its KUnit suite, which replaces the allocator to make it
 * fail on demand.
 */
#ifndef _INTEL_IOMMU_FLPT_TEST_H
#define _INTEL_IOMMU_FLPT_TEST_H

#include <kunit/visibility.h>
#include <linux/gfp_types.h>

#include "flpt.h"

#if IS_ENABLED(CONFIG_KUNIT)
void *flpt_alloc_page(const struct flpt_cfg *cfg, gfp_t gfp);
#endif

#endif /* _INTEL_IOMMU_FLPT_TEST_H */
