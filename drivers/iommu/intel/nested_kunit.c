// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of nested domains on RIDs and PASIDs, and of guest PASIDs: the
 * effect of the core's calls, as seen by the VT-d model.
 *
 * The guest is a first-level table that maps one page (vtd_guest_table()).
 */

#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/cpumask.h>
#include <linux/iommu-gpasid.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pci.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <uapi/linux/iommufd.h>

#include "../kunit_memory.h"
#include "paging_domain.h"
#include "iommu.h"
#include "pasid.h"
#include "pasid_entry.h"
#include "vtd_fake.h"

#define PASID		5
#define PASIDS		64

struct nested_test {
	struct vtd_fake fake;
	struct device *dev;
	struct dmar_domain *parent;
	struct vtd_table table;		/* the guest's */
	struct vtd_fake_call call;
	bool early;			/* tracking was on before an attach ended */
};

static struct dmar_domain *nested_new(struct kunit *test)
{
	struct nested_test *ctx = test->priv;

	return vtd_guest_nested(test, ctx->dev, ctx->parent, ctx->table.root);
}

/*
 * Another table maps GVA to the page after GUEST_DATA, which is at HOST_DATA +
 * 2 MiB.
 */
static struct vtd_table other_table(struct kunit *test)
{
	struct nested_test *ctx = test->priv;

	vtd_guest_map(test, ctx->parent, GUEST_DATA + SZ_4K, HOST_DATA + SZ_2M, SZ_4K);

	return vtd_guest_table(test, ctx->parent, GVA, GUEST_DATA + SZ_4K);
}

static struct dmar_domain *other_nested(struct kunit *test)
{
	struct nested_test *ctx = test->priv;

	return vtd_guest_nested(test, ctx->dev, ctx->parent, other_table(test).root);
}

static void nested_attach(struct kunit *test, struct dmar_domain *domain)
{
	struct nested_test *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->attach_dev(&domain->domain, ctx->dev));
}

static void block(void *dev)
{
	device_block_translation(dev);
}

static int nested_set_pasid(struct kunit *test, struct dmar_domain *domain, u32 pasid,
			    struct dmar_domain *old)
{
	struct nested_test *ctx = test->priv;

	return domain->domain.ops->set_dev_pasid(&domain->domain, ctx->dev, pasid,
						 old ? &old->domain : NULL);
}

static void nested_remove_pasid(struct kunit *test, struct dmar_domain *domain, u32 pasid)
{
	struct nested_test *ctx = test->priv;

	intel_iommu_ops.remove_dev_pasid(ctx->dev, pasid, &domain->domain);
}

static void nested_expect(struct kunit *test, u32 pasid, u64 addr, u64 hpa)
{
	struct nested_test *ctx = test->priv;

	vtd_fake_expect(test, ctx->dev, pasid, addr, hpa);
}

static void nested_expect_gone(struct kunit *test, u32 pasid, u64 addr)
{
	struct nested_test *ctx = test->priv;

	vtd_fake_expect_gone(test, ctx->dev, pasid, addr);
}

static int invalidate(struct dmar_domain *domain, u64 addr, u64 npages)
{
	return intel_gpasid_ops.invalidate(&domain->domain, addr, npages, true);
}

/* Unmap the guest's memory at GUEST_DATA, and map other memory there. */
static void move_guest_data(struct kunit *test, u64 pa)
{
	struct nested_test *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, SZ_4K,
			iommu_unmap(&ctx->parent->domain, GUEST_DATA, SZ_4K));
	vtd_guest_map(test, ctx->parent, GUEST_DATA, pa, SZ_4K);
}

/* Nested on the RID */

static void nested_on_rid(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct dmar_domain *domain = nested_new(test);

	/* It is a kernel driver's, and takes no user's domain IDs. */
	KUNIT_EXPECT_FALSE(test, uid_valid(domain->uid));
	nested_attach(test, ctx->parent);
	nested_expect(test, IOMMU_NO_PASID, GUEST_DATA, HOST_DATA);
	nested_expect_gone(test, IOMMU_NO_PASID, GVA);

	nested_attach(test, domain);
	nested_expect(test, IOMMU_NO_PASID, GVA, HOST_DATA);
	nested_expect_gone(test, IOMMU_NO_PASID, GUEST_DATA);

	/* The host changes the second level, the guest its own. */
	move_guest_data(test, HOST_DATA + SZ_1M);
	nested_expect(test, IOMMU_NO_PASID, GVA, HOST_DATA + SZ_1M);
	vtd_guest_map(test, ctx->parent, GUEST_DATA + SZ_4K, HOST_DATA, SZ_4K);
	*ctx->table.leaf += SZ_4K;
	KUNIT_EXPECT_EQ(test, 0, invalidate(domain, GVA, 1));
	nested_expect(test, IOMMU_NO_PASID, GVA, HOST_DATA);

	nested_attach(test, ctx->parent);
	nested_expect_gone(test, IOMMU_NO_PASID, GVA);
}

