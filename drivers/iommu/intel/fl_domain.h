/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * First-level domains: dmar_domains whose translation is a table of the
 * first-level page-table library (pgtable.h).
 */
#ifndef _INTEL_IOMMU_FL_DOMAIN_H
#define _INTEL_IOMMU_FL_DOMAIN_H

#include <linux/iommu.h>

#include "pgtable.h"

struct dmar_domain;
struct intel_iommu;
struct seq_file;

extern const struct iommu_domain_ops intel_fl_domain_ops;

/**
 * struct fl_caps - what a first-level table may be like on some IOMMUs
 * @levels: the most levels (4, or 5 with CAP.FL5LP)
 * @pgsize_bitmap: leaf sizes in bytes, OR-ed
 * @coherent: page walks snoop the caches (ECAP.SMPWC)
 * @mgaw: addresses of this many bits are not blocked (CAP.MGAW)
 */
struct fl_caps {
	unsigned int levels;
	unsigned long pgsize_bitmap;
	bool coherent;
	unsigned int mgaw;
};

void intel_fl_caps_init(struct fl_caps *caps);
void intel_fl_caps_restrict(struct fl_caps *caps, struct intel_iommu *iommu);

struct iommu_domain *intel_fl_domain_alloc(struct device *dev, gfp_t gfp);
void intel_fl_domain_free(struct iommu_domain *domain);
int intel_fl_domain_compatible(struct dmar_domain *domain, struct intel_iommu *iommu);

int intel_fl_domain_map_pages(struct iommu_domain *domain, unsigned long iova,
			      phys_addr_t paddr, size_t pgsize, size_t pgcount,
			      int prot, gfp_t gfp, size_t *mapped);
size_t intel_fl_domain_unmap_pages(struct iommu_domain *domain, unsigned long iova,
				   size_t pgsize, size_t pgcount,
				   struct iommu_iotlb_gather *gather);
void intel_fl_domain_iotlb_sync(struct iommu_domain *domain,
				struct iommu_iotlb_gather *gather);
phys_addr_t intel_fl_domain_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova);
void intel_fl_domain_free_empty_tables(struct iommu_domain *domain);

#ifdef CONFIG_INTEL_IOMMU_DEBUGFS
void intel_fl_debugfs_add(struct dmar_domain *domain);
void intel_fl_debugfs_remove(struct dmar_domain *domain);
void intel_fl_debugfs_init(struct dentry *parent);
#else
static inline void intel_fl_debugfs_add(struct dmar_domain *domain) {}
static inline void intel_fl_debugfs_remove(struct dmar_domain *domain) {}
#endif

#endif /* _INTEL_IOMMU_FL_DOMAIN_H */
