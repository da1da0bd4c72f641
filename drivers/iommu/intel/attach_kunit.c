// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of replacing domains on RIDs and PASIDs: after a failure the old
 * domain is attached and translates, and restoring it always works. The VT-d
 * model checks translations.
 */

#include <kunit/test-bug.h>
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/cred.h>
#include <linux/dmar.h>
#include <linux/iommu.h>
#include <linux/iommu-gpasid.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <uapi/linux/iommufd.h>

#include "../kunit_memory.h"
#include "iommu.h"
#include "pasid.h"
#include "pasid_entry.h"
#include "vtd_fake.h"

#define CAP_LEGACY	CAP_NESTING
#define ECAP_LEGACY	(ECAP_C | ECAP_QI | ECAP_DT | ECAP_PT | ECAP_SC)

#define PASID		5
#define PASIDS		64		/* of each device, with PASID 0 */
#define DOMAINS		256
#define DEVS		4

struct attach_test {
	struct vtd_fake fake;
	struct device *dev;		/* with a TLB */
	struct dmar_domain *parent;	/* maps GUEST_DATA to HOST_DATA */
	struct vtd_table table;		/* maps GVA to GUEST_DATA */
	struct during_unmap *during;
};

static struct dmar_domain *attach_nested(struct kunit *test)
{
	struct attach_test *ctx = test->priv;

	return vtd_guest_nested(test, ctx->dev, ctx->parent, ctx->table.root);
}

/* An IOMMU without supervisor requests refuses it. */
static struct dmar_domain *impossible(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct iommu_gpasid_bind_data data = vtd_guest_bind_data(ctx->table.root);

	data.flags = IOMMU_GPASID_SRE;

	return vtd_fake_keep(test, intel_gpasid_ops.domain_alloc(ctx->dev,
							&ctx->parent->domain, &data));
}

static int attach_to(struct device *dev, struct dmar_domain *domain)
{
	return domain->domain.ops->attach_dev(&domain->domain, dev);
}

static int attach_domain_rid(struct kunit *test, struct dmar_domain *domain)
{
	struct attach_test *ctx = test->priv;

	return attach_to(ctx->dev, domain);
}

static int attach_domain_pasid(struct device *dev, u32 pasid, struct dmar_domain *domain,
			       struct dmar_domain *old)
{
	return domain->domain.ops->set_dev_pasid(&domain->domain, dev, pasid,
						 old ? &old->domain : NULL);
}

static void attach_remove_pasid(struct device *dev, u32 pasid, struct dmar_domain *domain)
{
	intel_iommu_ops.remove_dev_pasid(dev, pasid, &domain->domain);
}

static void attach_expect(struct kunit *test, u64 addr, u64 hpa)
{
	struct attach_test *ctx = test->priv;

	vtd_fake_expect(test, ctx->dev, IOMMU_NO_PASID, addr, hpa);
}

static void attach_expect_gone(struct kunit *test, u64 addr)
{
	struct attach_test *ctx = test->priv;

	vtd_fake_expect_gone(test, ctx->dev, IOMMU_NO_PASID, addr);
}

static void expect_unused(struct kunit *test, struct dmar_domain *domain)
{
	KUNIT_EXPECT_TRUE(test, list_empty(&domain->devices));
	KUNIT_EXPECT_TRUE(test, list_empty(&domain->dev_pasids));
	KUNIT_EXPECT_TRUE(test, list_empty(&domain->cache_tags));
	KUNIT_EXPECT_FALSE(test, vtd_fake_has_id(domain));
}

/* RIDs */

/* A domain that the IOMMU refuses replaces nothing. */
static void refused_on_rid(struct kunit *test)
{
	struct iommu_domain *identity = intel_iommu_ops.identity_domain;
	struct dmar_domain *bad = impossible(test);
	struct attach_test *ctx = test->priv;
	unsigned int stores, descs;

	vtd_fake_watch(test, ctx->dev, IOMMU_NO_PASID, GUEST_DATA);
	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, ctx->parent));
	stores = ctx->fake.stores;
	descs = ctx->fake.descs;
	KUNIT_EXPECT_EQ(test, -EINVAL, attach_domain_rid(test, bad));
	KUNIT_EXPECT_EQ(test, stores, ctx->fake.stores);
	KUNIT_EXPECT_EQ(test, descs, ctx->fake.descs);
	attach_expect(test, GUEST_DATA, HOST_DATA);
	expect_unused(test, bad);

	KUNIT_ASSERT_EQ(test, 0, identity->ops->attach_dev(identity, ctx->dev));
	expect_unused(test, ctx->parent);
	KUNIT_EXPECT_EQ(test, -EINVAL, attach_domain_rid(test, bad));
	attach_expect(test, GUEST_DATA, GUEST_DATA);
	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, ctx->parent));
	attach_expect(test, GUEST_DATA, HOST_DATA);
}

/* The core attaches the old domain again after a failure. */
static void reattach_after_failure(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	unsigned int stores, descs;

	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, ctx->parent));
	stores = ctx->fake.stores;
	descs = ctx->fake.descs;
	KUNIT_EXPECT_EQ(test, 0, attach_domain_rid(test, ctx->parent));
	KUNIT_EXPECT_EQ(test, stores, ctx->fake.stores);
	KUNIT_EXPECT_EQ(test, descs, ctx->fake.descs);
	attach_expect(test, GUEST_DATA, HOST_DATA);

	device_block_translation(ctx->dev);
	attach_expect_gone(test, GUEST_DATA);
	expect_unused(test, ctx->parent);
}

