// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of invalidations for many PASIDs: the number of descriptors by
 * number of PASIDs, and the VT-d model shows that all unmapped pages are
 * invalidated.
 */

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <uapi/linux/iommufd.h>

#include "iommu.h"
#include "paging_domain.h"
#include "pasid.h"
#include "vtd_fake.h"

#define IOVA		0x40003000ULL
#define PA		(70ULL * SZ_1G)
#define WATCHED		12	/* Number of PASIDs, more than have separate tags */
#define MANY		1000

struct inval_test {
	struct vtd_fake fake;
	struct intel_iommu *iommu;
};

/*
 * A device's TLB: none, one that is invalidated PASID by PASID, one for all at
 * once
 */
enum device_tlb { NO_TLB, TLB, GLOBAL_TLB };

/*
 * @few, @many: descriptors for an unmap with 8 PASIDs, and with each number
 * above
 */
struct domain_case {
	const char *name;
	bool first_level;
	enum device_tlb tlb;
	unsigned int few, many;
};

#define EACH	0		/* one for each PASID */

static const struct domain_case domain_cases[] = {
	{ "second level", false, NO_TLB, 1, 1 },
	{ "second level, device TLB", false, TLB, 1 + 8, 1 + EACH },
	{ "second level, device TLB for all PASIDs", false, GLOBAL_TLB, 1 + 8, 1 + 1 },
	{ "first level", true, NO_TLB, 8, 1 },
	{ "first level, device TLB", true, TLB, 8 + 8, 1 + EACH },
	{ "first level, device TLB for all PASIDs", true, GLOBAL_TLB, 8 + 8, 1 + 1 },
};

KUNIT_ARRAY_PARAM_DESC(domain, domain_cases, name);

static struct device *new_device(struct kunit *test, enum device_tlb tlb)
{
	struct inval_test *ctx = test->priv;
	struct device *dev = vtd_fake_device(test, ctx->iommu, tlb != NO_TLB);
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	if (tlb == GLOBAL_TLB) {
		info->ats_global = true;
		vtd_model_set_global(vtd_fake_model(test, dev),
				     PCI_DEVID(info->bus, info->devfn));
	}

	return dev;
}

static struct dmar_domain *inval_new_domain(struct kunit *test, struct device *dev,
					    bool first_level)
{
	struct dmar_domain *domain;

	domain = vtd_fake_keep(test, intel_paging_domain_alloc(dev, first_level, 0));
	domain->domain.type = IOMMU_DOMAIN_UNMANAGED;

	return domain;
}

static void inval_map(struct kunit *test, struct dmar_domain *domain)
{
	KUNIT_ASSERT_EQ(test, 0, iommu_map(&domain->domain, IOVA, PA, SZ_4K,
					   IOMMU_READ | IOMMU_WRITE, GFP_KERNEL));
}

/* Number of descriptors of an unmap */
static unsigned int inval_unmap(struct kunit *test, struct dmar_domain *domain)
{
	struct inval_test *ctx = test->priv;

	ctx->fake.descs = 0;
	ctx->fake.submissions = 0;
	KUNIT_ASSERT_EQ(test, SZ_4K, iommu_unmap(&domain->domain, IOVA, SZ_4K));

	return ctx->fake.descs;
}

static void inval_attach(struct kunit *test, struct dmar_domain *domain, struct device *dev,
			 u32 pasid)
{
	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->set_dev_pasid(&domain->domain, dev,
								   pasid, NULL));
}

static void inval_detach(struct dmar_domain *domain, struct device *dev, u32 pasid)
{
	intel_iommu_ops.remove_dev_pasid(dev, pasid, &domain->domain);
}

static void inval_expect_all(struct kunit *test, struct device *dev, bool mapped, u32 first,
			     u32 last)
{
	u32 pasid;

	for (pasid = first; pasid <= last; pasid++) {
		if (mapped)
			vtd_fake_expect(test, dev, pasid, IOVA, PA);
		else
			vtd_fake_expect_gone(test, dev, pasid, IOVA);
	}
}

