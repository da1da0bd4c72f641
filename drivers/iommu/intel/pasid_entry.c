// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scalable-mode PASID-table entries (VT-d section 9.6).
 *
 * This is the only place that builds an entry (pasid_entry_build(), from a
 * description) and the only one that stores entries in the table: set, replace,
 * tear down, and change the two fields that change while an entry is in use.
 *
 * Stores. An entry has 64 bytes, one cache line, and hardware may fetch it in
 * aligned chunks of 16 bytes, in any order. Hence:
 * - An entry that is not present is filled from its end; the Present bit comes
 *   last, with the first quadword. The entry is one cache line, so if the
 *   caches write it back early, memory never has Present without the rest.
 * - An entry that is present is changed by one store of a chunk (or of a
 *   quadword), and only if nothing outside of it changes. Hardware then sees
 *   the old entry or the new one, and uses what it has cached of the old one
 *   until that is invalidated.
 * - For any other change the entry becomes not present: clear the Present bit,
 *   invalidate, fill. Hardware sees only the old entry, the new one, or none.
 *
 * Invalidations after an entry that was present has changed (section 6.5.3.3,
 * "Guidance to Software for Invalidations"), in this order, as each cache may
 * be refilled from the previous one: PASID cache, with the domain ID that the
 * entry had; IOTLB, PASID-selective if the entry had no second level, otherwise
 * domain-selective; device TLB.
 *
 * Locking. iommu->lock is held for the stores. It is not held while hardware
 * invalidates: in that time an entry that is being replaced is not present.
 * Changes of single fields (dirty tracking, snooping) skip an entry that is not
 * present or has another domain ID. The core's group mutex serializes set,
 * replace and tear-down of the PASIDs of one device, and so protects the
 * allocation of the pages of its entries.
 */

#define pr_fmt(fmt)	"DMAR: " fmt

#include <kunit/static_stub.h>
#include <linux/atomic.h>
#include <linux/cpufeature.h>
#include <linux/mm_types.h>
#include <linux/pci.h>

#include "pgtable.h"
#include "iommu.h"
#include "pasid.h"
#include "pasid_entry.h"

#define PASID_ENTRY_QWORDS	8
#define PASID_CHUNK_QWORDS	2

/* Describe */

static u32 pasid_walk_flags(struct intel_iommu *iommu)
{
	return ecap_smpwc(iommu->ecap) ? PASID_DESC_PWSNP : 0;
}

static void pasid_describe_first_level(struct pasid_desc *desc,
				       struct intel_iommu *iommu, u64 root,
				       unsigned int levels, u16 did, u32 flags)
{
	*desc = (struct pasid_desc) {
		.pgtt		= PASID_ENTRY_PGTT_FL_ONLY,
		.fl_levels	= levels,
		.aw		= iommu->agaw,
		.did		= did,
		.flags		= flags | pasid_walk_flags(iommu),
		.fl_root	= root,
	};
}

static void pasid_describe_second_level(struct pasid_desc *desc,
					struct intel_iommu *iommu,
					struct dmar_domain *domain)
{
	desc->aw = level_to_agaw(vtd_pt_sl_config(domain->pgtable)->levels);
	desc->sl_root = vtd_pt_sl_root(domain->pgtable);
	desc->flags |= pasid_walk_flags(iommu);
	if (domain->dirty_tracking)
		desc->flags |= PASID_DESC_SSADE;
}

/* The known flags of a nested domain's data */
static int pasid_describe_nested(struct pasid_desc *desc, struct intel_iommu *iommu,
				 struct dmar_domain *domain)
{
	const struct iommu_hwpt_vtd_s1 *cfg = &domain->s1_cfg;

	/* WPE restricts supervisor requests, and is meaningless without SRE. */
	if (cfg->flags & IOMMU_VTD_S1_SRE) {
		desc->flags |= PASID_DESC_SRE;
		if (cfg->flags & IOMMU_VTD_S1_WPE)
			desc->flags |= PASID_DESC_WPE;
	}
	if (cfg->flags & IOMMU_VTD_S1_EAFE)
		desc->flags |= PASID_DESC_EAFE;
	if (domain->s2_domain->force_snooping)
		desc->flags |= PASID_DESC_PGSNP;

