/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Paging domains: dmar_domains that have a table of the page-table library
 * (pgtable.h), of the first level or of the second.
 */
#ifndef _INTEL_IOMMU_PAGING_DOMAIN_H
#define _INTEL_IOMMU_PAGING_DOMAIN_H

#include <linux/iommu.h>

#include "pgtable.h"

struct dmar_domain;
struct intel_iommu;
struct seq_file;

extern const struct iommu_domain_ops intel_fl_domain_ops;
extern const struct iommu_domain_ops intel_sl_domain_ops;

/**
 * struct paging_caps - capabilities that some IOMMUs have in common
 * @first_level: for first-level tables, or for second-level tables
 * @levels: supported depths: bit n for n levels
 * @pgsize_bitmap: leaf sizes in bytes, OR-ed
 * @coherent: page walks snoop the caches (ECAP.SMPWC; in legacy mode ECAP.C)
 * @mgaw: width in bits of addresses that are not blocked (CAP.MGAW)
 */
struct paging_caps {
	bool first_level;
	unsigned long levels;
	unsigned long pgsize_bitmap;
	bool coherent;
	unsigned int mgaw;
};

/**
 * enum paging_snoop - whether leaves of a second-level domain have the Snoop
 * bit
 * @PAGING_SNOOP_OFF: something was mapped without the bit
 * @PAGING_SNOOP_ON: the domain enforces snooping
 * @PAGING_SNOOP_OPEN: undecided: nothing was ever mapped, and snooping was not
 *	requested. Plus n: n maps without the bit are in progress.
 *
 * The first map that succeeds and &iommu_domain_ops.enforce_cache_coherency
 * race to leave %PAGING_SNOOP_OPEN, by cmpxchg; the winner decides for the
 * lifetime of the domain. So a domain never has leaves of both kinds, and later
 * maps do not write shared data. A map that fails decides nothing.
 */
enum paging_snoop {
	PAGING_SNOOP_OFF = -2,
	PAGING_SNOOP_ON,
	PAGING_SNOOP_OPEN,
};

void intel_paging_caps_init(struct paging_caps *caps, bool first_level);
void intel_paging_caps_restrict(struct paging_caps *caps, struct intel_iommu *iommu);

struct iommu_domain *intel_paging_domain_alloc(struct device *dev, bool first_level,
					       gfp_t gfp);
void intel_paging_domain_free(struct iommu_domain *domain);
int intel_paging_domain_compatible(struct dmar_domain *domain, struct intel_iommu *iommu);
void intel_paging_iotlb_sync(struct iommu_domain *domain,
			     struct iommu_iotlb_gather *gather);
void intel_paging_free_empty_tables(struct iommu_domain *domain);

int intel_fl_domain_map_pages(struct iommu_domain *domain, unsigned long iova,
			      phys_addr_t paddr, size_t pgsize, size_t pgcount,
			      int prot, gfp_t gfp, size_t *mapped);
size_t intel_fl_domain_unmap_pages(struct iommu_domain *domain, unsigned long iova,
				   size_t pgsize, size_t pgcount,
				   struct iommu_iotlb_gather *gather);
phys_addr_t intel_fl_domain_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova);
phys_addr_t intel_fl_domain_iova_to_phys_length(struct iommu_domain *domain, dma_addr_t iova,
						size_t size, size_t *length);
bool intel_fl_domain_is_writable(struct iommu_domain *domain, dma_addr_t iova);
int intel_fl_domain_prealloc_tables(struct iommu_domain *domain, unsigned long iova,
				    size_t size, gfp_t gfp);

int intel_sl_domain_map_pages(struct iommu_domain *domain, unsigned long iova,
			      phys_addr_t paddr, size_t pgsize, size_t pgcount,
			      int prot, gfp_t gfp, size_t *mapped);
size_t intel_sl_domain_unmap_pages(struct iommu_domain *domain, unsigned long iova,
				   size_t pgsize, size_t pgcount,
				   struct iommu_iotlb_gather *gather);
phys_addr_t intel_sl_domain_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova);
phys_addr_t intel_sl_domain_iova_to_phys_length(struct iommu_domain *domain, dma_addr_t iova,
						size_t size, size_t *length);
bool intel_sl_domain_is_writable(struct iommu_domain *domain, dma_addr_t iova);
int intel_sl_domain_prealloc_tables(struct iommu_domain *domain, unsigned long iova,
				    size_t size, gfp_t gfp);
bool intel_sl_domain_enforce_snoop(struct dmar_domain *domain);

#ifdef CONFIG_INTEL_IOMMU_DEBUGFS
void intel_pgtable_debugfs_add(struct dmar_domain *domain);
void intel_pgtable_debugfs_remove(struct dmar_domain *domain);
void intel_pgtable_debugfs_init(struct dentry *parent);
#if IS_ENABLED(CONFIG_KUNIT)
bool pgtable_count_leaves(struct dmar_domain *domain, u64 *iova, struct vtd_pt_stats *stats);
int pgtable_stats_show(struct seq_file *m, void *unused);
#endif
#else
static inline void intel_pgtable_debugfs_add(struct dmar_domain *domain) {}
static inline void intel_pgtable_debugfs_remove(struct dmar_domain *domain) {}
#endif

#endif /* _INTEL_IOMMU_PAGING_DOMAIN_H */
