// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of resets: what a device reaches, and which descriptors it gets,
 * between reset_prepare and reset_done, and afterwards. The devices are not PCI
 * devices: PCI's page requests and ATS are tested on a machine.
 */

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/sizes.h>

#include "paging_domain.h"
#include "iommu.h"
#include "vtd_caps.h"
#include "vtd_fake.h"

#define CAP_RESET	(CAP_ND_256 | CAP_SAGAW_4 | CAP_MGAW(48) | CAP_SS2M | CAP_SS1G | \
			 CAP_PSI | CAP_MAMV(18))
#define ECAP_RESET	(ECAP_C | ECAP_QI | ECAP_DT | ECAP_PT | ECAP_SC | ECAP_PASID | \
			 ECAP_SMTS | ECAP_SSTS | ECAP_FSTS | ECAP_SMPWC)

#define RW		(IOMMU_READ | IOMMU_WRITE)
#define PASID		5
#define IOVA		(16ULL * SZ_1G)
#define PA		0x1000000000ULL		/* never accessed */

struct reset_test {
	struct vtd_fake fake;
	struct device *dev;
	struct iommu_domain *domain;
	bool pasid;			/* is attached */
	struct vtd_fake_call call;
	bool early;			/* it returned during an unmap */
};

struct setting {
	const char *name;
	u64 cap, no_ecap;
	bool ats;
};

static const struct setting settings[] = {
	{ "coherent", CAP_RESET, 0 },
	{ "not coherent", CAP_RESET, ECAP_C | ECAP_SMPWC },
	{ "caching mode", CAP_RESET | CAP_CM, 0 },
	{ "ATS", CAP_RESET, 0, .ats = true },
	{ "legacy mode", CAP_RESET, ECAP_SMTS | ECAP_PASID | ECAP_FSTS | ECAP_SSTS },
};

KUNIT_ARRAY_PARAM_DESC(setting, settings, name);

static void reset_map(struct kunit *test, u64 iova)
{
	struct reset_test *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, 0, iommu_map(ctx->domain, iova, PA + iova, SZ_4K, RW,
					   GFP_KERNEL));
}

/* How many descriptors that takes */
static unsigned int reset_unmap(struct kunit *test, u64 iova)
{
	struct reset_test *ctx = test->priv;
	unsigned int before = ctx->fake.descs;

	KUNIT_ASSERT_EQ(test, SZ_4K, iommu_unmap(ctx->domain, iova, SZ_4K));
	return ctx->fake.descs - before;
}

static void reset_detach_pasid(struct kunit *test)
{
	struct reset_test *ctx = test->priv;

	if (ctx->pasid)
		intel_iommu_ops.remove_dev_pasid(ctx->dev, PASID, ctx->domain);
	ctx->pasid = false;
}

/* Detach devices before domains are freed. */
static void reset_leave(void *test)
{
	struct reset_test *ctx = ((struct kunit *)test)->priv;

	reset_detach_pasid(test);
	device_block_translation(ctx->dev);
}

static void reset_create_devices(struct kunit *test)
{
	const struct setting *c = test->param_value;
	u64 ecap = ECAP_RESET & ~c->no_ecap;
	struct reset_test *ctx = test->priv;
	struct dmar_domain *domain;

	ctx->dev = vtd_fake_device(test, vtd_fake_iommu(test, c->cap, ecap), c->ats);
	domain = vtd_fake_domain(test, ctx->dev, 0);
	/* whatever the machine's own IOMMUs are like */
	domain->iotlb_sync_map = true;
	ctx->domain = &domain->domain;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, reset_leave, test));
	reset_map(test, IOVA);
	KUNIT_ASSERT_EQ(test, 0, ctx->domain->ops->attach_dev(ctx->domain, ctx->dev));
	vtd_fake_watch(test, ctx->dev, IOMMU_NO_PASID, IOVA);
	if (!(ecap & ECAP_PASID))
		return;
	KUNIT_ASSERT_EQ(test, 0, ctx->domain->ops->set_dev_pasid(ctx->domain, ctx->dev,
								 PASID, NULL));
	ctx->pasid = true;
	vtd_fake_watch(test, ctx->dev, PASID, IOVA);
}