/* npages = U64_MAX is everything, paging structures included. */
static void invalidate_all(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct dmar_domain *domain = nested_new(test);

	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, domain, PASID, NULL));
	nested_expect(test, PASID, GVA, HOST_DATA);

	/* The entry that refers to a table is cleared, not that of a page. */
	ctx->table.page[3][GVA >> 30 & 511] = 0;
	KUNIT_EXPECT_EQ(test, 0, invalidate(domain, 0, U64_MAX));
	nested_expect_gone(test, PASID, GVA);
	nested_remove_pasid(test, domain, PASID);
}

static void invalidate_refuses(struct kunit *test)
{
	static const struct { u64 addr, npages; } bad[] = {
		{ SZ_4K, U64_MAX },		/* everything has no address */
		{ 1, 1 },			/* misaligned */
		{ 0, 0 },			/* nothing */
		{ 0, U64_MAX - 1 },		/* more than there is */
		{ 0, (1ULL << 52) + 1 },
		{ SZ_4K, 1ULL << 52 },		/* beyond the last address */
	};
	struct dmar_domain *domain = nested_new(test);
	struct nested_test *ctx = test->priv;
	unsigned int i, descs;

	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, domain, PASID, NULL));
	descs = ctx->fake.descs;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    invalidate(domain, bad[i].addr, bad[i].npages),
				    "%llx %llx", bad[i].addr, bad[i].npages);
	KUNIT_EXPECT_EQ(test, descs, ctx->fake.descs);
	nested_remove_pasid(test, domain, PASID);
}

#define REQUESTS	40

/*
 * Invalidate pages from GVA on, as a VMM does: an array in user space, at the
 * end of a page
 */
static struct iommu_user_data_array user_requests(struct kunit *test)
{
	size_t size = REQUESTS * sizeof(struct iommu_hwpt_vtd_s1_invalidate);
	struct iommu_hwpt_vtd_s1_invalidate request = {
		.npages = 1, .flags = IOMMU_VTD_INV_FLAGS_LEAF,
	};
	unsigned long page, start;
	unsigned int i;

	page = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, page);
	KUNIT_ASSERT_LE(test, page, TASK_SIZE);
	start = page + PAGE_SIZE - size;
	for (i = 0; i < REQUESTS; i++) {
		request.addr = GVA + i * SZ_4K;
		KUNIT_ASSERT_EQ(test, 0, copy_to_user((void __user *)start +
						      i * sizeof(request), &request,
						      sizeof(request)));
	}

	return (struct iommu_user_data_array) {
		.type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.uptr = (void __user *)start,
		.entry_len = sizeof(request),
		.entry_num = REQUESTS,
	};
}

/* The number of handled requests, descriptors and submissions */
static void expect_handled(struct kunit *test, struct dmar_domain *domain,
			   struct iommu_user_data_array array, int ret,
			   unsigned int handled, unsigned int submissions)
{
	struct nested_test *ctx = test->priv;

	ctx->fake.descs = 0;
	ctx->fake.submissions = 0;
	KUNIT_EXPECT_EQ(test, ret,
			domain->domain.ops->cache_invalidate_user(&domain->domain,
								  &array));
	KUNIT_EXPECT_EQ(test, handled, array.entry_num);
	KUNIT_EXPECT_EQ(test, handled, ctx->fake.descs);
	KUNIT_EXPECT_EQ(test, submissions, ctx->fake.submissions);
}

/*
 * An array is submitted together. If one request is invalid, those before it
 * are handled.
 */
static void invalidate_array(struct kunit *test)
{
	struct iommu_user_data_array array = user_requests(test);
	struct iommu_hwpt_vtd_s1_invalidate bad = { .addr = GVA };
	struct dmar_domain *domain = nested_new(test);
	struct nested_test *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, domain, PASID, NULL));
	nested_expect(test, PASID, GVA, HOST_DATA);
	vtd_guest_map(test, ctx->parent, GUEST_DATA + SZ_4K, HOST_DATA + SZ_2M, SZ_4K);
	*ctx->table.leaf += SZ_4K;
	expect_handled(test, domain, array, 0, REQUESTS, DIV_ROUND_UP(REQUESTS, 16));
	nested_expect(test, PASID, GVA, HOST_DATA + SZ_2M);

	array.entry_num = 1;
	expect_handled(test, domain, array, 0, 1, 1);
	array.entry_num = 0;
	expect_handled(test, domain, array, 0, 0, 0);
	array.entry_num = 16;
	expect_handled(test, domain, array, 0, 16, 1);

	/* The last three are beyond the page. */
	array.entry_num = REQUESTS;
	array.uptr += 3 * sizeof(bad);
	expect_handled(test, domain, array, -EFAULT, REQUESTS - 3, 3);
	array.uptr -= 3 * sizeof(bad);

	KUNIT_ASSERT_EQ(test, 0, copy_to_user(array.uptr + 20 * sizeof(bad), &bad,
					      sizeof(bad)));
	expect_handled(test, domain, array, -EINVAL, 20, 2);
	bad.npages = 1;
	bad.flags = ~IOMMU_VTD_INV_FLAGS_LEAF;
	KUNIT_ASSERT_EQ(test, 0, copy_to_user(array.uptr + 5 * sizeof(bad), &bad,
					      sizeof(bad)));
	expect_handled(test, domain, array, -EOPNOTSUPP, 5, 1);
	array.type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 + 1;
	expect_handled(test, domain, array, -EINVAL, 0, 0);
	nested_remove_pasid(test, domain, PASID);
}