static unsigned int nr_tags(struct dmar_domain *domain)
{
	return list_count_nodes(&domain->cache_tags);
}

/*
 * PASIDs are attached and detached: unmaps are invalidated for each, whatever
 * tag it has.
 */
static void attach_detach_pasids(struct kunit *test)
{
	const struct domain_case *c = test->param_value;
	struct device *dev = new_device(test, c->tlb);
	struct dmar_domain *domain = inval_new_domain(test, dev, c->first_level);
	u32 pasid;

	for (pasid = 1; pasid <= WATCHED; pasid++) {
		inval_attach(test, domain, dev, pasid);
		vtd_fake_watch(test, dev, pasid, IOVA);
		inval_map(test, domain);
		inval_expect_all(test, dev, true, 1, pasid);
		inval_unmap(test, domain);
		inval_expect_all(test, dev, false, 1, pasid);
	}
	for (pasid = 1; pasid <= WATCHED; pasid++) {
		inval_detach(domain, dev, pasid);
		inval_map(test, domain);
		inval_expect_all(test, dev, true, pasid + 1, WATCHED);
		inval_unmap(test, domain);
		inval_expect_all(test, dev, false, 1, WATCHED);
	}
	KUNIT_EXPECT_EQ(test, 0, nr_tags(domain));
}

/* Descriptors for one PASID, for a few, and for many */
static void count_descriptors(struct kunit *test)
{
	static const unsigned int numbers[] = { 1, 8, 9, 16, MANY };
	const struct domain_case *c = test->param_value;
	struct device *dev = new_device(test, c->tlb);
	struct dmar_domain *domain = inval_new_domain(test, dev, c->first_level);
	struct inval_test *ctx = test->priv;
	unsigned int i, tagged = 0, want, got;

	KUNIT_ASSERT_EQ(test, 0, domain_attach_iommu(domain, ctx->iommu));
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		while (tagged < numbers[i])
			KUNIT_ASSERT_EQ(test, 0,
					cache_tag_assign_domain(domain, dev, ++tagged));
		if (tagged == 1)
			want = c->tlb ? 2 : 1;
		else if (tagged <= 8)
			want = c->few;
		else
			want = c->many + (c->tlb == TLB ? tagged : 0);
		inval_map(test, domain);
		got = inval_unmap(test, domain);
		KUNIT_EXPECT_EQ_MSG(test, want, got, "%u PASIDs", tagged);
		KUNIT_EXPECT_EQ(test, DIV_ROUND_UP(want, 16), ctx->fake.submissions);
		kunit_info(test, "%4u PASIDs: %4u descriptors, %2u waits\n", tagged, got,
			   ctx->fake.submissions);
	}
	/*
	 * as many tags as descriptors: nothing else grows with the number of
	 * PASIDs
	 */
	KUNIT_EXPECT_EQ(test, want, nr_tags(domain));
	while (tagged)
		cache_tag_unassign_domain(domain, dev, tagged--);
	KUNIT_EXPECT_EQ(test, 0, nr_tags(domain));
	domain_detach_iommu(domain, ctx->iommu);
}

/* A tag for all PASIDs does not cover requests without PASID. */
static void requests_without_pasid(struct kunit *test)
{
	struct device *dev = new_device(test, GLOBAL_TLB);
	struct dmar_domain *domain = inval_new_domain(test, dev, true);
	u32 pasid;

	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->attach_dev(&domain->domain, dev));
	vtd_fake_watch(test, dev, IOMMU_NO_PASID, IOVA);
	for (pasid = 1; pasid <= WATCHED; pasid++)
		inval_attach(test, domain, dev, pasid);
	vtd_fake_watch(test, dev, WATCHED, IOVA);
	inval_map(test, domain);
	vtd_fake_expect(test, dev, IOMMU_NO_PASID, IOVA, PA);
	vtd_fake_expect(test, dev, WATCHED, IOVA, PA);
	/* of the RID: without PASID, and PASID 0 */
	KUNIT_EXPECT_EQ(test, 1 + 2 + 1, inval_unmap(test, domain));
	vtd_fake_expect_gone(test, dev, IOMMU_NO_PASID, IOVA);
	vtd_fake_expect_gone(test, dev, WATCHED, IOVA);

	for (pasid = 1; pasid <= WATCHED; pasid++)
		inval_detach(domain, dev, pasid);
	inval_map(test, domain);
	vtd_fake_expect(test, dev, IOMMU_NO_PASID, IOVA, PA);
	inval_unmap(test, domain);
	vtd_fake_expect_gone(test, dev, IOMMU_NO_PASID, IOVA);
	device_block_translation(dev);
	KUNIT_EXPECT_EQ(test, 0, nr_tags(domain));
}