/* A new domain, with other memory at GUEST_DATA */
static struct dmar_domain *attach_new_domain(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct dmar_domain *domain = vtd_fake_domain(test, ctx->dev, 0);

	vtd_guest_map(test, domain, GUEST_DATA, HOST_DATA + SZ_2M, SZ_4K);

	return domain;
}

/*
 * Replace @old by a new domain, while each allocation in turn fails: either the
 * new one works, or @old does.
 */
static void replace_without_memory(struct kunit *test, struct dmar_domain *old)
{
	unsigned int nth, failures = 0;
	bool failed;
	int ret;

	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, old));
	for (nth = 1, failed = true; failed; nth++) {
		struct dmar_domain *new = attach_new_domain(test);

		kunit_fail_allocation(nth);
		ret = attach_domain_rid(test, new);
		failed = kunit_allocation_failed();
		failures += !!ret;
		if (!ret) {
			attach_expect(test, GUEST_DATA, HOST_DATA + SZ_2M);
			expect_unused(test, old);
			KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, old));
		}
		KUNIT_EXPECT_TRUE(test, !ret || (failed && ret == -ENOMEM));
		attach_expect(test, GUEST_DATA, HOST_DATA);
		expect_unused(test, new);
	}
	/* the domain's record, and two tags */
	if (kunit_can_fail_allocations())
		KUNIT_EXPECT_LE(test, 3, failures);
}

static void rid_without_memory(struct kunit *test)
{
	struct attach_test *ctx = test->priv;

	replace_without_memory(test, ctx->parent);
}

static void rid_without_memory_legacy(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct dmar_domain *old;

	ctx->dev = vtd_fake_device(test, vtd_fake_iommu(test, CAP_LEGACY, ECAP_LEGACY),
				   true);
	old = vtd_fake_domain(test, ctx->dev, 0);
	vtd_guest_map(test, old, GUEST_DATA, HOST_DATA, SZ_4K);
	replace_without_memory(test, old);
}

/* A PCI device in legacy mode: its ATS is on from the attachment on. */

#define ATS_CAP		0x100

struct ats_bus {
	struct pci_bus bus;
	struct pci_sysdata sysdata;
	struct pci_dev pdev;
	struct dmar_domain *domain;
	bool fail;			/* allocations fail after ATS was enabled */
	void (*meanwhile)(struct ats_bus *ats);	/* when ATS is switched off */
	unsigned int descs;
};

static int ats_bus_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *val)
{
	*val = 0;
	if (where == PCI_VENDOR_ID)
		*val = PCI_VENDOR_ID_INTEL;
	if (where == ATS_CAP + PCI_ATS_CAP)
		*val = PCI_ATS_CAP_PAGE_ALIGNED;

	return PCIBIOS_SUCCESSFUL;
}

/* Another user of the domain unmaps when the device can fill its TLB. */
static int ats_bus_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 val)
{
	struct ats_bus *ats = container_of(bus, struct ats_bus, bus);
	struct attach_test *ctx = kunit_get_current_test()->priv;

	if (val & PCI_ATS_CTRL_ENABLE) {
		/* The device translates all that it can. */
		vtd_stored(ctx->fake.machine);
		iommu_unmap(&ats->domain->domain, GUEST_DATA, SZ_4K);
		kunit_fail_allocations(ats->fail);
	} else if (ats->meanwhile) {
		ats->meanwhile(ats);
	}

	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops ats_bus_ops = {
	.read	= ats_bus_read,
	.write	= ats_bus_write,
};

static struct ats_bus *ats_bus(struct kunit *test, u64 cap, u64 ecap)
{
	struct ats_bus *ats = kunit_kzalloc(test, sizeof(*ats), GFP_KERNEL);
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info;

	KUNIT_ASSERT_NOT_NULL(test, ats);
	ctx->dev = vtd_fake_device(test, vtd_fake_iommu(test, cap, ecap), true);
	ats->domain = vtd_fake_domain(test, ctx->dev, 0);
	vtd_guest_map(test, ats->domain, GUEST_DATA, HOST_DATA, SZ_4K);
	vtd_guest_map(test, ats->domain, GUEST_DATA + SZ_4K, HOST_DATA + SZ_4K, SZ_4K);

	info = dev_iommu_priv_get(ctx->dev);
	ats->bus.sysdata = &ats->sysdata;
	ats->bus.ops = &ats_bus_ops;
	ats->bus.number = info->bus;
	ats->pdev.bus = &ats->bus;
	ats->pdev.devfn = info->devfn;
	ats->pdev.error_state = pci_channel_io_normal;
	ats->pdev.ats_cap = ATS_CAP;
	device_initialize(&ats->pdev.dev);
	ats->pdev.dev.bus = &pci_bus_type;
	ats->pdev.dev.iommu = ctx->dev->iommu;
	info->dev = &ats->pdev.dev;
	info->ats_enabled = 0;

	return ats;
}

/*
 * Pages that another user of the domain unmaps while ATS is enabled are
 * invalidated in the device's TLB, too, or the device has no TLB.
 */
static void ats_enabled_before_entry(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info;
	struct ats_bus *ats;
	unsigned int fail;
	int ret;

	for (fail = 0; fail <= kunit_can_fail_allocations(); fail++) {
		ats = ats_bus(test, CAP_LEGACY, ECAP_LEGACY);
		ats->fail = fail;
		vtd_fake_watch(test, ctx->dev, IOMMU_NO_PASID, GUEST_DATA);
		ret = attach_to(&ats->pdev.dev, ats->domain);
		kunit_fail_allocations(false);
		KUNIT_EXPECT_EQ(test, 0, ret);
		info = dev_iommu_priv_get(ctx->dev);
		KUNIT_EXPECT_EQ(test, !fail, (bool)info->ats_enabled);
		attach_expect_gone(test, GUEST_DATA);
		attach_expect(test, GUEST_DATA + SZ_4K, HOST_DATA + SZ_4K);

		device_block_translation(&ats->pdev.dev);
		KUNIT_EXPECT_FALSE(test, info->ats_enabled);
		expect_unused(test, ats->domain);
		info->dev = ctx->dev;
	}
}

/* The RID was never attached, so ATS is off. */
static void ats_enabled_before_pasid(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info;
	struct ats_bus *ats;
	unsigned int before;

	ats = ats_bus(test, CAP_NESTING, ECAP_NESTING);
	info = dev_iommu_priv_get(ctx->dev);
	KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(&ats->pdev.dev, PASID, ats->domain,
						     NULL));
	KUNIT_EXPECT_TRUE(test, info->ats_enabled);
	before = ctx->fake.tlb_descs;
	iommu_unmap(&ats->domain->domain, GUEST_DATA, SZ_4K);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake.tlb_descs - before);
	attach_remove_pasid(&ats->pdev.dev, PASID, ats->domain);
	expect_unused(test, ats->domain);
	info->dev = ctx->dev;
}