static void reset_expect_all(struct kunit *test, void (*expect)(struct kunit *test, u32 pasid))
{
	struct reset_test *ctx = test->priv;

	expect(test, IOMMU_NO_PASID);
	if (ctx->pasid)
		expect(test, PASID);
}

static void reset_expect_page(struct kunit *test, u32 pasid)
{
	struct reset_test *ctx = test->priv;

	vtd_fake_expect(test, ctx->dev, pasid, IOVA, PA + IOVA);
}

static void reset_expect_gone(struct kunit *test, u32 pasid)
{
	struct reset_test *ctx = test->priv;

	vtd_fake_expect_gone(test, ctx->dev, pasid, IOVA);
}

/*
 * Nothing is translated meanwhile, everything afterwards, with later changes.
 */
static void reset_blocks(struct kunit *test)
{
	struct reset_test *ctx = test->priv;

	reset_create_devices(test);
	reset_expect_all(test, reset_expect_page);
	intel_iommu_ops.reset_prepare(ctx->dev);
	reset_expect_all(test, reset_expect_gone);
	intel_iommu_ops.reset_done(ctx->dev);
	reset_expect_all(test, reset_expect_page);
	reset_unmap(test, IOVA);
	reset_expect_all(test, reset_expect_gone);
}

/*
 * The device may have been blocked by another CPU, which still waits for the
 * caches to be flushed: so does this one.
 */
static void block_blocked(struct kunit *test)
{
	struct reset_test *ctx = test->priv;
	unsigned int descs;

	reset_create_devices(test);
	intel_iommu_ops.reset_prepare(ctx->dev);
	descs = ctx->fake.descs;
	intel_iommu_ops.reset_prepare(ctx->dev);
	KUNIT_EXPECT_LT(test, descs, ctx->fake.descs);
	intel_iommu_ops.reset_done(ctx->dev);
	reset_expect_all(test, reset_expect_page);
}

/* A device that cannot answer is sent nothing: it has no TLB then. */
static void no_invalidations_during_reset(struct kunit *test)
{
	const struct setting *c = test->param_value;
	struct reset_test *ctx = test->priv;
	unsigned int meanwhile, later, tlb_descs;

	reset_create_devices(test);
	reset_map(test, IOVA + SZ_2M);
	tlb_descs = ctx->fake.tlb_descs;
	intel_iommu_ops.reset_prepare(ctx->dev);
	meanwhile = reset_unmap(test, IOVA + SZ_2M);
	intel_iommu_ops.reset_done(ctx->dev);
	KUNIT_EXPECT_EQ(test, tlb_descs, ctx->fake.tlb_descs);
	reset_map(test, IOVA + SZ_2M);
	later = reset_unmap(test, IOVA + SZ_2M);
	KUNIT_EXPECT_NE(test, 0, meanwhile);
	if (c->ats)	/* with and without PASID, and PASID 0 */
		KUNIT_EXPECT_EQ(test, meanwhile + 3, later);
	else
		KUNIT_EXPECT_EQ(test, meanwhile, later);
}

/*
 * A domain that is detached meanwhile is not restored, but can be attached
 * later.
 */
static void detach_during_reset(struct kunit *test)
{
	struct reset_test *ctx = test->priv;
	struct vtd_request req;

	reset_create_devices(test);
	intel_iommu_ops.reset_prepare(ctx->dev);
	reset_detach_pasid(test);
	device_block_translation(ctx->dev);
	intel_iommu_ops.reset_done(ctx->dev);
	req = vtd_fake_request(ctx->dev, IOMMU_NO_PASID, IOVA);
	req.ats = false;
	vtd_expect_gone(test, vtd_fake_model(test, ctx->dev), &req);
	req = vtd_fake_request(ctx->dev, PASID, IOVA);
	req.ats = false;
	vtd_expect_gone(test, vtd_fake_model(test, ctx->dev), &req);

	KUNIT_ASSERT_EQ(test, 0, ctx->domain->ops->attach_dev(ctx->domain, ctx->dev));
	reset_expect_page(test, IOMMU_NO_PASID);
}