	switch (cfg->addr_width) {
	case ADDR_WIDTH_4LEVEL:
		desc->fl_levels = 4;
		break;
	case ADDR_WIDTH_5LEVEL:
		desc->fl_levels = 5;
		break;
	default:
		return -EINVAL;
	}

	desc->pgtt = PASID_ENTRY_PGTT_NESTED;
	desc->fl_root = domain->s1_pgtbl;
	pasid_describe_second_level(desc, iommu, domain->s2_domain);

	return 0;
}

/**
 * pasid_describe_domain() - describe the entry that attaches a domain
 * @desc: set
 * @iommu: IOMMU of the device
 * @domain: paging or nested domain, attached to @iommu, or SVA domain
 *
 * Return: 0, or -EINVAL if a nested domain has an invalid width.
 */
int pasid_describe_domain(struct pasid_desc *desc, struct intel_iommu *iommu,
			  struct dmar_domain *domain)
{
	unsigned int levels;
	u16 did;

	if (domain->domain.type == IOMMU_DOMAIN_SVA) {
		levels = cpu_feature_enabled(X86_FEATURE_LA57) ? 5 : 4;
		pasid_describe_first_level(desc, iommu, __pa(domain->domain.mm->pgd),
					   levels, FLPT_DEFAULT_DID, 0);
		return 0;
	}

	did = domain_id_iommu(domain, iommu);
	*desc = (struct pasid_desc) {
		.pgtt	= PASID_ENTRY_PGTT_SL_ONLY,
		.did	= did,
	};
	if (domain->domain.type == IOMMU_DOMAIN_NESTED)
		return pasid_describe_nested(desc, iommu, domain);

	if (domain->use_first_level)
		pasid_describe_first_level(desc, iommu, vtd_pt_fl_root(domain->pgtable),
					   vtd_pt_fl_config(domain->pgtable)->levels, did,
					   domain->force_snooping ?
					   PASID_DESC_PGSNP : 0);
	else
		pasid_describe_second_level(desc, iommu, domain);

	return 0;
}

/**
 * pasid_describe_pass_through() - describe an entry that does not translate
 * @desc: set
 * @iommu: IOMMU of the device
 */
void pasid_describe_pass_through(struct pasid_desc *desc, struct intel_iommu *iommu)
{
	*desc = (struct pasid_desc) {
		.pgtt	= PASID_ENTRY_PGTT_PT,
		.aw	= iommu->msagaw,
		.did	= FLPT_DEFAULT_DID,
		.flags	= pasid_walk_flags(iommu),
	};
}

/* Build */

static int pasid_build_first_level(const struct intel_iommu *iommu,
				   const struct pasid_desc *desc,
				   struct pasid_entry *entry)
{
	if (!ecap_flts(iommu->ecap) || !IS_ALIGNED(desc->fl_root, VTD_PAGE_SIZE))
		return -EINVAL;
	if (desc->fl_levels != 4 && (desc->fl_levels != 5 ||
				     !cap_fl5lp_support(iommu->cap)))
		return -EINVAL;
	if ((desc->flags & (PASID_DESC_SRE | PASID_DESC_WPE)) &&
	    !ecap_srs(iommu->ecap))
		return -EINVAL;
	if ((desc->flags & PASID_DESC_EAFE) && !ecap_eafs(iommu->ecap))
		return -EINVAL;

	pasid_set_flptr(entry, desc->fl_root);
	if (desc->fl_levels == 5)
		pasid_set_flpm(entry, 1);
	if (desc->flags & PASID_DESC_SRE)
		pasid_set_sre(entry);
	if (desc->flags & PASID_DESC_WPE)
		pasid_set_wpe(entry);
	if (desc->flags & PASID_DESC_EAFE)
		pasid_set_eafe(entry);

	return 0;
}