static void flush_meanwhile(struct ats_bus *ats)
{
	struct attach_test *ctx = kunit_get_current_test()->priv;

	ats->descs -= ctx->fake.descs;
	intel_pasid_flush_devtlb(&ats->pdev.dev, IOMMU_NO_PASID);
	ats->descs += ctx->fake.descs;
}

/*
 * No TLB invalidation while ATS is being disabled for a reset: see
 * pasid_change_bit()
 */
static void no_flush_during_reset(struct kunit *test)
{
	struct ats_bus *ats = ats_bus(test, CAP_LEGACY, ECAP_LEGACY);
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);

	KUNIT_ASSERT_EQ(test, 0, attach_to(&ats->pdev.dev, ats->domain));
	flush_meanwhile(ats);
	KUNIT_EXPECT_EQ(test, 1, ats->descs);
	ats->meanwhile = flush_meanwhile;
	intel_iommu_ops.reset_prepare(&ats->pdev.dev);
	ats->meanwhile = NULL;
	KUNIT_EXPECT_EQ(test, 1, ats->descs);
	intel_iommu_ops.reset_done(&ats->pdev.dev);
	KUNIT_EXPECT_TRUE(test, info->ats_enabled);
	device_block_translation(&ats->pdev.dev);
	info->dev = ctx->dev;
}

static void free_reserves(void *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	cache_tag_drain(&info->rid_tags);
	cache_tag_drain(&info->restore.tags);
	kfree(info->restore.dev_pasid);
}

/*
 * A user releases the device: the default domain is restored whichever
 * allocation fails, after domains with two tags and with four.
 */
static void default_domain_without_memory(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	struct dmar_domain *home, *user = attach_nested(test);
	unsigned int nth, failures = 0;
	bool failed;

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_reserves, ctx->dev));
	KUNIT_ASSERT_EQ(test, 0, cache_tag_fill(&info->rid_tags));
	home = vtd_fake_domain(test, ctx->dev, 0);
	home->domain.type = IOMMU_DOMAIN_DMA;
	vtd_guest_map(test, home, GUEST_DATA, HOST_DATA + SZ_2M, SZ_4K);

	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, home));
	for (nth = 1, failed = true; failed; nth++) {
		KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, nth & 1 ? user : ctx->parent));
		kunit_fail_allocation(nth);
		KUNIT_EXPECT_EQ(test, 0, attach_domain_rid(test, home));
		failed = kunit_allocation_failed();
		failures += failed;
		attach_expect(test, GUEST_DATA, HOST_DATA + SZ_2M);
		KUNIT_EXPECT_EQ(test, info->rid_tags.nr, info->rid_tags.max);
	}
	if (kunit_can_fail_allocations())
		KUNIT_EXPECT_LT(test, 0, failures);
}

/*
 * The PASID moves to another domain on one device of a group, but not on the
 * next: the first is restored, although there is no memory left.
 */
static void restore_pasid_without_memory(struct kunit *test)
{
	struct iommu_domain *identity = intel_iommu_ops.identity_domain;
	struct attach_test *ctx = test->priv;
	struct device *next = vtd_fake_device(test, vtd_fake_iommu_of(ctx->dev), true);
	struct dmar_domain *old[] = { attach_nested(test), ctx->parent };
	struct dmar_domain *new[] = { attach_new_domain(test), attach_nested(test) };
	unsigned int i;
	int ret;

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_reserves, ctx->dev));
	for (i = 0; i < ARRAY_SIZE(old); i++) {
		u64 addr = i ? GUEST_DATA : GVA;

		vtd_fake_watch(test, ctx->dev, PASID, addr);
		KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, old[i], NULL));
		KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(next, PASID, old[i], NULL));

		KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, new[i], old[i]));
		kunit_fail_allocations(true);
		if (kunit_can_fail_allocations())
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					attach_domain_pasid(next, PASID, new[i], old[i]));
		KUNIT_EXPECT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, old[i], new[i]));
		kunit_fail_allocations(false);
		vtd_fake_expect(test, ctx->dev, PASID, addr, HOST_DATA);
		vtd_fake_expect(test, next, PASID, addr, HOST_DATA);
		expect_unused(test, new[i]);

		KUNIT_ASSERT_EQ(test, 0, identity->ops->set_dev_pasid(identity, ctx->dev, PASID,
								      &old[i]->domain));
		kunit_fail_allocations(true);
		ret = old[i]->domain.ops->set_dev_pasid(&old[i]->domain, ctx->dev, PASID,
							identity);
		kunit_fail_allocations(false);
		KUNIT_EXPECT_EQ(test, 0, ret);
		vtd_fake_expect(test, ctx->dev, PASID, addr, HOST_DATA);

		attach_remove_pasid(ctx->dev, PASID, old[i]);
		attach_remove_pasid(next, PASID, old[i]);
		expect_unused(test, old[i]);
	}
}