/*
 * A domain that the core attaches meanwhile, when the user leaves, translates
 * at the end.
 */
static void reset_and_default(struct kunit *test)
{
	struct reset_test *ctx = test->priv;

	reset_create_devices(test);
	intel_iommu_ops.reset_prepare(ctx->dev);
	reset_detach_pasid(test);
	device_block_translation(ctx->dev);
	KUNIT_ASSERT_EQ(test, 0, ctx->domain->ops->attach_dev(ctx->domain, ctx->dev));
	reset_expect_gone(test, IOMMU_NO_PASID);
	intel_iommu_ops.reset_done(ctx->dev);
	reset_expect_page(test, IOMMU_NO_PASID);
	reset_unmap(test, IOVA);
	reset_expect_gone(test, IOMMU_NO_PASID);
}

static const struct setting ats_settings[] = {
	{ "scalable mode", CAP_RESET, 0, .ats = true },
	{ "legacy mode", CAP_RESET, ECAP_SMTS | ECAP_PASID | ECAP_FSTS | ECAP_SSTS,
	  .ats = true },
};

KUNIT_ARRAY_PARAM_DESC(ats_setting, ats_settings, name);

static void reset_done_call(void *dev)
{
	intel_iommu_ops.reset_done(dev);
}

static void reset_ends(struct kunit *test)
{
	struct reset_test *ctx = test->priv;

	ctx->early = vtd_fake_call(&ctx->call, reset_done_call, ctx->dev);
}

/*
 * A reset ends while a page is unmapped whose translation, made for another
 * device, is still in the IOTLB. The unmap does not invalidate the TLB of the
 * device that is reset: until it is gone from the IOTLB, the device stays
 * blocked.
 */
static void reset_done_during_unmap(struct kunit *test)
{
	struct reset_test *ctx = test->priv;
	struct device *other;

	if (num_online_cpus() < 2)
		kunit_skip(test, "one CPU");
	reset_create_devices(test);
	other = vtd_fake_device(test, vtd_fake_iommu_of(ctx->dev), true);
	KUNIT_ASSERT_EQ(test, 0, ctx->domain->ops->attach_dev(ctx->domain, other));
	intel_iommu_ops.reset_prepare(ctx->dev);

	ctx->fake.meanwhile = reset_ends;
	reset_unmap(test, IOVA);
	KUNIT_ASSERT_NULL(test, ctx->fake.meanwhile);
	flush_work(&ctx->call.work);
	KUNIT_EXPECT_FALSE(test, ctx->early);
	KUNIT_EXPECT_TRUE(test, ctx->call.done);
	device_block_translation(other);
}

static int reset_init(struct kunit *test)
{
	return vtd_fake_init(test, kunit_kzalloc(test, sizeof(struct reset_test),
						 GFP_KERNEL));
}

static struct kunit_case reset_cases[] = {
	KUNIT_CASE_PARAM(reset_blocks, setting_gen_params),
	KUNIT_CASE_PARAM(block_blocked, setting_gen_params),
	KUNIT_CASE_PARAM(no_invalidations_during_reset, setting_gen_params),
	KUNIT_CASE_PARAM(detach_during_reset, setting_gen_params),
	KUNIT_CASE_PARAM(reset_and_default, setting_gen_params),
	KUNIT_CASE_PARAM(reset_done_during_unmap, ats_setting_gen_params),
	{}
};

static struct kunit_suite reset_suite = {
	.name = "intel-iommu-reset",
	.init = reset_init,
	.test_cases = reset_cases,
};

kunit_test_suite(reset_suite);
