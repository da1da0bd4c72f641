/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest PASIDs: a guest's first-level table under a PASID of a device, nested
 * on the second level that translates the device's requests without PASID.
 */
#ifndef __LINUX_IOMMU_GPASID_H
#define __LINUX_IOMMU_GPASID_H

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/types.h>

struct device;
struct iommu_domain;
struct iopf_client;

/* &iommu_gpasid_bind_data.flags */
#define IOMMU_GPASID_SRE	BIT(0)	/* supervisor requests are translated */
#define IOMMU_GPASID_WPE	BIT(1)	/* supervisor writes respect read-only pages */
#define IOMMU_GPASID_EAFE	BIT(2)	/* extended-accessed flags are maintained */

/**
 * struct iommu_gpasid_bind_data - a guest's table and the PASID to bind it to
 * @flags: IOMMU_GPASID_*
 * @pasid: the PASID in the device's requests, not 0
 * @root: guest-physical address of the guest's first-level root, in bytes
 * @addr_width: bits of address that the guest's table translates: 48 or 57
 */
struct iommu_gpasid_bind_data {
	u32 flags;
	u32 pasid;
	u64 root;
	u32 addr_width;
};

/**
 * struct iommu_gpasid_ops - operations of an IOMMU driver for guest PASIDs
 * @parent: for a domain that is attached to a device's RID, the nest parent of
 *	    guest tables: the domain itself, or the domain that it is nested on;
 *	    NULL if there is none
 * @domain_alloc: allocate a domain of type IOMMU_DOMAIN_NESTED for a guest's
 *		  table; attached with set_dev_pasid, freed with
 *		  iommu_domain_free()
 * @invalidate: invalidate @npages pages of 4 KiB from @addr on, or everything
 *		if @npages is U64_MAX and @addr 0; with @leaf, only leaves
 *
 * All are called with the group mutex held and may sleep.
 */
struct iommu_gpasid_ops {
	struct iommu_domain *(*parent)(struct iommu_domain *domain);
	struct iommu_domain *(*domain_alloc)(struct device *dev,
					     struct iommu_domain *parent,
					     const struct iommu_gpasid_bind_data *data);
	int (*invalidate)(struct iommu_domain *domain, u64 addr, u64 npages,
			  bool leaf);
};

#ifdef CONFIG_IOMMU_API
int iommu_bind_gpasid(struct device *dev, const struct iommu_gpasid_bind_data *data,
		      const struct iopf_client *client);
int iommu_unbind_gpasid(struct device *dev, u32 pasid);
int iommu_invalidate_gpasid(struct device *dev, u32 pasid, u64 addr, u64 npages,
			    bool leaf);
#else
static inline int iommu_bind_gpasid(struct device *dev,
				    const struct iommu_gpasid_bind_data *data,
				    const struct iopf_client *client)
{
	return -ENODEV;
}

static inline int iommu_unbind_gpasid(struct device *dev, u32 pasid)
{
	return -ENODEV;
}

static inline int iommu_invalidate_gpasid(struct device *dev, u32 pasid, u64 addr,
					  u64 npages, bool leaf)
{
	return -ENODEV;
}
#endif

#endif /* __LINUX_IOMMU_GPASID_H */