/* User data must not reach other fields of the entry. */
static void nested_data_refused(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct iommu_gpasid_bind_data data = vtd_guest_bind_data(ctx->table.root);
	struct iommu_domain *domain;
	u64 bits;

	for (bits = 1; bits < SZ_4K; bits <<= 1) {
		data.root = ctx->table.root | bits;
		domain = intel_gpasid_ops.domain_alloc(ctx->dev, &ctx->parent->domain,
						       &data);
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL, PTR_ERR_OR_ZERO(domain), "%llx", bits);
	}

	data.root = 1ULL << 48;
	domain = intel_gpasid_ops.domain_alloc(ctx->dev, &ctx->parent->domain, &data);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR_OR_ZERO(domain));
}

/* Nor may a user set flags that the kernel does not know, or what must be 0. */
static void nested_user_data_refused(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct {
		struct iommu_hwpt_vtd_s1 data;
		int ret;
	} bad[] = {
		{ { .pgtbl_addr = ctx->table.root, .addr_width = 48,
		    .flags = IOMMU_VTD_S1_WPE << 1 }, -EOPNOTSUPP },
		{ { .pgtbl_addr = ctx->table.root, .addr_width = 48,
		    .flags = BIT_ULL(63) }, -EOPNOTSUPP },
		{ { .pgtbl_addr = ctx->table.root, .addr_width = 48,
		    .__reserved = 1 }, -EOPNOTSUPP },
		{ { .pgtbl_addr = ctx->table.root | 1, .addr_width = 48 }, -EINVAL },
		{ { .pgtbl_addr = ctx->table.root, .addr_width = 48 }, 0 },
	};
	struct iommu_user_data user = {
		.type = IOMMU_HWPT_DATA_VTD_S1, .len = sizeof(bad[0].data),
	};
	struct iommu_domain *domain;
	unsigned long page;
	unsigned int i;

	page = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, page);
	user.uptr = (void __user *)page;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		KUNIT_ASSERT_EQ(test, 0, copy_to_user(user.uptr, &bad[i].data,
						      sizeof(bad[i].data)));
		domain = intel_nested_domain_alloc(&ctx->parent->domain, &user);
		KUNIT_EXPECT_EQ_MSG(test, bad[i].ret, PTR_ERR_OR_ZERO(domain), "%u", i);
		if (!IS_ERR(domain))
			vtd_fake_keep(test, domain);
	}
}

/* Unsupported features are refused when attaching, and nothing changes. */
static void missing_capabilities(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct iommu_gpasid_bind_data data = vtd_guest_bind_data(ctx->table.root);
	struct iommu_domain *parent = &ctx->parent->domain;
	struct dmar_domain *good = nested_new(test), *bad;
	static const u32 lacking[] = {
		IOMMU_GPASID_SRE, IOMMU_GPASID_EAFE, IOMMU_GPASID_SRE | IOMMU_GPASID_WPE,
	};
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, good, PASID, NULL));

	for (i = 0; i < ARRAY_SIZE(lacking); i++) {
		data.flags = lacking[i];
		bad = vtd_fake_keep(test, intel_gpasid_ops.domain_alloc(ctx->dev, parent,
									&data));
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL, nested_set_pasid(test, bad, PASID, good), "%u",
				    lacking[i]);
		KUNIT_EXPECT_FALSE(test, vtd_fake_has_id(bad));
	}
	data.flags = 0;
	data.addr_width = 57;
	bad = vtd_fake_keep(test, intel_gpasid_ops.domain_alloc(ctx->dev, parent, &data));
	KUNIT_EXPECT_EQ(test, -EINVAL, nested_set_pasid(test, bad, PASID, good));
	KUNIT_EXPECT_EQ(test, -EINVAL, nested_set_pasid(test, bad, PASID + 1, NULL));
	KUNIT_EXPECT_FALSE(test, vtd_fake_has_id(bad));

	nested_expect(test, PASID, GVA, HOST_DATA);
	nested_expect_gone(test, PASID + 1, GVA);
	nested_remove_pasid(test, good, PASID);
	nested_expect_gone(test, PASID, GVA);
}

/* WPE without SRE is ignored, whether the IOMMU has SRS or not. */
static void wpe_without_sre(struct kunit *test)
{
	static const u64 ecaps[] = { ECAP_NESTING, ECAP_NESTING | ECAP_SRS };
	struct nested_test *ctx = test->priv;
	struct iommu_gpasid_bind_data data = vtd_guest_bind_data(ctx->table.root);
	struct iommu_domain *parent = &ctx->parent->domain;
	struct dmar_domain *domain;
	const u64 sre_wpe = BIT_ULL(0) | BIT_ULL(4);	/* bits 128 and 132 */
	struct pasid_entry *entry;
	unsigned int i;

	data.flags = IOMMU_GPASID_WPE;
	for (i = 0; i < ARRAY_SIZE(ecaps); i++) {
		ctx->dev = vtd_fake_device(test, vtd_fake_iommu(test, CAP_NESTING,
								ecaps[i]), false);
		domain = vtd_fake_keep(test, intel_gpasid_ops.domain_alloc(ctx->dev, parent,
									   &data));
		KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, domain, PASID, NULL));
		entry = intel_pasid_get_entry(ctx->dev, PASID);
		KUNIT_EXPECT_EQ(test, 0, entry->val[2] & sre_wpe);
		nested_expect(test, PASID, GVA, HOST_DATA);
		nested_remove_pasid(test, domain, PASID);
	}
}