static int never_called(struct iopf_group *group)
{
	return -ENODEV;
}

static void attach_free_queue(void *queue)
{
	iopf_queue_free(queue);
}

/* A function whose page requests are disabled, but can be enabled */
static struct pci_dev *requester(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct intel_iommu *iommu = vtd_fake_iommu_of(ctx->dev);
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	struct pci_dev *pdev = vtd_fake_pci_dev(test, ctx->dev);

	/* no request in its queue: head is tail */
	iommu->reg = (void __force __iomem *)vtd_fake_page(test);
	init_waitqueue_head(&iommu->prq_handled);
	iommu->iommu.ops = &intel_iommu_ops;
	iommu->iopf_queue = iopf_queue_alloc("vtd-fake");
	KUNIT_ASSERT_NOT_NULL(test, iommu->iopf_queue);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, attach_free_queue,
							   iommu->iopf_queue));
	info->pri_supported = 1;
	ctx->dev = &pdev->dev;

	return pdev;
}

static void expect_restored(struct kunit *test, struct dmar_domain *old,
			    struct dmar_domain *new)
{
	struct attach_test *ctx = test->priv;
	int ret;

	kunit_fail_allocations(true);
	ret = attach_domain_pasid(ctx->dev, PASID, old, new);
	kunit_fail_allocations(false);
	KUNIT_EXPECT_EQ(test, 0, ret);
}

/*
 * The old domain was the last that wanted page requests. To restore it, they
 * are enabled again, although there is no memory left.
 */
static void restore_page_requests_without_memory(struct kunit *test)
{
	struct dmar_domain *old = attach_nested(test), *new = attach_nested(test);
	struct dmar_domain *other, *home;
	struct attach_test *ctx = test->priv;
	struct pci_dev *pdev = requester(test);
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	int ret;

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_reserves, ctx->dev));
	old->domain.iopf_handler = never_called;

	vtd_fake_watch(test, ctx->dev, PASID, GVA);
	KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, old, NULL));
	KUNIT_EXPECT_TRUE(test, pdev->pri_enabled);
	KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, new, old));
	KUNIT_EXPECT_FALSE(test, pdev->pri_enabled);
	expect_restored(test, old, new);
	KUNIT_EXPECT_TRUE(test, pdev->pri_enabled);
	vtd_fake_expect(test, ctx->dev, PASID, GVA, HOST_DATA);

	/* A user's replace that looks like a restore is undone. */
	KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, new, old));
	KUNIT_EXPECT_FALSE(test, pdev->pri_enabled);
	KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, old, new));
	KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, new, old));
	KUNIT_EXPECT_FALSE(test, pdev->pri_enabled);
	expect_restored(test, old, new);
	KUNIT_EXPECT_TRUE(test, pdev->pri_enabled);
	attach_remove_pasid(ctx->dev, PASID, old);
	KUNIT_EXPECT_FALSE(test, pdev->pri_enabled);

	/* Nothing is reserved for domains that do not want page requests. */
	other = attach_nested(test);
	KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, new, NULL));
	KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, other, new));
	KUNIT_EXPECT_NULL(test, ctx->dev->iommu->fault_param_reserve);
	attach_remove_pasid(ctx->dev, PASID, other);

	/* The same for the RID, which gets the default domain in the end. */
	home = vtd_fake_domain(test, ctx->dev, 0);
	home->domain.type = IOMMU_DOMAIN_DMA;
	KUNIT_ASSERT_EQ(test, 0, cache_tag_fill(&info->rid_tags));
	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, home));
	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, old));
	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, new));
	KUNIT_EXPECT_FALSE(test, pdev->pri_enabled);
	kunit_fail_allocations(true);
	ret = attach_domain_rid(test, old);
	kunit_fail_allocations(false);
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_TRUE(test, pdev->pri_enabled);
	attach_expect(test, GVA, HOST_DATA);
	kunit_fail_allocations(true);
	ret = attach_domain_rid(test, home);
	kunit_fail_allocations(false);
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_FALSE(test, pdev->pri_enabled);
}

/* Domain IDs */

struct ids {
	struct device *dev[DEVS];
	struct dmar_domain *on[DEVS][PASIDS];
	unsigned int nr;
};

/* Attach nested domains to PASIDs until that fails. */
static int take_ids(struct kunit *test, struct ids *ids)
{
	unsigned int i, pasid;
	int ret;

	for (i = 0; i < DEVS; i++) {
		for (pasid = 1; pasid < PASIDS; pasid++) {
			struct dmar_domain *domain = attach_nested(test);

			/* Of the kernel, which has no share, unlike a user. */
			domain->uid = INVALID_UID;
			ret = attach_domain_pasid(ids->dev[i], pasid, domain, NULL);
			if (ret) {
				expect_unused(test, domain);
				return ret;
			}
			ids->on[i][pasid] = domain;
			ids->nr++;
		}
		cond_resched();
	}

	return 0;
}

