// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of surprise removal: descriptors for a device that is gone, its records,
 * and when its page requests are disabled.
 */

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rbtree.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "iommu.h"
#include "vtd_caps.h"
#include "vtd_fake.h"

#define CAP_REMOVAL	(CAP_ND_256 | CAP_SAGAW_4 | CAP_MGAW(48) | CAP_SS2M | CAP_SS1G | \
			 CAP_PSI | CAP_MAMV(18))
#define ECAP_REMOVAL	(ECAP_C | ECAP_QI | ECAP_DT | ECAP_PT | ECAP_SC | ECAP_PASID | \
			 ECAP_SMTS | ECAP_SSTS | ECAP_FSTS | ECAP_SMPWC)

#define RW		(IOMMU_READ | IOMMU_WRITE)
#define IOVA		(16ULL * SZ_1G)
#define PA		0x1000000000ULL		/* never accessed */
#define PASIDS		8

struct removal_test {
	struct vtd_fake fake;
	struct pci_dev *pdev;
	struct iopf_queue *queue;
	struct iommu_domain *domain;
	unsigned int submissions;	/* until the last user of page requests goes */
};

static void removal_map(struct kunit *test)
{
	struct removal_test *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, 0, iommu_map(ctx->domain, IOVA, PA, SZ_4K, RW, GFP_KERNEL));
}

/* How many descriptors that takes */
static unsigned int removal_unmap(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	unsigned int before = ctx->fake.descs;

	KUNIT_ASSERT_EQ(test, SZ_4K, iommu_unmap(ctx->domain, IOVA, SZ_4K));
	return ctx->fake.descs - before;
}

static unsigned int removal_detach(struct kunit *test, u32 pasid)
{
	struct removal_test *ctx = test->priv;
	unsigned int before = ctx->fake.descs;

	if (pasid)
		intel_iommu_ops.remove_dev_pasid(&ctx->pdev->dev, pasid, ctx->domain);
	else
		device_block_translation(&ctx->pdev->dev);
	return ctx->fake.descs - before;
}

/*
 * Only invalidations of the IOMMU itself are left: with a TLB there are two more for
 * requests without PASID, as it may cache those with PASID 0 separately, and one more
 * for each other PASID. Draining page requests takes none.
 */
static void no_invalidations_after_removal(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	const struct iommu_domain_ops *ops = ctx->domain->ops;
	unsigned int descs;
	u32 pasid;

	KUNIT_ASSERT_EQ(test, 0, ops->attach_dev(ctx->domain, &ctx->pdev->dev));
	for (pasid = 1; pasid < PASIDS; pasid++)
		KUNIT_ASSERT_EQ(test, 0, ops->set_dev_pasid(ctx->domain, &ctx->pdev->dev,
							    pasid, NULL));
	removal_map(test);
	descs = removal_unmap(test);

	ctx->pdev->error_state = pci_channel_io_perm_failure;
	removal_map(test);
	KUNIT_EXPECT_EQ(test, descs - 2 - (PASIDS - 1), removal_unmap(test));
	for (pasid = PASIDS; pasid--; )	/* PASID cache and IOTLB */
		KUNIT_EXPECT_EQ(test, 2, removal_detach(test, pasid));
}

/*
 * A user of page requests leaves without disabling them. The driver frees its data of
 * the device: it gets a copy, without the test's PASID table.
 */
static void release_leaves_queue(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	struct device *dev = &ctx->pdev->dev;
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	ctx->pdev->error_state = pci_channel_io_perm_failure;
	ctx->pdev->ats_enabled = 1;
	ctx->pdev->pri_enabled = 1;
	ctx->pdev->pasid_enabled = 1;
	info = kmemdup(info, sizeof(*info), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, info);
	info->pasid_table = NULL;
	info->pri_functions = 1;
	RB_CLEAR_NODE(&info->node);
	scoped_guard(mutex, &iommu_probe_device_lock)
		dev_iommu_priv_set(dev, info);

	intel_iommu_ops.release_device(dev);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->queue->devices));
	KUNIT_EXPECT_NULL(test, rcu_access_pointer(dev->iommu->fault_param));
}

static const struct when {
	const char *name;
	unsigned int submission;
} whens[] = {
	{ "1", 1 }, { "2", 2 }, { "3", 3 }, { "4", 4 }, { "5", 5 }, { "6", 6 }, { "7", 7 },
};

KUNIT_ARRAY_PARAM_DESC(when, whens, name);

static void last_user_goes(struct kunit *test)
{
	struct removal_test *ctx = test->priv;

	if (--ctx->submissions)
		ctx->fake.meanwhile = last_user_goes;
	else
		intel_iommu_disable_iopf(&ctx->pdev->dev);
}

/*
 * The device is reset, and at any moment the last domain that needs page requests is
 * detached: they are disabled once.
 */
static void reset_during_last_detach(struct kunit *test)
{
	const struct when *when = test->param_value;
	struct removal_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(&ctx->pdev->dev);

	ctx->pdev->error_state = pci_channel_io_perm_failure;
	ctx->pdev->ats_enabled = 1;
	ctx->pdev->pri_enabled = 1;
	info->iopf_users = 1;
	info->pri_functions = 1;
	ctx->submissions = when->submission;
	ctx->fake.meanwhile = last_user_goes;

	intel_iommu_ops.reset_prepare(&ctx->pdev->dev);
	ctx->fake.meanwhile = NULL;	/* in case there were fewer */
	KUNIT_EXPECT_FALSE(test, info->pri_enabled);
	KUNIT_EXPECT_EQ(test, 0, info->pri_functions);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->queue->devices));
}

static void release(void *data)
{
	struct removal_test *ctx = data;

	if (!list_empty(&ctx->queue->devices))
		iopf_queue_remove_device(ctx->queue, &ctx->pdev->dev);
	iopf_queue_free(ctx->queue);
}

/* A PCI device, with a TLB and page requests */
static int removal_init(struct kunit *test)
{
	struct removal_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	struct device_domain_info *info;
	struct intel_iommu *iommu;
	struct device *dev;
	int ret;

	ret = vtd_fake_init(test, ctx ? &ctx->fake : NULL);
	if (ret)
		return ret;

	iommu = vtd_fake_iommu(test, CAP_REMOVAL, ECAP_REMOVAL);
	dev = vtd_fake_device(test, iommu, true);
	ctx->domain = &vtd_fake_domain(test, dev, 0)->domain;

	/* no request in its queue: head is tail */
	iommu->reg = (void __force __iomem *)vtd_fake_page(test);
	init_waitqueue_head(&iommu->prq_handled);
	raw_spin_lock_init(&iommu->device_rbtree_lock);
	iommu->iommu.ops = &intel_iommu_ops;
	ctx->queue = iopf_queue_alloc("vtd-fake");
	KUNIT_ASSERT_NOT_NULL(test, ctx->queue);
	iommu->iopf_queue = ctx->queue;

	ctx->pdev = vtd_fake_pci_dev(test, dev);
	info = dev_iommu_priv_get(dev);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->queue, &ctx->pdev->dev));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, release, ctx));
	info->pri_enabled = 1;

	return 0;
}

static struct kunit_case removal_cases[] = {
	KUNIT_CASE(no_invalidations_after_removal),
	KUNIT_CASE(release_leaves_queue),
	KUNIT_CASE_PARAM(reset_during_last_detach, when_gen_params),
	{}
};

static struct kunit_suite removal_suite = {
	.name = "intel-iommu-removal",
	.init = removal_init,
	.test_cases = removal_cases,
};

kunit_test_suite(removal_suite);