/* An IOMMU that has too few levels for the parent */
static void parent_has_too_many_levels(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	u64 cap = (CAP_NESTING & ~CAP_SAGAW_4) | CAP_SAGAW_3;
	struct dmar_domain *domain = nested_new(test);

	/* the two levels would have no width in common */
	ctx->dev = vtd_fake_device(test, vtd_fake_iommu(test, cap,
							ECAP_NESTING & ~ECAP_FSTS), false);
	KUNIT_EXPECT_EQ(test, -EINVAL, nested_set_pasid(test, domain, PASID, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, domain->domain.ops->attach_dev(&domain->domain,
								      ctx->dev));
	KUNIT_EXPECT_TRUE(test, xa_empty(&domain->iommu_array));
	nested_expect_gone(test, PASID, GVA);
}

/* Nested on PASIDs */

/*
 * A nested domain, replaced by another, by the parent, by pass-through, and
 * back
 */
static void replace_on_pasid(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct iommu_domain *identity = intel_iommu_ops.identity_domain;
	struct dmar_domain *first = nested_new(test), *second;

	second = other_nested(test);

	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, first, PASID, NULL));
	nested_expect(test, PASID, GVA, HOST_DATA);
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, second, PASID, first));
	nested_expect(test, PASID, GVA, HOST_DATA + SZ_2M);
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, ctx->parent, PASID, second));
	nested_expect(test, PASID, GUEST_DATA, HOST_DATA);
	nested_expect_gone(test, PASID, GVA);

	KUNIT_ASSERT_EQ(test, 0, identity->ops->set_dev_pasid(identity, ctx->dev, PASID,
							      &ctx->parent->domain));
	nested_expect(test, PASID, GUEST_DATA, GUEST_DATA);
	KUNIT_ASSERT_EQ(test, 0, first->domain.ops->set_dev_pasid(&first->domain, ctx->dev,
								  PASID, identity));
	nested_expect(test, PASID, GVA, HOST_DATA);

	/* The replaced domains leave nothing behind. */
	KUNIT_EXPECT_TRUE(test, list_empty(&second->dev_pasids));
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->parent->dev_pasids));
	KUNIT_EXPECT_TRUE(test, list_empty(&second->cache_tags));
	KUNIT_EXPECT_FALSE(test, vtd_fake_has_id(second));

	nested_remove_pasid(test, first, PASID);
	nested_expect_gone(test, PASID, GVA);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->parent->cache_tags));
}

/*
 * The host unmaps from the second level: every PASID and the RID are
 * invalidated.
 */
static void parent_unmaps(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct dmar_domain *domain = nested_new(test);

	nested_attach(test, ctx->parent);
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, domain, PASID, NULL));
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, ctx->parent, PASID + 1, NULL));
	nested_expect(test, PASID, GVA, HOST_DATA);
	nested_expect(test, PASID + 1, GUEST_DATA, HOST_DATA);
	nested_expect(test, IOMMU_NO_PASID, GUEST_DATA, HOST_DATA);

	KUNIT_ASSERT_EQ(test, SZ_4K,
			iommu_unmap(&ctx->parent->domain, GUEST_DATA, SZ_4K));
	nested_expect_gone(test, PASID, GVA);
	nested_expect_gone(test, PASID + 1, GUEST_DATA);
	nested_expect_gone(test, IOMMU_NO_PASID, GUEST_DATA);

	nested_remove_pasid(test, domain, PASID);
	nested_remove_pasid(test, ctx->parent, PASID + 1);
}

/* The second-level Accessed/Dirty enable of an entry (section 9.6) */
static bool nested_tracks_dirty(struct kunit *test, u32 pasid)
{
	struct nested_test *ctx = test->priv;
	struct pasid_dir_entry *dir = intel_pasid_get_table(ctx->dev)->table;

	return get_pasid_table_from_pde(dir)[pasid].val[0] & BIT_ULL(9);
}

/*
 * Enabled and disabled for all attachments of the domain, also for later ones.
 */
static void dirty_tracking_on_pasids(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct dmar_domain *domain = nested_new(test);
	struct iommu_domain *parent = &ctx->parent->domain;
	u32 pasid;

	nested_attach(test, ctx->parent);
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, domain, PASID, NULL));
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, ctx->parent, PASID + 1, NULL));

	KUNIT_ASSERT_EQ(test, 0, parent->dirty_ops->set_dirty_tracking(parent, true));
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, domain, PASID + 2, NULL));
	KUNIT_EXPECT_TRUE(test, nested_tracks_dirty(test, IOMMU_NO_PASID));
	for (pasid = PASID; pasid < PASID + 3; pasid++)
		KUNIT_EXPECT_TRUE_MSG(test, nested_tracks_dirty(test, pasid), "PASID %u", pasid);
	nested_expect(test, PASID, GVA, HOST_DATA);

	KUNIT_ASSERT_EQ(test, 0, parent->dirty_ops->set_dirty_tracking(parent, false));
	KUNIT_EXPECT_FALSE(test, nested_tracks_dirty(test, IOMMU_NO_PASID));
	for (pasid = PASID; pasid < PASID + 3; pasid++)
		KUNIT_EXPECT_FALSE_MSG(test, nested_tracks_dirty(test, pasid), "PASID %u", pasid);

	nested_remove_pasid(test, domain, PASID);
	nested_remove_pasid(test, ctx->parent, PASID + 1);
	nested_remove_pasid(test, domain, PASID + 2);
}

