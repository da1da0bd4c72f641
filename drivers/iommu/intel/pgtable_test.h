/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Functions of pgtable.c and paging_domain.c that KUnit suites replace: the
 * allocator, to make it fail on demand; the write-back, to see the content of
 * memory; and the step between the decision to split and the split. They also
 * split without an unmap.
 */
#ifndef _INTEL_IOMMU_PGTABLE_TEST_H
#define _INTEL_IOMMU_PGTABLE_TEST_H

#include <kunit/visibility.h>
#include <linux/gfp_types.h>

#include "pgtable.h"

#if IS_ENABLED(CONFIG_KUNIT)
void *vtd_pt_fl_alloc_page(const struct vtd_pt_cfg *cfg, gfp_t gfp);
void *vtd_pt_sl_alloc_page(const struct vtd_pt_cfg *cfg, gfp_t gfp);
void intel_paging_sync_entries(void *owner, void *addr, size_t size);
unsigned int vtd_pt_fl_split_depth(struct vtd_pt *pt, u64 iova, unsigned int *level);
unsigned int vtd_pt_sl_split_depth(struct vtd_pt *pt, u64 iova, unsigned int *level);
int vtd_pt_fl_split_ends(struct vtd_pt *pt, u64 iova, u64 end, gfp_t gfp);
int vtd_pt_sl_split_ends(struct vtd_pt *pt, u64 iova, u64 end, gfp_t gfp);
#endif

#endif /* _INTEL_IOMMU_PGTABLE_TEST_H */