static void domain_ids_for_rids(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct intel_iommu *iommu = vtd_fake_iommu_of(ctx->dev);
	struct ids *ids = kunit_kzalloc(test, sizeof(*ids), GFP_KERNEL);
	struct dmar_domain *user = attach_nested(test), *other = attach_nested(test);
	unsigned int i, pasid;

	KUNIT_ASSERT_NOT_NULL(test, ids);
	bitmap_clear(iommu->domain_ids, 2, DOMAINS - 2);
	for (i = 0; i < DEVS; i++)
		ids->dev[i] = vtd_fake_device(test, iommu, false);

	KUNIT_EXPECT_EQ(test, -ENOSPC, take_ids(test, ids));
	KUNIT_EXPECT_EQ(test, DOMAINS / 4 * 3, ids->nr);

	/* The same for a replace, unless the domain already has an ID. */
	KUNIT_EXPECT_EQ(test, -ENOSPC, attach_domain_pasid(ids->dev[0], 1, user, ids->on[0][1]));
	vtd_fake_expect(test, ids->dev[0], 1, GVA, HOST_DATA);
	expect_unused(test, user);
	KUNIT_EXPECT_EQ(test, 0, attach_domain_pasid(ids->dev[DEVS - 1], PASIDS - 1,
						     ids->on[0][1], NULL));
	attach_remove_pasid(ids->dev[DEVS - 1], PASIDS - 1, ids->on[0][1]);

	/* RIDs get IDs, also for a replace, but PASIDs cannot use them. */
	for (i = 0; i < DEVS; i++)
		KUNIT_EXPECT_EQ(test, 0, attach_to(ids->dev[i], user));
	KUNIT_EXPECT_EQ(test, 0, attach_to(ids->dev[0], other));
	vtd_fake_expect(test, ids->dev[0], IOMMU_NO_PASID, GVA, HOST_DATA);
	KUNIT_EXPECT_EQ(test, -ENOSPC, attach_domain_pasid(ids->dev[DEVS - 1], PASIDS - 1, user,
							   NULL));

	/* When one PASID releases its ID, another one gets it. */
	attach_remove_pasid(ids->dev[0], 1, ids->on[0][1]);
	KUNIT_EXPECT_EQ(test, 0, attach_domain_pasid(ids->dev[0], 1, user, NULL));
	ids->on[0][1] = user;
	for (i = 0; i < DEVS; i++) {
		device_block_translation(ids->dev[i]);
		for (pasid = 1; pasid < PASIDS; pasid++) {
			if (ids->on[i][pasid])
				attach_remove_pasid(ids->dev[i], pasid, ids->on[i][pasid]);
		}
	}
	expect_unused(test, user);
	KUNIT_EXPECT_EQ(test, 2, bitmap_weight(iommu->domain_ids, DOMAINS));
	KUNIT_EXPECT_EQ(test, 0, iommu->nr_pasid_ids);
}

#define ALICE	KUIDT_INIT(1000)
#define BOB	KUIDT_INIT(1001)

static struct dmar_domain *domain_of(struct kunit *test, kuid_t uid)
{
	struct attach_test *ctx = test->priv;
	struct cred *cred = prepare_creds();
	struct iommu_domain *domain;
	const struct cred *old;

	KUNIT_ASSERT_NOT_NULL(test, cred);
	cred->uid = uid;
	old = override_creds(cred);
	domain = intel_iommu_ops.domain_alloc_user(ctx->dev, 0, NULL, NULL);
	revert_creds(old);
	put_cred(cred);

	return vtd_fake_keep(test, domain);
}

/* Attach domains of a user to free PASIDs until that fails. */
static unsigned int take_share(struct kunit *test, struct ids *ids, kuid_t uid)
{
	unsigned int i, nr = 0;

	for (i = 0; i < DEVS * PASIDS; i++) {
		struct dmar_domain **on = &ids->on[i / PASIDS][i % PASIDS];

		if (*on || !(i % PASIDS))
			continue;
		*on = domain_of(test, uid);
		if (attach_domain_pasid(ids->dev[i / PASIDS], i % PASIDS, *on, NULL)) {
			expect_unused(test, *on);
			*on = NULL;
			break;
		}
		nr++;
		cond_resched();
	}

	return nr;
}

/* Detach domains of a user until @keep are left. */
static void leave_share(struct ids *ids, kuid_t uid, unsigned int keep)
{
	unsigned int i;

	for (i = 0; i < DEVS * PASIDS; i++) {
		struct dmar_domain **on = &ids->on[i / PASIDS][i % PASIDS];

		if (!*on || !uid_eq((*on)->uid, uid))
			continue;
		if (keep) {
			keep--;
			continue;
		}
		attach_remove_pasid(ids->dev[i / PASIDS], i % PASIDS, *on);
		*on = NULL;
	}
}

/* A failed attach is not counted. */
static void share_without_memory(struct kunit *test, struct device *dev)
{
	bool failed = true;
	unsigned int nth;
	int ret;

	for (nth = 1; failed; nth++) {
		struct dmar_domain *domain = domain_of(test, ALICE);

		kunit_fail_allocation(nth);
		ret = attach_domain_pasid(dev, 1, domain, NULL);
		failed = kunit_allocation_failed();
		if (!ret)
			attach_remove_pasid(dev, 1, domain);
		expect_unused(test, domain);
	}
}