static void track_dirty(void *data)
{
	struct iommu_domain *parent = data;

	parent->dirty_ops->set_dirty_tracking(parent, true);
}

static void track_dirty_hook(struct kunit *test)
{
	struct nested_test *ctx = test->priv;

	ctx->early = vtd_fake_call(&ctx->call, track_dirty, &ctx->parent->domain);
}

/*
 * Tracking begins on another CPU while a PASID is being attached. It is not on
 * until the entry has it, too.
 */
static void dirty_tracking_during_attach(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct dmar_domain *domain = nested_new(test);

	if (num_online_cpus() < 2)
		kunit_skip(test, "one CPU");
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, domain, PASID, NULL));
	ctx->fake.meanwhile = track_dirty_hook;
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, ctx->parent, PASID, domain));
	KUNIT_ASSERT_NULL(test, ctx->fake.meanwhile);
	flush_work(&ctx->call.work);

	KUNIT_EXPECT_FALSE(test, ctx->early);
	KUNIT_EXPECT_TRUE(test, ctx->parent->dirty_tracking);
	KUNIT_EXPECT_TRUE(test, nested_tracks_dirty(test, PASID));
	nested_expect(test, PASID, GUEST_DATA, HOST_DATA);
	nested_remove_pasid(test, ctx->parent, PASID);
}

/*
 * Two devices share a domain. If one of them cannot be attached (its entry is
 * in use, which should not happen), the other's invalidations do not change.
 */
static void failed_attach_keeps_tags(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct intel_iommu *iommu = vtd_fake_iommu_of(ctx->dev);
	struct device *other = vtd_fake_device(test, iommu, false);
	struct pasid_desc desc;

	pasid_describe_pass_through(&desc, iommu);
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_set_entry(other, IOMMU_NO_PASID, &desc));

	nested_attach(test, ctx->parent);
	nested_expect(test, IOMMU_NO_PASID, GUEST_DATA, HOST_DATA);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			ctx->parent->domain.ops->attach_dev(&ctx->parent->domain, other));

	KUNIT_ASSERT_EQ(test, SZ_4K,
			iommu_unmap(&ctx->parent->domain, GUEST_DATA, SZ_4K));
	nested_expect_gone(test, IOMMU_NO_PASID, GUEST_DATA);
	intel_pasid_tear_down_entry(iommu, other, IOMMU_NO_PASID, false);
}

/* A device that is enabled, with a link that does not answer */
static struct pci_dev *fake_pci_dev(struct kunit *test)
{
	struct pci_bus *bus = kunit_kzalloc(test, sizeof(*bus), GFP_KERNEL);
	struct pci_dev *pdev = kunit_kzalloc(test, sizeof(*pdev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bus);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	bus->sysdata = kunit_kzalloc(test, sizeof(struct pci_sysdata), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, bus->sysdata);
	pdev->bus = bus;
	pdev->error_state = pci_channel_io_perm_failure;
	pdev->ats_enabled = 1;
	device_initialize(&pdev->dev);
	pdev->dev.bus = &pci_bus_type;

	return pdev;
}

/* ATS and device-TLB tags stay when the RID changes to a nested domain. */
static void ats_stays_enabled(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	struct pci_dev *pdev = fake_pci_dev(test);
	struct dmar_domain *domain = nested_new(test);
	struct cache_tag *tag;
	bool tagged = false;

	pdev->dev.iommu = ctx->dev->iommu;
	info->dev = &pdev->dev;
	info->ats_supported = 1;
	info->ats_enabled = 1;

	KUNIT_ASSERT_EQ(test, 0, ctx->parent->domain.ops->attach_dev(&ctx->parent->domain,
								     &pdev->dev));
	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->attach_dev(&domain->domain,
								&pdev->dev));
	KUNIT_EXPECT_TRUE(test, info->ats_enabled);
	list_for_each_entry(tag, &domain->cache_tags, node)
		tagged |= tag->type == CACHE_TAG_DEVTLB;
	KUNIT_EXPECT_TRUE(test, tagged);

	device_block_translation(&pdev->dev);
	KUNIT_EXPECT_TRUE(test, info->ats_enabled);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->parent->cache_tags));
	info->ats_enabled = 0;
	info->dev = ctx->dev;
}

/* Dirty tracking that finds nothing dirty flushes nothing. */
static void empty_gather(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct iommu_iotlb_gather gather;
	unsigned int descs;

	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, ctx->parent, PASID, NULL));
	descs = ctx->fake.descs;
	iommu_iotlb_gather_init(&gather);
	iommu_iotlb_sync(&ctx->parent->domain, &gather);
	KUNIT_EXPECT_EQ(test, descs, ctx->fake.descs);
	nested_remove_pasid(test, ctx->parent, PASID);
}