/*
 * Two devices use the same PASIDs, of which one device has more than the other.
 */
static void two_devices(struct kunit *test)
{
	struct device *few = new_device(test, GLOBAL_TLB);
	struct device *many = new_device(test, GLOBAL_TLB);
	struct dmar_domain *domain = inval_new_domain(test, few, true);
	u32 pasid;

	for (pasid = 1; pasid <= WATCHED; pasid++) {
		inval_attach(test, domain, many, pasid);
		if (pasid <= 2)
			inval_attach(test, domain, few, pasid);
	}
	vtd_fake_watch(test, few, 2, IOVA);
	vtd_fake_watch(test, many, WATCHED, IOVA);
	inval_map(test, domain);
	KUNIT_EXPECT_EQ(test, 1 + 1 + 2, inval_unmap(test, domain));
	vtd_fake_expect_gone(test, few, 2, IOVA);
	vtd_fake_expect_gone(test, many, WATCHED, IOVA);

	for (pasid = 1; pasid <= WATCHED; pasid++)
		inval_detach(domain, many, pasid);
	inval_map(test, domain);
	vtd_fake_expect(test, few, 2, IOVA, PA);
	inval_unmap(test, domain);
	vtd_fake_expect_gone(test, few, 2, IOVA);
	inval_detach(domain, few, 1);
	inval_detach(domain, few, 2);
	KUNIT_EXPECT_EQ(test, 0, nr_tags(domain));
}

/* Guests' tables under many PASIDs: the host unmaps from their parent. */
static void nested_many_pasids(struct kunit *test)
{
	struct device *dev = new_device(test, GLOBAL_TLB);
	struct dmar_domain *parent, *domain;
	struct vtd_table table;
	u32 pasid;

	parent = vtd_fake_domain(test, dev, IOMMU_HWPT_ALLOC_NEST_PARENT);
	vtd_guest_map(test, parent, GUEST_DATA, HOST_DATA, SZ_4K);
	table = vtd_guest_table(test, parent, GVA, GUEST_DATA);
	domain = vtd_guest_nested(test, dev, parent, table.root);
	for (pasid = 1; pasid <= WATCHED; pasid++)
		inval_attach(test, domain, dev, pasid);
	vtd_fake_watch(test, dev, 1, GVA);
	vtd_fake_watch(test, dev, WATCHED, GVA);
	vtd_fake_expect(test, dev, WATCHED, GVA, HOST_DATA);
	KUNIT_ASSERT_EQ(test, SZ_4K, iommu_unmap(&parent->domain, GUEST_DATA, SZ_4K));
	vtd_fake_expect_gone(test, dev, 1, GVA);
	vtd_fake_expect_gone(test, dev, WATCHED, GVA);
	KUNIT_EXPECT_EQ(test, 2, nr_tags(parent));

	vtd_guest_map(test, parent, GUEST_DATA, HOST_DATA, SZ_4K);
	vtd_fake_expect(test, dev, WATCHED, GVA, HOST_DATA);
	vtd_fake_store(test, table.leaf, 0);
	KUNIT_EXPECT_EQ(test, 0, intel_gpasid_ops.invalidate(&domain->domain, GVA, 1, true));
	vtd_fake_expect_gone(test, dev, 1, GVA);
	vtd_fake_expect_gone(test, dev, WATCHED, GVA);
	KUNIT_EXPECT_EQ(test, 2, nr_tags(domain));

	for (pasid = 1; pasid <= WATCHED; pasid++)
		inval_detach(domain, dev, pasid);
	KUNIT_EXPECT_EQ(test, 0, nr_tags(parent));
}