static int pasid_build_second_level(const struct intel_iommu *iommu,
				    const struct pasid_desc *desc,
				    struct pasid_entry *entry)
{
	if (!ecap_slts(iommu->ecap) || !IS_ALIGNED(desc->sl_root, VTD_PAGE_SIZE) ||
	    !(cap_sagaw(iommu->cap) & BIT(desc->aw)))
		return -EINVAL;
	if ((desc->flags & PASID_DESC_SSADE) && !ecap_slads(iommu->ecap))
		return -EOPNOTSUPP;

	pasid_set_slptr(entry, desc->sl_root);
	if (desc->flags & PASID_DESC_SSADE)
		pasid_set_ssade(entry);

	return 0;
}

/*
 * The first-level root of a guest must be within the reach of its second level.
 */
static int pasid_build_nested(const struct intel_iommu *iommu,
			      const struct pasid_desc *desc,
			      struct pasid_entry *entry)
{
	int ret;

	if (!ecap_nest(iommu->ecap) || desc->aw > 3 ||
	    desc->fl_root >> agaw_to_width(desc->aw))
		return -EINVAL;

	ret = pasid_build_first_level(iommu, desc, entry);

	return ret ?: pasid_build_second_level(iommu, desc, entry);
}

/* Refuse flags of a level that the type does not have. */
static u32 pasid_flags_of(u8 pgtt)
{
	u32 first = PASID_DESC_SRE | PASID_DESC_WPE | PASID_DESC_EAFE;
	u32 any = PASID_DESC_PGSNP | PASID_DESC_PWSNP;

	switch (pgtt) {
	case PASID_ENTRY_PGTT_FL_ONLY:
		return any | first;
	case PASID_ENTRY_PGTT_SL_ONLY:
		return any | PASID_DESC_SSADE;
	case PASID_ENTRY_PGTT_NESTED:
		return any | first | PASID_DESC_SSADE;
	default:
		return PASID_DESC_PWSNP;
	}
}

/**
 * pasid_entry_build() - build a complete entry, with the Present bit
 * @iommu: IOMMU that the entry is for
 * @desc: contents of the entry
 * @entry: set on success
 *
 * Context: any.
 *
 * Return:
 * * 0		 - built
 * * -EINVAL	 - malformed (unknown type, misaligned root, a flag of a level that
 *		   the type does not have), or @iommu does not support it
 *		   (stage, number of levels, address width, SRE, WPE, EAFE)
 * * -EOPNOTSUPP - @iommu lacks the feature of another flag
 */
int pasid_entry_build(const struct intel_iommu *iommu, const struct pasid_desc *desc,
		      struct pasid_entry *entry)
{
	int ret = 0;

	if (desc->flags & ~pasid_flags_of(desc->pgtt))
		return -EINVAL;
	if ((desc->flags & PASID_DESC_PGSNP) && !ecap_sc_support(iommu->ecap))
		return -EOPNOTSUPP;
	if ((desc->flags & PASID_DESC_PWSNP) && !ecap_smpwc(iommu->ecap))
		return -EOPNOTSUPP;

	memset(entry, 0, sizeof(*entry));
	switch (desc->pgtt) {
	case PASID_ENTRY_PGTT_FL_ONLY:
		ret = pasid_build_first_level(iommu, desc, entry);
		break;
	case PASID_ENTRY_PGTT_SL_ONLY:
		ret = pasid_build_second_level(iommu, desc, entry);
		break;
	case PASID_ENTRY_PGTT_NESTED:
		ret = pasid_build_nested(iommu, desc, entry);
		break;
	case PASID_ENTRY_PGTT_PT:
		break;
	default:
		ret = -EINVAL;
	}
	if (ret)
		return ret;

	pasid_set_translation_type(entry, desc->pgtt);
	pasid_set_address_width(entry, desc->aw);
	pasid_set_domain_id(entry, desc->did);
	pasid_set_pwsnp(entry, desc->flags & PASID_DESC_PWSNP);
	if (desc->flags & PASID_DESC_PGSNP)
		pasid_set_pgsnp(entry);
	pasid_set_present(entry);