/* Guest PASIDs: the driver's part; the core's is in iommu_pasid_kunit.c */

/* The second level of a RID, whether it or a nested domain is attached */
static void gpasid_parent(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct iommu_domain *parent = &ctx->parent->domain;
	struct dmar_domain *plain = vtd_fake_domain(test, ctx->dev, 0);
	struct dmar_domain *first;

	first = vtd_fake_keep(test, intel_paging_domain_alloc(ctx->dev, true, 0));
	KUNIT_EXPECT_PTR_EQ(test, parent, intel_gpasid_ops.parent(parent));
	KUNIT_EXPECT_PTR_EQ(test, parent,
			    intel_gpasid_ops.parent(&nested_new(test)->domain));
	KUNIT_EXPECT_NULL(test, intel_gpasid_ops.parent(&plain->domain));
	KUNIT_EXPECT_NULL(test, intel_gpasid_ops.parent(&first->domain));
	KUNIT_EXPECT_NULL(test, intel_gpasid_ops.parent(intel_iommu_ops.identity_domain));
	KUNIT_EXPECT_NULL(test, intel_gpasid_ops.parent(intel_iommu_ops.blocked_domain));
	KUNIT_EXPECT_NULL(test, intel_gpasid_ops.parent(NULL));
}

static void bind_and_unbind(struct kunit *test, u32 pasid)
{
	struct nested_test *ctx = test->priv;
	struct iommu_gpasid_bind_data data = vtd_guest_bind_data(ctx->table.root);
	struct iommu_domain *domain;

	domain = intel_gpasid_ops.domain_alloc(ctx->dev, &ctx->parent->domain, &data);
	KUNIT_ASSERT_FALSE(test, IS_ERR(domain));
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, to_dmar_domain(domain), pasid, NULL));
	nested_remove_pasid(test, to_dmar_domain(domain), pasid);
	iommu_domain_free(domain);
}

#define STRESS_BATCH	0x4000

/*
 * 2^16 bindings, on all PASIDs one after the other, leak nothing. As others
 * allocate and free at the same time, only memory that every batch leaves is a
 * leak.
 */
static void gpasid_stress(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	long before, least = LONG_MAX;
	unsigned int i, batch;

	/* The first batch also fills the allocators' caches. */
	for (batch = 0; batch < 0x10000 / STRESS_BATCH; batch++) {
		before = kunit_iommu_memory();
		for (i = 0; i < STRESS_BATCH; i++) {
			bind_and_unbind(test, 1 + i % (PASIDS - 1));
			cond_resched();
		}
		least = min(least, kunit_iommu_memory() - before);
	}

	/* less than a word per binding */
	KUNIT_EXPECT_LT(test, least, STRESS_BATCH * (long)sizeof(long));
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->parent->s1_domains));
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->parent->cache_tags));
}

static void print_cost(struct kunit *test, const char *what)
{
	struct nested_test *ctx = test->priv;

	kunit_info(test, "%-28s %u descriptors, %u stores\n", what, ctx->fake.descs,
		   ctx->fake.stores);
	ctx->fake.descs = 0;
	ctx->fake.stores = 0;
}

/* Costs for the documentation, with and without a device TLB */
static void nested_cost(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct dmar_domain *first = nested_new(test), *second;
	struct dmar_domain *plain = vtd_fake_domain(test, ctx->dev, 0);

	second = other_nested(test);
	print_cost(test, "(before)");
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, first, PASID, NULL));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake.descs);
	print_cost(test, "bind guest PASID");
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, second, PASID, first));
	print_cost(test, "replace guest PASID");
	nested_remove_pasid(test, second, PASID);
	print_cost(test, "unbind guest PASID");
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, ctx->parent, PASID, NULL));
	print_cost(test, "attach second level");
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, plain, PASID, ctx->parent));
	KUNIT_EXPECT_EQ(test, 1, ctx->fake.stores);
	print_cost(test, "replace second level");
	nested_remove_pasid(test, plain, PASID);
	print_cost(test, "detach second level");
}

static void gpasid_cost(struct kunit *test)
{
	nested_cost(test);
}

static void gpasid_cost_with_device_tlb(struct kunit *test)
{
	struct nested_test *ctx = test->priv;

	ctx->dev = vtd_fake_device(test, vtd_fake_iommu_of(ctx->dev), true);
	nested_cost(test);
}

/* Two IOMMUs */