static void domain_ids_for_other_users(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct intel_iommu *iommu = vtd_fake_iommu_of(ctx->dev);
	struct ids *ids = kunit_kzalloc(test, sizeof(*ids), GFP_KERNEL);
	struct dmar_domain *more;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, ids);
	bitmap_clear(iommu->domain_ids, 2, DOMAINS - 2);
	for (i = 0; i < DEVS; i++)
		ids->dev[i] = vtd_fake_device(test, iommu, false);
	share_without_memory(test, ids->dev[0]);

	/* 192 for PASIDs: as many as are left, also to replace one of them */
	KUNIT_EXPECT_EQ(test, 96, take_share(test, ids, ALICE));
	more = domain_of(test, ALICE);
	KUNIT_EXPECT_EQ(test, -ENOSPC, attach_domain_pasid(ids->dev[0], 1, more, ids->on[0][1]));
	expect_unused(test, more);
	KUNIT_EXPECT_EQ(test, 0, attach_domain_pasid(ids->dev[DEVS - 1], PASIDS - 1, ids->on[0][1],
						     NULL));
	attach_remove_pasid(ids->dev[DEVS - 1], PASIDS - 1, ids->on[0][1]);

	/*
	 * Other users get some, a RID is not counted, and the kernel is not
	 * limited.
	 */
	KUNIT_EXPECT_EQ(test, 48, take_share(test, ids, BOB));
	KUNIT_EXPECT_EQ(test, 0, attach_to(ids->dev[0], more));
	device_block_translation(ids->dev[0]);
	KUNIT_EXPECT_EQ(test, 48, take_share(test, ids, INVALID_UID));
	leave_share(ids, INVALID_UID, 0);

	/* Released IDs can be used again. */
	leave_share(ids, ALICE, 20);
	KUNIT_EXPECT_EQ(test, (192 - 48) / 2 - 20, take_share(test, ids, ALICE));
	leave_share(ids, ALICE, 0);
	leave_share(ids, BOB, 0);
	KUNIT_EXPECT_EQ(test, 96, take_share(test, ids, BOB));
	leave_share(ids, BOB, 0);
	KUNIT_EXPECT_EQ(test, 2, bitmap_weight(iommu->domain_ids, DOMAINS));
	KUNIT_EXPECT_EQ(test, 0, iommu->nr_pasid_ids);
}

/* No domain ID left: the RID keeps its domain. */
static void rid_without_domain_id(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct intel_iommu *iommu = vtd_fake_iommu_of(ctx->dev);
	struct dmar_domain *user = attach_nested(test);

	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, ctx->parent));
	bitmap_fill(iommu->domain_ids, DOMAINS);
	KUNIT_EXPECT_EQ(test, -ENOSPC, attach_domain_rid(test, user));
	attach_expect(test, GUEST_DATA, HOST_DATA);
	expect_unused(test, user);
}

/* PASID tables */

/*
 * No PASID is attached while the table is a crashed kernel's; attaching the RID
 * ends that.
 */
static void copied_context(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	struct iommu_domain *identity = intel_iommu_ops.identity_domain;
	struct dmar_domain *user = attach_nested(test);
	struct intel_iommu *iommu = info->iommu;

	iommu->copied_tables = kunit_kzalloc(test, BITS_TO_BYTES(BIT(16)), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iommu->copied_tables);
	set_context_copied(iommu, info->bus, info->devfn);

	KUNIT_EXPECT_EQ(test, -EBUSY, attach_domain_pasid(ctx->dev, PASID, ctx->parent, NULL));
	KUNIT_EXPECT_EQ(test, -EBUSY, attach_domain_pasid(ctx->dev, PASID, user, NULL));
	KUNIT_EXPECT_TRUE(test, context_copied(iommu, info->bus, info->devfn));
	expect_unused(test, user);

	KUNIT_ASSERT_EQ(test, 0, attach_domain_rid(test, ctx->parent));
	KUNIT_EXPECT_FALSE(test, context_copied(iommu, info->bus, info->devfn));
	attach_expect(test, GUEST_DATA, HOST_DATA);
	KUNIT_EXPECT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, user, NULL));
	vtd_fake_expect(test, ctx->dev, PASID, GVA, HOST_DATA);
	attach_remove_pasid(ctx->dev, PASID, user);

	device_block_translation(ctx->dev);
	set_context_copied(iommu, info->bus, info->devfn);
	KUNIT_ASSERT_EQ(test, 0, identity->ops->attach_dev(identity, ctx->dev));
	KUNIT_EXPECT_FALSE(test, context_copied(iommu, info->bus, info->devfn));
	attach_expect(test, GUEST_DATA, GUEST_DATA);
}

/*
 * A device that supports more PASIDs than any IOMMU: its registers read all
 * ones.
 */
static void largest_pasid_table(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	struct pci_dev *pdev = vtd_fake_pci_dev(test, ctx->dev);
	struct pasid_table *table = info->pasid_table;
	unsigned int pss;

	pdev->error_state = pci_channel_io_perm_failure;
	pdev->pasid_cap = PCI_CFG_SPACE_SIZE;

	for (pss = 0; pss < 20; pss++) {
		u32 max = 2U << pss;

		info->iommu->iommu.max_pasids = max;
		info->pasid_table = NULL;
		KUNIT_ASSERT_EQ(test, 0, intel_pasid_alloc_table(&pdev->dev));
		KUNIT_EXPECT_EQ(test, 0, intel_pasid_alloc_entry(&pdev->dev, max - 1));
		KUNIT_EXPECT_NOT_NULL(test, intel_pasid_get_entry(&pdev->dev, max - 1));
		max = info->pasid_table->max_pasid;
		KUNIT_EXPECT_EQ(test, -EINVAL, intel_pasid_alloc_entry(&pdev->dev, max));
		KUNIT_EXPECT_NULL(test, intel_pasid_get_entry(&pdev->dev, max));
		KUNIT_EXPECT_EQ(test, -EINVAL, intel_pasid_alloc_entry(&pdev->dev, -1));
		intel_pasid_free_table(&pdev->dev);
	}
	info->pasid_table = table;
}