	return 0;
}

/* Store */

/**
 * pasid_entry_store() - store 8 bytes that hardware may read
 * @iommu: IOMMU that may read it
 * @qword: in a PASID-table entry or scalable-mode context entry
 * @val: new value
 */
void pasid_entry_store(struct intel_iommu *iommu, u64 *qword, u64 val)
{
	KUNIT_STATIC_STUB_REDIRECT(pasid_entry_store, iommu, qword, val);

	WRITE_ONCE(*qword, val);
}

#ifdef CONFIG_64BIT
static bool pasid_has_chunk_store(void)
{
	return system_has_cmpxchg128();
}

/**
 * pasid_entry_store_chunk() - store 16 bytes that hardware may read, at once
 * @iommu: IOMMU that may read it
 * @chunk: 16-byte aligned, in a PASID-table entry
 * @val: new value
 *
 * Context: the CPU has 16-byte atomic operations; the caller excludes other
 * stores there.
 */
void pasid_entry_store_chunk(struct intel_iommu *iommu, u64 *chunk, const u64 *val)
{
	u128 old, new;

	KUNIT_STATIC_STUB_REDIRECT(pasid_entry_store_chunk, iommu, chunk, val);

	memcpy(&old, chunk, sizeof(old));
	memcpy(&new, val, sizeof(new));
	cmpxchg128((u128 *)chunk, old, new);
}
#else
static bool pasid_has_chunk_store(void)
{
	return false;
}

void pasid_entry_store_chunk(struct intel_iommu *iommu, u64 *chunk, const u64 *val) {}
#endif

static void pasid_entry_write_back(struct intel_iommu *iommu, struct pasid_entry *pte)
{
	if (!ecap_coherent(iommu->ecap))
		iommu_write_back(iommu, pte, sizeof(*pte));
}

/*
 * Count an entry that is set (@count is 1) or cleared (-1). When only the RID's
 * is set, the pages of the other entries are unused.
 */
static bool pasid_count_set(struct device *dev, u32 pasid, int count)
{
	struct pasid_table *table = intel_pasid_get_table(dev);

	if (pasid == IOMMU_NO_PASID)
		return false;

	table->nr_set += count;

	return !table->nr_set;
}

/* All but the first quadword; the entry is not present. */
static void pasid_store_rest(struct intel_iommu *iommu, struct pasid_entry *pte,
			     const struct pasid_entry *new)
{
	unsigned int i;

	for (i = PASID_ENTRY_QWORDS - 1; i; i--)
		pasid_entry_store(iommu, &pte->val[i], new->val[i]);
}

/* Fill an entry that is not present. */
static void pasid_fill(struct intel_iommu *iommu, struct pasid_entry *pte,
		       const struct pasid_entry *new)
{
	pasid_store_rest(iommu, pte, new);
	dma_wmb();	/* the entry before its Present bit */
	pasid_entry_store(iommu, &pte->val[0], new->val[0]);
	pasid_entry_write_back(iommu, pte);
}

static void pasid_make_absent(struct intel_iommu *iommu, struct pasid_entry *pte)
{
	pasid_entry_store(iommu, &pte->val[0], pte->val[0] & ~(u64)PASID_PTE_PRESENT);
	pasid_entry_write_back(iommu, pte);
}

/*
 * Change an entry that is present by a single store. Returns false, with
 * nothing changed, if that is not possible.
 */
static bool pasid_change_at_once(struct intel_iommu *iommu, struct pasid_entry *pte,
				 const struct pasid_entry *new)
{
	unsigned int i, first = PASID_ENTRY_QWORDS, last = 0, chunk;

	for (i = 0; i < PASID_ENTRY_QWORDS; i++) {
		if (pte->val[i] == new->val[i])
			continue;
		first = min(first, i);
		last = i;
	}

	/* Nothing differs: there is no chunk to store. */
	if (first > last)
		return true;

	chunk = round_down(first, PASID_CHUNK_QWORDS);
	if (first == last)
		pasid_entry_store(iommu, &pte->val[first], new->val[first]);
	else if (last < chunk + PASID_CHUNK_QWORDS && pasid_has_chunk_store())
		pasid_entry_store_chunk(iommu, &pte->val[chunk], &new->val[chunk]);
	else
		return false;

	pasid_entry_write_back(iommu, pte);

	return true;
}

