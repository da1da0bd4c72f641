/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Scalable-mode PASID-table entries (VT-d section 9.6): build one from a
 * description, and set, replace and tear down entries in the table.
 */
#ifndef _INTEL_PASID_ENTRY_H
#define _INTEL_PASID_ENTRY_H

#include <linux/bits.h>
#include <linux/types.h>

struct device;
struct dmar_domain;
struct intel_iommu;
struct pasid_entry;

/* Optional features of an entry */
#define PASID_DESC_SRE		BIT(0)	/* supervisor requests (SRE) */
#define PASID_DESC_WPE		BIT(1)	/* write protection for them (WPE) */
#define PASID_DESC_EAFE		BIT(2)	/* extended-accessed flag (EAFE) */
#define PASID_DESC_SSADE	BIT(3)	/* second-level Accessed/Dirty (SSADE) */
#define PASID_DESC_PGSNP	BIT(4)	/* all DMA snoops the caches (PGSNP) */
#define PASID_DESC_PWSNP	BIT(5)	/* page walks snoop the caches (PWSNP) */

/**
 * struct pasid_desc - contents of a PASID-table entry
 * @pgtt: translation type, one of %PASID_ENTRY_PGTT_FL_ONLY,
 *	  %PASID_ENTRY_PGTT_SL_ONLY, %PASID_ENTRY_PGTT_NESTED,
 *	  %PASID_ENTRY_PGTT_PT
 * @fl_levels: levels of the first-level table, 4 or 5, if the type has one
 * @aw: address width, as the AW field encodes it: that of the second level; for
 *	pass-through the widest in SAGAW; for a first level alone iommu->agaw
 * @did: domain ID by which caches tag what they derive from the entry
 * @flags: PASID_DESC_*
 * @fl_root: address of the first-level root, guest-physical if nested
 * @sl_root: host-physical address of the second-level root
 */
struct pasid_desc {
	u8	pgtt;
	u8	fl_levels;
	u8	aw;
	u16	did;
	u32	flags;
	u64	fl_root;
	u64	sl_root;
};

int pasid_describe_domain(struct pasid_desc *desc, struct intel_iommu *iommu,
			  struct dmar_domain *domain);
void pasid_describe_pass_through(struct pasid_desc *desc, struct intel_iommu *iommu);

int pasid_entry_build(const struct intel_iommu *iommu, const struct pasid_desc *desc,
		      struct pasid_entry *entry);

int intel_pasid_set_entry(struct device *dev, u32 pasid, const struct pasid_desc *desc);
int intel_pasid_replace_entry(struct device *dev, u32 pasid,
			      const struct pasid_desc *desc);
void intel_pasid_tear_down_entry(struct intel_iommu *iommu, struct device *dev,
				 u32 pasid, bool fault_ignore);
int intel_pasid_set_dirty_tracking(struct device *dev, u32 pasid, u16 did, bool enabled);
void intel_pasid_set_page_snoop(struct device *dev, u32 pasid, u16 did);

void intel_pasid_flush_devtlb(struct device *dev, u32 pasid);

void pasid_entry_store(struct intel_iommu *iommu, u64 *qword, u64 val);
void pasid_entry_store_chunk(struct intel_iommu *iommu, u64 *chunk, const u64 *val);

#endif /* _INTEL_PASID_ENTRY_H */
