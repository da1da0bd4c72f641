/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which level of a nested translation has to serve a page request.
 */
#ifndef _INTEL_IOMMU_NESTED_WALK_H
#define _INTEL_IOMMU_NESTED_WALK_H

#include <linux/types.h>

struct dmar_domain;
struct intel_iommu;
struct iopf_stop;

unsigned int nested_walk(struct dmar_domain *domain, u64 addr, u32 perm,
			 struct iopf_stop *stop);
void nested_walk_suit(struct dmar_domain *domain, const struct intel_iommu *iommu);
void nested_walk_wait(struct dmar_domain *domain);

#endif /* _INTEL_IOMMU_NESTED_WALK_H */