/* IOMMUs with different features; invalidations reach both. */
static void two_iommus(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct iommu_domain *parent = &ctx->parent->domain;
	struct dmar_domain *domain = nested_new(test);
	struct device *equal, *lacking;

	equal = vtd_fake_device(test, vtd_fake_iommu(test, CAP_NESTING, ECAP_NESTING),
				false);
	lacking = vtd_fake_device(test, vtd_fake_iommu(test, CAP_NESTING,
						       ECAP_NESTING & ~ECAP_NEST), false);

	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, domain, PASID, NULL));
	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->set_dev_pasid(&domain->domain, equal,
								   PASID + 1, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			domain->domain.ops->set_dev_pasid(&domain->domain, lacking, PASID,
							  NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, domain->domain.ops->attach_dev(&domain->domain,
								      lacking));
	vtd_fake_expect_gone(test, lacking, PASID, GVA);
	KUNIT_ASSERT_EQ(test, 0, parent->ops->set_dev_pasid(parent, lacking, PASID, NULL));

	nested_expect(test, PASID, GVA, HOST_DATA);
	vtd_fake_expect(test, equal, PASID + 1, GVA, HOST_DATA);
	vtd_fake_expect(test, lacking, PASID, GUEST_DATA, HOST_DATA);
	move_guest_data(test, HOST_DATA + SZ_2M);
	nested_expect(test, PASID, GVA, HOST_DATA + SZ_2M);
	vtd_fake_expect(test, equal, PASID + 1, GVA, HOST_DATA + SZ_2M);
	vtd_fake_expect(test, lacking, PASID, GUEST_DATA, HOST_DATA + SZ_2M);

	*ctx->table.leaf = 0;
	KUNIT_EXPECT_EQ(test, 0, invalidate(domain, GVA, 1));
	nested_expect_gone(test, PASID, GVA);
	vtd_fake_expect_gone(test, equal, PASID + 1, GVA);

	nested_remove_pasid(test, domain, PASID);
	intel_iommu_ops.remove_dev_pasid(equal, PASID + 1, &domain->domain);
	intel_iommu_ops.remove_dev_pasid(lacking, PASID, parent);
}

/* Without memory */

/*
 * Each allocation of attaching, replacing and allocating a domain fails once.
 * At boot these are the ones that cannot sleep; the guest's suite fail-nth runs
 * this again with all of them.
 */
static void nested_without_memory(struct kunit *test)
{
	struct nested_test *ctx = test->priv;
	struct iommu_gpasid_bind_data data = vtd_guest_bind_data(ctx->table.root);
	struct vtd_table other = other_table(test);
	struct dmar_domain *first, *second;
	struct iommu_domain *domain;
	unsigned int nth, failures = 0;
	bool failed;
	int ret;

	/*
	 * The driver may either recover from a failure or return an error. A
	 * domain keeps some allocations of a failed try, so each try uses a new
	 * domain: otherwise the next one would count fewer allocations, and
	 * skip some.
	 */
	for (nth = 1, failed = true; failed; nth++) {
		kunit_fail_allocation(nth);
		domain = intel_gpasid_ops.domain_alloc(ctx->dev, &ctx->parent->domain,
						       &data);
		failed = kunit_allocation_failed();
		failures += failed;
		if (!IS_ERR(domain))
			iommu_domain_free(domain);
		else
			KUNIT_EXPECT_TRUE(test, failed && PTR_ERR(domain) == -ENOMEM);
	}

	for (nth = 1, failed = true; failed; nth++) {
		first = nested_new(test);
		kunit_fail_allocation(nth);
		ret = nested_set_pasid(test, first, PASID, NULL);
		failed = kunit_allocation_failed();
		failures += failed;
		if (!ret) {
			nested_remove_pasid(test, first, PASID);
			continue;
		}
		KUNIT_EXPECT_TRUE(test, failed && ret == -ENOMEM);
		nested_expect_gone(test, PASID, GVA);
		KUNIT_EXPECT_TRUE(test, list_empty(&first->cache_tags));
		KUNIT_EXPECT_FALSE(test, vtd_fake_has_id(first));
	}

	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, first, PASID, NULL));
	for (nth = 1, failed = true; failed; nth++) {
		second = vtd_guest_nested(test, ctx->dev, ctx->parent, other.root);
		kunit_fail_allocation(nth);
		ret = nested_set_pasid(test, second, PASID, first);
		failed = kunit_allocation_failed();
		failures += failed;
		if (!ret) {
			nested_expect(test, PASID, GVA, HOST_DATA + SZ_2M);
			KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, first, PASID, second));
		}
		KUNIT_EXPECT_TRUE(test, !ret || (failed && ret == -ENOMEM));
		nested_expect(test, PASID, GVA, HOST_DATA);
		KUNIT_EXPECT_TRUE(test, list_empty(&second->cache_tags));
		KUNIT_EXPECT_TRUE(test, list_empty(&second->dev_pasids));
	}
	kunit_info(test, "%u allocations failed\n", failures);

	nested_remove_pasid(test, first, PASID);
	nested_expect_gone(test, PASID, GVA);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->parent->cache_tags));
}

/* Races */

#define RACE_ROUNDS	2000

struct race {
	struct dmar_domain *domains[3];		/* two nested ones, and the parent */
	struct device *dev[2];
	atomic_t failures;
};

/* On one device: attach, replace by the next, ..., detach */
static void race_replace(struct race *race, struct device *dev)
{
	struct iommu_domain *old = NULL;
	unsigned int i;

	for (i = 0; i < RACE_ROUNDS; i++) {
		struct iommu_domain *domain = &race->domains[i % 3]->domain;

		if (domain->ops->set_dev_pasid(domain, dev, PASID, old))
			atomic_inc(&race->failures);
		old = domain;
		if (i % 7 == 6) {
			intel_iommu_ops.remove_dev_pasid(dev, PASID, old);
			old = NULL;
		}
		cond_resched();
	}
	if (old)
		intel_iommu_ops.remove_dev_pasid(dev, PASID, old);
}