/*
 * Unmaps from a nest parent with one gather cost one invalidation of the IOTLB
 * and one of the whole device TLB, wherever the ranges are.
 */
static void parent_gather(struct kunit *test)
{
	static const u64 at[] = { GUEST_DATA + SZ_4K, GUEST_DATA, GUEST_DATA + 3ULL * SZ_1G,
				  GUEST_DATA + SZ_2M };
	struct device *dev = new_device(test, TLB);
	struct inval_test *ctx = test->priv;
	struct iommu_iotlb_gather gather;
	struct dmar_domain *parent, *domain;
	struct vtd_table table[ARRAY_SIZE(at)];
	unsigned int i;

	parent = vtd_fake_domain(test, dev, IOMMU_HWPT_ALLOC_NEST_PARENT);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		vtd_guest_map(test, parent, at[i], HOST_DATA + i * SZ_4K, SZ_4K);
		table[i] = vtd_guest_table(test, parent, GVA, at[i]);
		domain = vtd_guest_nested(test, dev, parent, table[i].root);
		inval_attach(test, domain, dev, i + 1);
		vtd_fake_watch(test, dev, i + 1, GVA);
		vtd_fake_expect(test, dev, i + 1, GVA, HOST_DATA + i * SZ_4K);
	}

	iommu_iotlb_gather_init(&gather);
	ctx->fake.descs = 0;
	ctx->fake.submissions = 0;
	for (i = 0; i < ARRAY_SIZE(at); i++)
		KUNIT_ASSERT_EQ(test, SZ_4K,
				iommu_unmap_fast(&parent->domain, at[i], SZ_4K, &gather));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake.descs);
	iommu_iotlb_sync(&parent->domain, &gather);
	/* each nested domain has an ID and a PASID of its own */
	KUNIT_EXPECT_EQ(test, 2 * ARRAY_SIZE(at), ctx->fake.descs);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake.submissions);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		vtd_fake_expect_gone(test, dev, i + 1, GVA);
}

/* The second-level Accessed/Dirty enable of an entry (section 9.6) */
static bool inval_tracks_dirty(struct device *dev, u32 pasid)
{
	struct pasid_dir_entry *dir = intel_pasid_get_table(dev)->table;

	return get_pasid_table_from_pde(dir)[pasid].val[0] & BIT_ULL(9);
}

static void switch_dirty_tracking(struct kunit *test, struct dmar_domain *domain,
				  struct device *dev, bool enable, u32 last)
{
	const struct iommu_dirty_ops *ops = domain->domain.dirty_ops;
	u32 pasid;

	KUNIT_ASSERT_EQ(test, 0, ops->set_dirty_tracking(&domain->domain, enable));
	for (pasid = 1; pasid <= last; pasid++)
		KUNIT_EXPECT_EQ_MSG(test, enable, inval_tracks_dirty(dev, pasid), "PASID %u",
				    pasid);
}

/*
 * Dirty tracking is switched for one PASID after the other: those of the
 * domain, and those of domains nested on it, also if some are attached or
 * detached meanwhile.
 */