/* Invalidate */

static void pasid_flush_pasid_cache(struct intel_iommu *iommu, u16 did, u32 pasid)
{
	struct qi_desc desc = {
		.qw0 = QI_PC_DID(did) | QI_PC_GRAN(QI_PC_PASID_SEL) |
		       QI_PC_PASID(pasid) | QI_PC_TYPE,
	};

	qi_submit_sync(iommu, &desc, 1, 0);
}

/**
 * intel_pasid_flush_devtlb() - invalidate a device's TLB for a PASID
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID for requests without one
 *
 * Skips a device that is gone, as it would never answer. For requests
 * without PASID, see also devtlb_has_pasid_0().
 *
 * Context: any.
 */
void intel_pasid_flush_devtlb(struct device *dev, u32 pasid)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	u16 sid = PCI_DEVID(info->bus, info->devfn);

	if (!info->ats_enabled)
		return;
	if (dev_is_pci(dev) && !pci_device_is_present(to_pci_dev(dev)))
		return;

	if (pasid == IOMMU_NO_PASID)
		qi_flush_dev_iotlb(info->iommu, sid, info->pfsid, info->ats_qdep,
				   0, MAX_AGAW_PFN_WIDTH);
	if (pasid != IOMMU_NO_PASID || devtlb_has_pasid_0(info))
		qi_flush_dev_iotlb_pasid(info->iommu, sid, info->pfsid, pasid,
					 info->ats_qdep, 0, MAX_AGAW_PFN_WIDTH);

	/*
	 * DMA may be in progress, so always repeat this where the device needs
	 * it.
	 */
	quirk_extra_dev_tlb_flush(info, 0, MAX_AGAW_PFN_WIDTH, pasid, info->ats_qdep);
}

/* Section 6.5.3.3; see the top. @old is the entry that was present. */
static void pasid_flush_present(struct intel_iommu *iommu, struct device *dev,
				u32 pasid, struct pasid_entry *old)
{
	u16 did = pasid_get_domain_id(old);

	pasid_flush_pasid_cache(iommu, did, pasid);

	switch (pasid_pte_get_pgtt(old)) {
	case PASID_ENTRY_PGTT_FL_ONLY:
	case PASID_ENTRY_PGTT_PT:
		qi_flush_piotlb(iommu, did, pasid, 0, -1, 0);
		break;
	default:
		iommu->flush.flush_iotlb(iommu, did, 0, 0, DMA_TLB_DSI_FLUSH);
	}

	intel_pasid_flush_devtlb(dev, pasid);
}

/*
 * An entry that is not present is cached only in caching mode (section 6.1).
 * Otherwise write buffers may have to be flushed (section 6.8).
 */
static void pasid_flush_absent(struct intel_iommu *iommu, u16 did, u32 pasid)
{
	if (!cap_caching_mode(iommu->cap)) {
		iommu_flush_write_buffer(iommu);
		return;
	}

	pasid_flush_pasid_cache(iommu, did, pasid);
	qi_flush_piotlb(iommu, did, pasid, 0, -1, 0);
}

/* Set, replace, tear down */

static struct intel_iommu *pasid_entry_iommu(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return info->iommu;
}

/**
 * intel_pasid_set_entry() - set up an entry that is not present
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID for requests without one
 * @desc: contents of the entry
 *
 * Context: may sleep. The caller excludes other attachments of @pasid.
 *
 * Return: 0; -EBUSY if the entry is present; or an error of pasid_entry_build()
 * or intel_pasid_alloc_entry(). On error nothing has changed.
 */