#define AW_OF_PASID_ENTRY	GENMASK_ULL(4, 2)	/* in its first quadword */
#define AW_OF_CONTEXT_ENTRY	GENMASK_ULL(2, 0)	/* in its second */

/* How many entries of tables a fault dump prints for GUEST_DATA */
static unsigned int attach_dump(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	const char *text = "pte level: ";
	unsigned int before = vtd_fake_log_lines(text);

	dmar_fault_dump_ptes(info->iommu, PCI_DEVID(info->bus, info->devfn), GUEST_DATA,
			     IOMMU_PASID_INVALID);
	return vtd_fake_log_lines(text) - before;
}

/*
 * An entry with more levels than there are, in bits of @quadword, is not
 * followed.
 */
static void expect_bounded_dump(struct kunit *test, u64 *quadword, u64 levels)
{
	u64 was = *quadword;

	KUNIT_EXPECT_EQ(test, 4, attach_dump(test));
	*quadword |= levels;
	KUNIT_EXPECT_EQ(test, 0, attach_dump(test));
	*quadword = was;
}

static void fault_dump_is_bounded(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info;
	struct context_entry *context;
	struct dmar_domain *domain;

	if (!IS_ENABLED(CONFIG_DMAR_DEBUG))
		kunit_skip(test, "this kernel dumps no entries");

	KUNIT_ASSERT_EQ(test, 0, attach_to(ctx->dev, ctx->parent));
	expect_bounded_dump(test, intel_pasid_get_entry(ctx->dev, IOMMU_NO_PASID)->val,
			    AW_OF_PASID_ENTRY);
	device_block_translation(ctx->dev);

	ctx->dev = vtd_fake_device(test, vtd_fake_iommu(test, CAP_LEGACY, ECAP_LEGACY), false);
	info = dev_iommu_priv_get(ctx->dev);
	domain = vtd_fake_domain(test, ctx->dev, 0);
	vtd_guest_map(test, domain, GUEST_DATA, HOST_DATA, SZ_4K);
	KUNIT_ASSERT_EQ(test, 0, attach_to(ctx->dev, domain));
	scoped_guard(spinlock, &info->iommu->lock)
		context = iommu_context_addr(info->iommu, info->bus, info->devfn, 0);
	KUNIT_ASSERT_NOT_NULL(test, context);
	expect_bounded_dump(test, &context->hi, AW_OF_CONTEXT_ENTRY);
}

/* Some devices need each invalidation twice, also that of a PASID. */
static void pasid_is_invalidated_twice(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	unsigned int twice, before;

	for (twice = 0; twice < 2; twice++) {
		info->dtlb_extra_inval = twice;
		KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, ctx->parent, NULL));
		before = ctx->fake.tlb_descs;
		attach_remove_pasid(ctx->dev, PASID, ctx->parent);
		KUNIT_EXPECT_EQ(test, 1 + twice, ctx->fake.tlb_descs - before);
	}
	info->dtlb_extra_inval = 0;
}

/* Whose tags are tested by tags_cover_entry() */
struct tags_case {
	const char *name;
	u32 pasid;
	bool detach;		/* else an attach */
};

static const struct tags_case tags_cases[] = {
	{ "attach RID", IOMMU_NO_PASID, false },
	{ "attach PASID", PASID, false },
	{ "detach RID", IOMMU_NO_PASID, true },
	{ "detach PASID", PASID, true },
};

KUNIT_ARRAY_PARAM_DESC(tags, tags_cases, name);

static void tags_unmap(struct kunit *test)
{
	const struct tags_case *c = test->param_value;
	struct attach_test *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, SZ_4K, iommu_unmap(&ctx->parent->domain, GUEST_DATA, SZ_4K));
	vtd_fake_expect_gone(test, ctx->dev, c->pasid, GUEST_DATA);
}

/*
 * Another user of the domain unmaps a page when an entry has just become
 * present, or has been cleared but may be cached: this is invalidated in the
 * IOTLB and in the device's TLB. With caching mode, the driver invalidates after
 * it has stored an entry.
 */
static void tags_cover_entry(struct kunit *test)
{
	const struct tags_case *c = test->param_value;
	struct attach_test *ctx = test->priv;
	struct dmar_domain *domain;

	ctx->dev = vtd_fake_device(test, vtd_fake_iommu(test, CAP_NESTING | CAP_CM,
							ECAP_NESTING), true);
	domain = vtd_fake_domain(test, ctx->dev, IOMMU_HWPT_ALLOC_NEST_PARENT);
	domain->iotlb_sync_map = true;	/* as caching mode requires */
	ctx->parent = domain;
	vtd_guest_map(test, domain, GUEST_DATA, HOST_DATA, SZ_4K);
	vtd_fake_watch(test, ctx->dev, c->pasid, GUEST_DATA);

	if (!c->detach)
		ctx->fake.meanwhile = tags_unmap;
	if (c->pasid == IOMMU_NO_PASID)
		KUNIT_ASSERT_EQ(test, 0, attach_to(ctx->dev, domain));
	else
		KUNIT_ASSERT_EQ(test, 0, attach_domain_pasid(ctx->dev, PASID, domain, NULL));

	KUNIT_EXPECT_NULL(test, ctx->fake.meanwhile);

	if (c->detach) {
		vtd_fake_expect(test, ctx->dev, c->pasid, GUEST_DATA, HOST_DATA);
		ctx->fake.meanwhile = tags_unmap;
	}
	if (c->pasid == IOMMU_NO_PASID)
		device_block_translation(ctx->dev);
	else
		attach_remove_pasid(ctx->dev, PASID, domain);
	KUNIT_EXPECT_NULL(test, ctx->fake.meanwhile);
	expect_unused(test, domain);
}