static void race_first_device(void *data)
{
	struct race *race = data;

	race_replace(race, race->dev[0]);
}

static void race_second_device(void *data)
{
	struct race *race = data;

	race_replace(race, race->dev[1]);
}

/*
 * Meanwhile the host maps, unmaps and tracks dirty pages, and the guest
 * invalidates.
 */
static void race_invalidate(void *data)
{
	struct race *race = data;
	struct iommu_domain *parent = &race->domains[2]->domain;
	unsigned int i;

	for (i = 0; i < RACE_ROUNDS; i++) {
		u64 gpa = 2ULL * SZ_1G + (i % 64) * SZ_4K;

		if (iommu_map(parent, gpa, HOST_DATA, SZ_4K, IOMMU_READ | IOMMU_WRITE,
			      GFP_KERNEL) ||
		    iommu_unmap(parent, gpa, SZ_4K) != SZ_4K ||
		    invalidate(race->domains[i % 2], gpa, 1 + i % 64) ||
		    parent->dirty_ops->set_dirty_tracking(parent, i & 1))
			atomic_inc(&race->failures);
		cond_resched();
	}
}

/*
 * PASIDs of two devices change their domains while these are changed. KUnit
 * does not associate the threads with the test, so the model does not see them;
 * lockdep, KASAN and KCSAN check the race, and the model its result.
 */
static void race_with_invalidations(struct kunit *test)
{
	const vtd_fake_fn threads[] = {
		race_first_device, race_second_device, race_invalidate,
	};
	struct nested_test *ctx = test->priv;
	struct race race = {};
	unsigned int i;

	race.domains[0] = nested_new(test);
	race.domains[1] = other_nested(test);
	race.domains[2] = ctx->parent;
	race.dev[0] = ctx->dev;
	race.dev[1] = vtd_fake_device(test, vtd_fake_iommu_of(ctx->dev), false);
	vtd_fake_run(test, threads, ARRAY_SIZE(threads), &race);

	KUNIT_EXPECT_EQ(test, 0, atomic_read(&race.failures));
	for (i = 0; i < ARRAY_SIZE(race.domains); i++) {
		KUNIT_EXPECT_TRUE(test, list_empty(&race.domains[i]->dev_pasids));
		KUNIT_EXPECT_TRUE(test, list_empty(&race.domains[i]->cache_tags));
		KUNIT_EXPECT_FALSE(test, vtd_fake_has_id(race.domains[i]));
	}
	nested_expect_gone(test, PASID, GVA);
	KUNIT_EXPECT_TRUE(test, ctx->parent->dirty_tracking);
	KUNIT_ASSERT_EQ(test, 0, nested_set_pasid(test, race.domains[0], PASID, NULL));
	KUNIT_EXPECT_TRUE(test, nested_tracks_dirty(test, PASID));
	nested_remove_pasid(test, race.domains[0], PASID);
}

static int nested_test_init(struct kunit *test)
{
	struct nested_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	struct intel_iommu *iommu;
	int ret;

	ret = vtd_fake_init(test, &ctx->fake);
	if (ret)
		return ret;

	iommu = vtd_fake_iommu(test, CAP_NESTING, ECAP_NESTING);
	ctx->dev = vtd_fake_device(test, iommu, false);
	ctx->parent = vtd_fake_domain(test, ctx->dev, IOMMU_HWPT_ALLOC_NEST_PARENT |
				      IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	vtd_guest_map(test, ctx->parent, GUEST_DATA, HOST_DATA, SZ_4K);
	ctx->table = vtd_guest_table(test, ctx->parent, GVA, GUEST_DATA);

	return kunit_add_action_or_reset(test, block, ctx->dev);
}

static struct kunit_case nested_test_cases[] = {
	KUNIT_CASE(nested_on_rid),
	KUNIT_CASE(invalidate_all),
	KUNIT_CASE(invalidate_refuses),
	KUNIT_CASE(invalidate_array),
	KUNIT_CASE(nested_data_refused),
	KUNIT_CASE(nested_user_data_refused),
	KUNIT_CASE(missing_capabilities),
	KUNIT_CASE(wpe_without_sre),
	KUNIT_CASE(parent_has_too_many_levels),
	KUNIT_CASE(replace_on_pasid),
	KUNIT_CASE(parent_unmaps),
	KUNIT_CASE(dirty_tracking_on_pasids),
	KUNIT_CASE(dirty_tracking_during_attach),
	KUNIT_CASE(empty_gather),
	KUNIT_CASE(failed_attach_keeps_tags),
	KUNIT_CASE(ats_stays_enabled),
	KUNIT_CASE(two_iommus),
	KUNIT_CASE(nested_without_memory),
	KUNIT_CASE(race_with_invalidations),
	KUNIT_CASE(gpasid_parent),
	KUNIT_CASE(gpasid_cost),
	KUNIT_CASE(gpasid_cost_with_device_tlb),
	KUNIT_CASE_SLOW(gpasid_stress),
	{}
};

static struct kunit_suite nested_test_suite = {
	.name = "intel-iommu-nested",
	.init = nested_test_init,
	.test_cases = nested_test_cases,
};

kunit_test_suite(nested_test_suite);