static void dirty_tracking(struct kunit *test)
{
	struct device *dev = new_device(test, NO_TLB);
	struct dmar_domain *parent, *nested[2];
	struct vtd_table table;
	u32 pasid, last = 6;

	parent = vtd_fake_domain(test, dev, IOMMU_HWPT_ALLOC_NEST_PARENT |
				 IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	vtd_guest_map(test, parent, GUEST_DATA, HOST_DATA, SZ_4K);
	table = vtd_guest_table(test, parent, GVA, GUEST_DATA);
	nested[0] = vtd_guest_nested(test, dev, parent, table.root);
	for (pasid = 1; pasid <= last; pasid++)
		inval_attach(test, pasid % 2 ? parent : nested[0], dev, pasid);
	switch_dirty_tracking(test, parent, dev, true, last);

	/*
	 * PASIDs that are attached now are tracked, and are switched back at
	 * the end.
	 */
	nested[1] = vtd_guest_nested(test, dev, parent, table.root);
	for (; pasid <= WATCHED; pasid++)
		inval_attach(test, pasid % 2 ? parent : nested[pasid / 2 % 2], dev, pasid);
	switch_dirty_tracking(test, parent, dev, true, WATCHED);
	for (pasid = 1; pasid <= 2; pasid++) {
		inval_detach(pasid % 2 ? parent : nested[0], dev, pasid);
		inval_attach(test, pasid % 2 ? parent : nested[0], dev, pasid);
	}
	switch_dirty_tracking(test, parent, dev, false, WATCHED);
	switch_dirty_tracking(test, parent, dev, true, WATCHED);
	switch_dirty_tracking(test, parent, dev, false, WATCHED);

	for (pasid = 1; pasid <= WATCHED; pasid++)
		inval_detach(pasid % 2 ? parent : nested[pasid <= last ? 0 : pasid / 2 % 2], dev,
			     pasid);
	KUNIT_EXPECT_TRUE(test, list_empty(&parent->dev_pasids));
	KUNIT_EXPECT_EQ(test, 0, nr_tags(parent));
}

/*
 * Two devices share a domain ID, and with it IOTLB entries. Until the entry of
 * the second device is switched, the first one may fill its TLB with
 * translations that the second one has made: its TLB is invalidated after that.
 */
static void dirty_tracking_of_two_devices(struct kunit *test)
{
	struct device *devs[] = { new_device(test, TLB), new_device(test, TLB) };
	struct inval_test *ctx = test->priv;
	struct iommu_domain *domain;
	struct dmar_domain *parent;
	unsigned int before, i;

	parent = vtd_fake_domain(test, devs[0], IOMMU_HWPT_ALLOC_NEST_PARENT |
				 IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	domain = &parent->domain;
	inval_attach(test, parent, devs[0], 1);
	inval_attach(test, parent, devs[1], 1);
	before = ctx->fake.tlb_descs;
	KUNIT_ASSERT_EQ(test, 0, domain->dirty_ops->set_dirty_tracking(domain, true));
	/* each TLB with its entry, and again at the end */
	KUNIT_EXPECT_EQ(test, 2 + 2, ctx->fake.tlb_descs - before);

	before = ctx->fake.tlb_descs;
	KUNIT_ASSERT_EQ(test, 0, domain->dirty_ops->set_dirty_tracking(domain, false));
	KUNIT_EXPECT_EQ(test, 2, ctx->fake.tlb_descs - before);
	for (i = 0; i < ARRAY_SIZE(devs); i++)
		inval_detach(parent, devs[i], 1);
}

static int inval_init(struct kunit *test)
{
	struct inval_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	int ret;

	ret = vtd_fake_init(test, ctx ? &ctx->fake : NULL);
	if (ret)
		return ret;
	ctx->iommu = vtd_fake_iommu(test, CAP_NESTING, ECAP_NESTING);

	return 0;
}

static struct kunit_case inval_cases[] = {
	KUNIT_CASE_PARAM(attach_detach_pasids, domain_gen_params),
	KUNIT_CASE_PARAM(count_descriptors, domain_gen_params),
	KUNIT_CASE(requests_without_pasid),
	KUNIT_CASE(two_devices),
	KUNIT_CASE(nested_many_pasids),
	KUNIT_CASE(parent_gather),
	KUNIT_CASE(dirty_tracking),
	KUNIT_CASE(dirty_tracking_of_two_devices),
	{}
};

static struct kunit_suite inval_suite = {
	.name = "intel-iommu-invalidation",
	.init = inval_init,
	.test_cases = inval_cases,
};

kunit_test_suite(inval_suite);