/* Which domain is attached to what, by attach_during_unmap() */
struct during_case {
	const char *name;
	bool pasid, nested;
};

static const struct during_case during_cases[] = {
	{ "RID", false, false },
	{ "PASID", true, false },
	{ "nested RID", false, true },
	{ "nested PASID", true, true },
};

KUNIT_ARRAY_PARAM_DESC(during, during_cases, name);

struct during_unmap {
	struct vtd_fake_call call;
	const struct during_case *c;
	struct device *dev;
	struct dmar_domain *domain;
	bool early;		/* attached before the unmap ended */
	bool stored;		/* its entry was present before that */
	int ret;
};

static int during_attach(struct during_unmap *during, struct device *dev)
{
	if (during->c->pasid)
		return attach_domain_pasid(dev, PASID, during->domain, NULL);
	return attach_to(dev, during->domain);
}

static void during_detach(struct during_unmap *during, struct device *dev)
{
	if (during->c->pasid)
		attach_remove_pasid(dev, PASID, during->domain);
	else
		device_block_translation(dev);
}

static void during_attach_call(void *data)
{
	struct during_unmap *during = data;

	during->ret = during_attach(during, during->dev);
}

static void during_detach_call(void *data)
{
	struct during_unmap *during = data;

	during_detach(during, during->dev);
}

static void during_unmap_hook(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct pasid_entry *pte;

	ctx->during->early = vtd_fake_call(&ctx->during->call, during_attach_call,
					   ctx->during);
	pte = intel_pasid_get_entry(ctx->during->dev,
				    ctx->during->c->pasid ? PASID : IOMMU_NO_PASID);
	ctx->during->stored = pte && pasid_pte_is_present(pte);
}

/*
 * A device with a TLB is attached while a page is unmapped whose translation,
 * made for another device, is still in the IOTLB: the attach waits until it is
 * gone. The unmap does not invalidate the TLB of this device, which would be
 * filled from there.
 */
static void attach_during_unmap(struct kunit *test)
{
	struct attach_test *ctx = test->priv;
	struct during_unmap *during;

	if (num_online_cpus() < 2)
		kunit_skip(test, "one CPU");
	during = kunit_kzalloc(test, sizeof(*during), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, during);
	ctx->during = during;
	during->c = test->param_value;
	during->dev = vtd_fake_device(test, vtd_fake_iommu_of(ctx->dev), true);
	during->domain = during->c->nested ? attach_nested(test) : ctx->parent;
	KUNIT_ASSERT_EQ(test, 0, during_attach(during, ctx->dev));

	ctx->fake.meanwhile = during_unmap_hook;
	KUNIT_EXPECT_EQ(test, SZ_4K, iommu_unmap(&ctx->parent->domain, GUEST_DATA, SZ_4K));
	KUNIT_ASSERT_NULL(test, ctx->fake.meanwhile);
	flush_work(&during->call.work);
	KUNIT_EXPECT_FALSE(test, during->early);
	KUNIT_EXPECT_FALSE(test, during->stored);
	KUNIT_EXPECT_EQ(test, 0, during->ret);

	/* The model does not know that device. */
	vtd_fake_call(&during->call, during_detach_call, during);
	flush_work(&during->call.work);
	during_detach(during, ctx->dev);
	expect_unused(test, during->domain);
}

static int attach_test_init(struct kunit *test)
{
	struct attach_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	int ret;

	ret = vtd_fake_init(test, ctx ? &ctx->fake : NULL);
	if (ret)
		return ret;

	ctx->dev = vtd_fake_device(test, vtd_fake_iommu(test, CAP_NESTING,
							ECAP_NESTING | ECAP_PRS), true);
	ctx->parent = vtd_fake_domain(test, ctx->dev, IOMMU_HWPT_ALLOC_NEST_PARENT);
	vtd_guest_map(test, ctx->parent, GUEST_DATA, HOST_DATA, SZ_4K);
	ctx->table = vtd_guest_table(test, ctx->parent, GVA, GUEST_DATA);

	return 0;
}

/* Domains are freed after this. */
static void attach_test_exit(struct kunit *test)
{
	struct attach_test *ctx = test->priv;

	if (ctx && ctx->dev)
		device_block_translation(ctx->dev);
}

static struct kunit_case attach_test_cases[] = {
	KUNIT_CASE(refused_on_rid),
	KUNIT_CASE(reattach_after_failure),
	KUNIT_CASE(rid_without_memory),
	KUNIT_CASE(rid_without_memory_legacy),
	KUNIT_CASE(ats_enabled_before_entry),
	KUNIT_CASE(ats_enabled_before_pasid),
	KUNIT_CASE(no_flush_during_reset),
	KUNIT_CASE(default_domain_without_memory),
	KUNIT_CASE(restore_pasid_without_memory),
	KUNIT_CASE(restore_page_requests_without_memory),
	KUNIT_CASE(domain_ids_for_rids),
	KUNIT_CASE(domain_ids_for_other_users),
	KUNIT_CASE(rid_without_domain_id),
	KUNIT_CASE(copied_context),
	KUNIT_CASE(largest_pasid_table),
	KUNIT_CASE(fault_dump_is_bounded),
	KUNIT_CASE(pasid_is_invalidated_twice),
	KUNIT_CASE_PARAM(tags_cover_entry, tags_gen_params),
	KUNIT_CASE_PARAM(attach_during_unmap, during_gen_params),
	{}
};

static struct kunit_suite attach_test_suite = {
	.name = "intel-iommu-attach",
	.init = attach_test_init,
	.exit = attach_test_exit,
	.test_cases = attach_test_cases,
};

kunit_test_suite(attach_test_suite);