int intel_pasid_set_entry(struct device *dev, u32 pasid, const struct pasid_desc *desc)
{
	struct intel_iommu *iommu = pasid_entry_iommu(dev);
	struct pasid_entry *pte, new;
	int ret;

	ret = pasid_entry_build(iommu, desc, &new);
	if (ret)
		return ret;

	ret = intel_pasid_alloc_entry(dev, pasid);
	if (ret)
		return ret;

	spin_lock(&iommu->lock);
	pte = intel_pasid_get_entry(dev, pasid);
	if (pasid_pte_is_present(pte)) {
		ret = -EBUSY;
	} else {
		if (!pte->val[0])
			pasid_count_set(dev, pasid, 1);
		pasid_fill(iommu, pte, &new);
	}
	spin_unlock(&iommu->lock);

	if (!ret)
		pasid_flush_absent(iommu, desc->did, pasid);

	return ret;
}

/**
 * intel_pasid_replace_entry() - replace an entry that is present
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID for requests without one
 * @desc: contents of the entry
 *
 * DMA sees the old entry, the new one, or, if the two differ in more than can
 * be stored at once, none. On return hardware caches nothing of the old entry,
 * and its page requests have been answered.
 *
 * Context: may sleep. The caller excludes other attachments of @pasid.
 *
 * Return: as intel_pasid_set_entry(), without -EBUSY.
 */
int intel_pasid_replace_entry(struct device *dev, u32 pasid,
			      const struct pasid_desc *desc)
{
	struct intel_iommu *iommu = pasid_entry_iommu(dev);
	struct pasid_entry *pte, new, old;
	bool at_once;
	int ret;

	ret = pasid_entry_build(iommu, desc, &new);
	if (ret)
		return ret;

	spin_lock(&iommu->lock);
	pte = intel_pasid_get_entry(dev, pasid);
	if (!pte || !pasid_pte_is_present(pte)) {
		spin_unlock(&iommu->lock);
		return intel_pasid_set_entry(dev, pasid, desc);
	}

	old = *pte;
	at_once = pasid_change_at_once(iommu, pte, &new);
	if (!at_once)
		pasid_make_absent(iommu, pte);
	spin_unlock(&iommu->lock);

	pasid_flush_present(iommu, dev, pasid, &old);

	if (!at_once) {
		spin_lock(&iommu->lock);
		pasid_fill(iommu, pte, &new);
		spin_unlock(&iommu->lock);
		pasid_flush_absent(iommu, desc->did, pasid);
	}
	intel_iommu_drain_pasid_prq(dev, pasid, pasid_get_domain_id(&old));

	return 0;
}

/*
 * Does an entry refer to a process's page table? If it is not present, it is
 * being detached or replaced, and hardware may still use what it has cached of
 * it.
 */
static bool pasid_is_of_process(struct pasid_entry *pte)
{
	return pasid_pte_is_sva(pte) &&
	       pasid_pte_get_pgtt(pte) == PASID_ENTRY_PGTT_FL_ONLY;
}

/**
 * intel_pasid_tear_down_entry() - clear an entry, and invalidate and drain
 * @iommu: IOMMU of the device
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID for requests without one
 * @fault_ignore: a process's page table is going away and the device was not
 *		  stopped yet: leave the entry with faults disabled (FPD), to be
 *		  torn down once more
 *
 * Context: may sleep unless @fault_ignore.
 */
void intel_pasid_tear_down_entry(struct intel_iommu *iommu, struct device *dev,
				 u32 pasid, bool fault_ignore)
{
	static const struct pasid_entry nothing;
	struct pasid_entry *pte, old = {};
	u16 did = FLPT_DEFAULT_DID;
	bool last = false;
	u64 rest = 0;

	spin_lock(&iommu->lock);
	pte = intel_pasid_get_entry(dev, pasid);
	if (pte)
		old = *pte;
	/* A late call for a process: the PASID has another domain by now. */
	if (fault_ignore && !pasid_is_of_process(&old))
		old.val[0] = 0;
	if (pasid_pte_is_present(&old))
		pasid_make_absent(iommu, pte);
	spin_unlock(&iommu->lock);

	/*
	 * Not present, and not torn down with @fault_ignore before: nothing to
	 * do.
	 */
	if (!old.val[0])
		return;

	if (pasid_pte_is_present(&old)) {
		did = pasid_get_domain_id(&old);
		pasid_flush_present(iommu, dev, pasid, &old);
		rest = fault_ignore ? PASID_PTE_FPD : 0;
	} else if (fault_ignore) {
		/*
		 * Another CPU has made the entry not present and may still be
		 * invalidating, but when this returns, the process frees its
		 * tables. That CPU stores the rest of the entry.
		 */
		pasid_flush_present(iommu, dev, pasid, &old);
		return;
	}

	old.val[0] &= ~(u64)PASID_PTE_PRESENT;
	spin_lock(&iommu->lock);
	/*
	 * The core's group mutex does not exclude an exiting process: meanwhile
	 * the PASID may have been detached or attached to another domain, and
	 * the page of the entry freed. Clear the entry only if it still is that
	 * of the process, without its Present bit.
	 */
	pte = intel_pasid_get_entry(dev, pasid);
	if (!fault_ignore || (pte && !memcmp(pte, &old, sizeof(old)))) {
		pasid_store_rest(iommu, pte, &nothing);
		pasid_entry_store(iommu, &pte->val[0], rest);
		pasid_entry_write_back(iommu, pte);
		if (!rest)
			last = pasid_count_set(dev, pasid, -1);
	}
	spin_unlock(&iommu->lock);

	if (!fault_ignore)
		intel_iommu_drain_pasid_prq(dev, pasid, did);
	if (last)
		intel_pasid_free_entries(dev);
}

/*
 * Set or clear @bit of an entry in use. Skip an entry that is not present or
 * belongs to another domain by now: when an entry is set up, the bit is taken
 * from the domain.
 */
static int pasid_change_bit(struct device *dev, u32 pasid, u16 did,
			    unsigned int qword, u64 bit, bool set, bool second_level)
{
	struct intel_iommu *iommu = pasid_entry_iommu(dev);
	struct pasid_entry *pte, old;
	u16 pgtt;

	spin_lock(&iommu->lock);
	pte = intel_pasid_get_entry(dev, pasid);
	if (!pte || !pasid_pte_is_present(pte) || pasid_get_domain_id(pte) != did ||
	    !!(pte->val[qword] & bit) == set) {
		spin_unlock(&iommu->lock);
		return 0;
	}

	old = *pte;
	pgtt = pasid_pte_get_pgtt(pte);
	if (second_level && pgtt != PASID_ENTRY_PGTT_SL_ONLY &&
	    pgtt != PASID_ENTRY_PGTT_NESTED) {
		spin_unlock(&iommu->lock);
		return -EOPNOTSUPP;
	}

	pasid_entry_store(iommu, &pte->val[qword],
			  set ? old.val[qword] | bit : old.val[qword] & ~bit);
	pasid_entry_write_back(iommu, pte);
	spin_unlock(&iommu->lock);

	pasid_flush_present(iommu, dev, pasid, &old);

	return 0;
}

/**
 * intel_pasid_set_dirty_tracking() - switch second-level Accessed/Dirty (SSADE)
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID for requests without one
 * @did: domain ID of the domain that is switched
 * @enabled: on or off
 *
 * Context: any.
 *
 * Return: 0, also if the entry has another domain ID; -EOPNOTSUPP without
 * second level.
 */
int intel_pasid_set_dirty_tracking(struct device *dev, u32 pasid, u16 did, bool enabled)
{
	return pasid_change_bit(dev, pasid, did, 0, PASID_PTE_SSADE, enabled, true);
}

/**
 * intel_pasid_set_page_snoop() - make all DMA of an entry in use snoop (PGSNP)
 * @dev: the device
 * @pasid: PASID, or %IOMMU_NO_PASID for requests without one
 * @did: domain ID of the domain that is switched
 *
 * Context: any.
 */
void intel_pasid_set_page_snoop(struct device *dev, u32 pasid, u16 did)
{
	pasid_change_bit(dev, pasid, did, 1, PASID_PTE_PGSNP, true, false);
}
