// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of PCI devices that are removed, released or reset: which
 * descriptors are submitted, and when page requests are disabled.
 */

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>
#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "iommu.h"
#include "pasid.h"
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
	unsigned int submissions;	/* until the last user of page requests is gone */
	struct completion drains, goes_on, has_gone;	/* the first of two users */
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
 * Only invalidations of the IOMMU itself are left: with a TLB there are two
 * more for requests without PASID, as it may cache those with PASID 0
 * separately, and one more for each other PASID. Draining page requests takes
 * none.
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
 * A user of page requests leaves without disabling them. The driver frees its
 * data of the device: it gets a copy, without the test's PASID table.
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

/*
 * The only user of page requests leaves; @meanwhile is called by the next
 * submission.
 */
static void removal_disable_iopf(struct kunit *test, void (*meanwhile)(struct kunit *test))
{
	struct removal_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(&ctx->pdev->dev);

	ctx->pdev->error_state = pci_channel_io_perm_failure;
	ctx->pdev->pri_enabled = 1;
	info->iopf_users = 1;
	info->pri_functions = 1;
	ctx->fake.meanwhile = meanwhile;
	intel_iommu_disable_iopf(&ctx->pdev->dev);
}

static void lock_is_free(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	struct intel_iommu *iommu = vtd_fake_iommu_of(&ctx->pdev->dev);

	if (spin_trylock(&iommu->lock))
		spin_unlock(&iommu->lock);
	else
		KUNIT_FAIL(test, "iommu->lock is held");
	ctx->submissions++;
}

/*
 * PRE is cleared, and iommu->lock is not held during invalidations, which may
 * take long.
 */
static void lock_is_not_held(struct kunit *test)
{
	struct removal_test *ctx = test->priv;

	removal_disable_iopf(test, lock_is_free);
	KUNIT_EXPECT_EQ(test, 1, ctx->submissions);
}

static void still_on_queue(struct kunit *test)
{
	struct removal_test *ctx = test->priv;

	KUNIT_EXPECT_FALSE(test, list_empty(&ctx->queue->devices));
	ctx->submissions++;
	ctx->fake.meanwhile = still_on_queue;
}

/*
 * PRE is cleared, and what has arrived before is drained, before the device
 * leaves the queue: none of it is answered later.
 */
static void disabled_after_drain(struct kunit *test)
{
	struct removal_test *ctx = test->priv;

	removal_disable_iopf(test, still_on_queue);
	ctx->fake.meanwhile = NULL;
	KUNIT_EXPECT_EQ(test, 2, ctx->submissions);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->queue->devices));
}

static void user_comes_back(struct kunit *test)
{
	struct removal_test *ctx = test->priv;

	if (!ctx->submissions++)
		ctx->fake.meanwhile = user_comes_back;
	else
		KUNIT_EXPECT_EQ(test, 0, intel_iommu_enable_iopf(&ctx->pdev->dev));
}

/* A user enables page requests again meanwhile: they stay enabled. */
static void enabled_during_drain(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(&ctx->pdev->dev);

	removal_disable_iopf(test, user_comes_back);
	KUNIT_EXPECT_EQ(test, 2, ctx->submissions);
	KUNIT_EXPECT_EQ(test, 1, info->iopf_users);
	KUNIT_EXPECT_TRUE(test, info->pri_enabled);
	KUNIT_EXPECT_EQ(test, 1, info->pri_functions);
	intel_iommu_disable_iopf(&ctx->pdev->dev);
	KUNIT_EXPECT_FALSE(test, info->pri_enabled);
}

#define PATIENCE	(10 * HZ)

/*
 * Submissions: the first user clears PRE and drains; the second sets PRE, then
 * does the same.
 */
static void two_users_leave(struct kunit *test)
{
	struct removal_test *ctx = test->priv;

	ctx->fake.meanwhile = two_users_leave;
	switch (++ctx->submissions) {
	case 2:
		complete(&ctx->drains);
		wait_for_completion_timeout(&ctx->goes_on, PATIENCE);
		break;
	case 5:
		complete(&ctx->goes_on);
		wait_for_completion_timeout(&ctx->has_gone, PATIENCE);
		KUNIT_EXPECT_FALSE(test, list_empty(&ctx->queue->devices));
		break;
	}
}

static int first_user_leaves(void *data)
{
	struct kunit *test = data;
	struct removal_test *ctx = test->priv;

	current->kunit_test = test;
	removal_disable_iopf(test, two_users_leave);
	complete(&ctx->has_gone);
	return 0;
}

static void removal_stop(void *task)
{
	kthread_stop_put(task);
}

/*
 * While the last user's drain takes long, another user enables and disables
 * page requests: those that have arrived meanwhile are drained, too, before the
 * device leaves the queue.
 */
static void second_user_during_drain(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	struct device *dev = &ctx->pdev->dev;
	struct task_struct *task;

	init_completion(&ctx->drains);
	init_completion(&ctx->goes_on);
	init_completion(&ctx->has_gone);
	task = kthread_create(first_user_leaves, test, "removal-kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, removal_stop,
							   get_task_struct(task)));
	wake_up_process(task);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&ctx->drains, PATIENCE));
	KUNIT_EXPECT_EQ(test, 0, intel_iommu_enable_iopf(dev));
	intel_iommu_disable_iopf(dev);
	ctx->fake.meanwhile = NULL;
	KUNIT_EXPECT_EQ(test, 5, ctx->submissions);
	KUNIT_EXPECT_TRUE(test, list_empty(&ctx->queue->devices));
	KUNIT_EXPECT_FALSE(test, ctx->pdev->pri_enabled);
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
 * The device is reset, and at any moment the last domain that needs page
 * requests is detached: they are disabled once.
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

#define CONFIG_FREE	(PCI_CFG_SPACE_SIZE + 0x40)

/*
 * A function that responds after its reset. @stopped: its page requests can be
 * enabled.
 */
static void removal_is_present(struct kunit *test, bool stopped)
{
	struct removal_test *ctx = test->priv;
	struct pci_dev *pdev = ctx->pdev;

	pci_write_config_dword(pdev, PCI_VENDOR_ID, 0x1de51234);
	pci_write_config_word(pdev, pdev->pri_cap + PCI_PRI_STATUS,
			      stopped ? PCI_PRI_STATUS_STOPPED : 0);
	pdev->ats_cap = CONFIG_FREE;
}

/* Page requests cannot be enabled after a reset: later attaches try again. */
static void reset_and_retry(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	struct device *dev = &ctx->pdev->dev;
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	removal_is_present(test, false);
	ctx->pdev->ats_enabled = 1;
	ctx->pdev->pri_enabled = 1;
	info->pri_supported = 1;
	info->iopf_users = 1;
	info->pri_functions = 1;
	intel_iommu_ops.reset_prepare(dev);
	/* the memory that enabling takes is still reserved */
	KUNIT_EXPECT_NOT_NULL(test, dev->iommu->fault_param_reserve);
	intel_iommu_ops.reset_done(dev);
	KUNIT_EXPECT_FALSE(test, info->pri_enabled);
	KUNIT_EXPECT_EQ(test, -EBUSY, intel_iommu_enable_iopf(dev));
	KUNIT_EXPECT_EQ(test, 1, info->iopf_users);

	removal_is_present(test, true);
	KUNIT_EXPECT_EQ(test, 0, intel_iommu_enable_iopf(dev));
	KUNIT_EXPECT_EQ(test, 2, info->iopf_users);
	KUNIT_EXPECT_TRUE(test, info->pri_enabled);
	KUNIT_EXPECT_TRUE(test, ctx->pdev->pri_enabled);
	intel_iommu_disable_iopf(dev);
	KUNIT_EXPECT_TRUE(test, ctx->pdev->pri_enabled);
	intel_iommu_disable_iopf(dev);
	KUNIT_EXPECT_FALSE(test, ctx->pdev->pri_enabled);
}

static void first_user_comes(struct kunit *test)
{
	struct removal_test *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, 0, intel_iommu_enable_iopf(&ctx->pdev->dev));
	KUNIT_EXPECT_FALSE(test, ctx->pdev->pri_enabled);
	ctx->submissions++;
}

/* Page requests that are enabled during a reset take effect at its end. */
static void reset_and_first_user(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	struct device *dev = &ctx->pdev->dev;
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	removal_is_present(test, true);
	iopf_queue_remove_device(ctx->queue, dev);
	info->pri_enabled = 0;
	info->pri_supported = 1;
	ctx->pdev->ats_enabled = 1;
	ctx->fake.meanwhile = first_user_comes;
	intel_iommu_ops.reset_prepare(dev);
	KUNIT_EXPECT_EQ(test, 1, ctx->submissions);
	KUNIT_EXPECT_FALSE(test, ctx->pdev->pri_enabled);
	intel_iommu_ops.reset_done(dev);
	KUNIT_EXPECT_TRUE(test, ctx->pdev->pri_enabled);
	intel_iommu_disable_iopf(dev);
	KUNIT_EXPECT_FALSE(test, ctx->pdev->pri_enabled);
}

/*
 * A function that does not respond after its reset stays blocked, and the log
 * says so. When it responds after a later reset, it translates as before.
 */
static void reset_and_not_present(struct kunit *test)
{
	const char *message = "not present after a reset, DMA stays blocked";
	struct removal_test *ctx = test->priv;
	struct device *dev = &ctx->pdev->dev;
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	unsigned int lines = vtd_fake_log_lines(message);

	ctx->pdev->ats_cap = CONFIG_FREE;
	ctx->pdev->ats_enabled = 1;
	ctx->pdev->pri_enabled = 1;
	info->pri_functions = 1;
	removal_map(test);
	KUNIT_ASSERT_EQ(test, 0, ctx->domain->ops->attach_dev(ctx->domain, dev));
	vtd_fake_expect(test, dev, IOMMU_NO_PASID, IOVA, PA);

	intel_iommu_ops.reset_prepare(dev);
	KUNIT_EXPECT_EQ(test, lines, vtd_fake_log_lines(message));
	intel_iommu_ops.reset_done(dev);
	KUNIT_EXPECT_EQ(test, lines + 1, vtd_fake_log_lines(message));
	vtd_fake_expect_gone(test, dev, IOMMU_NO_PASID, IOVA);
	KUNIT_EXPECT_FALSE(test, info->ats_enabled);

	removal_is_present(test, true);
	intel_iommu_ops.reset_prepare(dev);
	intel_iommu_ops.reset_done(dev);
	KUNIT_EXPECT_EQ(test, lines + 1, vtd_fake_log_lines(message));
	KUNIT_EXPECT_TRUE(test, info->ats_enabled);
	vtd_fake_expect(test, dev, IOMMU_NO_PASID, IOVA, PA);
	device_block_translation(dev);
}

/*
 * Which PASID features are enabled is known while the function does not answer.
 */
static void reset_hides_no_pasid(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	struct pci_dev *pdev = ctx->pdev;

	pdev->pasid_cap = CONFIG_FREE;
	pdev->pasid_enabled = 1;
	pdev->pasid_features = PCI_PASID_CAP_EXEC;
	pci_write_config_word(pdev, pdev->pasid_cap + PCI_PASID_CTRL, 0);
	KUNIT_EXPECT_EQ(test, PCI_PASID_CTRL_ENABLE | PCI_PASID_CTRL_EXEC,
			pci_pasid_status(pdev));
	pdev->pasid_enabled = 0;
	pci_write_config_word(pdev, pdev->pasid_cap + PCI_PASID_CTRL, 0xffff);
	KUNIT_EXPECT_EQ(test, 0, pci_pasid_status(pdev));
}

/* Fault dumps may still look at a PASID table when the device is released. */
static void table_freed_after_grace_period(struct kunit *test)
{
	struct removal_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(&ctx->pdev->dev);
	struct pasid_table *fakes = info->pasid_table;
	struct rcu_gp_oldstate state;

	info->pasid_table = NULL;
	KUNIT_ASSERT_EQ(test, 0, intel_pasid_alloc_table(&ctx->pdev->dev));
	get_state_synchronize_rcu_full(&state);
	intel_pasid_free_table(&ctx->pdev->dev);
	KUNIT_EXPECT_TRUE(test, poll_state_synchronize_rcu_full(&state));
	info->pasid_table = fakes;
}

/* A PCI device that supports ATS, which is off, and a domain, in legacy mode */
static struct pci_dev *legacy_device(struct kunit *test, struct iommu_domain **domain)
{
	const u64 scalable = ECAP_SMTS | ECAP_PASID | ECAP_FSTS | ECAP_SSTS;
	struct device_domain_info *info;
	struct pci_dev *pdev;
	struct device *dev;

	dev = vtd_fake_device(test, vtd_fake_iommu(test, CAP_REMOVAL,
						   ECAP_REMOVAL & ~scalable), true);
	*domain = &vtd_fake_domain(test, dev, 0)->domain;
	pdev = vtd_fake_pci_dev(test, dev);
	info = dev_iommu_priv_get(&pdev->dev);
	info->ats_supported = 1;
	info->ats_enabled = 0;
	pdev->bus->number = info->bus;
	pdev->ats_cap = CONFIG_FREE;
	pci_write_config_word(pdev, pdev->ats_cap + PCI_ATS_CAP, PCI_ATS_CAP_PAGE_ALIGNED);
	pci_write_config_dword(pdev, PCI_VENDOR_ID, 0x1de51234);

	return pdev;
}

/*
 * Legacy mode: ATS is on while there are page tables, but not before the end of
 * a reset.
 */
static void legacy_reset(struct kunit *test)
{
	struct device_domain_info *info;
	struct iommu_domain *domain;
	struct pci_dev *pdev;
	bool attach;

	pdev = legacy_device(test, &domain);
	info = dev_iommu_priv_get(&pdev->dev);
	for (attach = false; ; attach = true) {
		KUNIT_ASSERT_EQ(test, 0, domain->ops->attach_dev(domain, &pdev->dev));
		KUNIT_EXPECT_TRUE(test, pdev->ats_enabled);
		intel_iommu_ops.reset_prepare(&pdev->dev);
		KUNIT_EXPECT_FALSE(test, pdev->ats_enabled);
		device_block_translation(&pdev->dev);
		if (attach)
			KUNIT_EXPECT_EQ(test, 0, domain->ops->attach_dev(domain, &pdev->dev));
		KUNIT_EXPECT_FALSE(test, pdev->ats_enabled);
		intel_iommu_ops.reset_done(&pdev->dev);
		KUNIT_EXPECT_TRUE(test, attach == pdev->ats_enabled);
		KUNIT_EXPECT_TRUE(test, attach == info->ats_enabled);
		if (attach)
			break;
	}
	device_block_translation(&pdev->dev);
	KUNIT_EXPECT_FALSE(test, pdev->ats_enabled);
	KUNIT_EXPECT_TRUE(test, list_empty(&to_dmar_domain(domain)->cache_tags));
}

/*
 * ATS was off before, as without page tables, or for a device in low power that
 * VFIO attaches.
 */
static void legacy_attach_during_reset(struct kunit *test)
{
	struct device_domain_info *info;
	struct iommu_domain *domain;
	struct pci_dev *pdev;

	pdev = legacy_device(test, &domain);
	info = dev_iommu_priv_get(&pdev->dev);
	intel_iommu_ops.reset_prepare(&pdev->dev);
	KUNIT_ASSERT_EQ(test, 0, domain->ops->attach_dev(domain, &pdev->dev));
	KUNIT_EXPECT_FALSE(test, pdev->ats_enabled);
	KUNIT_EXPECT_EQ(test, 1, list_count_nodes(&to_dmar_domain(domain)->cache_tags));
	intel_iommu_ops.reset_done(&pdev->dev);
	KUNIT_EXPECT_TRUE(test, pdev->ats_enabled);
	KUNIT_EXPECT_TRUE(test, info->ats_enabled);
	/* of the IOTLB, and of the device's TLB */
	KUNIT_EXPECT_EQ(test, 2, list_count_nodes(&to_dmar_domain(domain)->cache_tags));

	device_block_translation(&pdev->dev);
	KUNIT_EXPECT_FALSE(test, pdev->ats_enabled);
	KUNIT_EXPECT_TRUE(test, list_empty(&to_dmar_domain(domain)->cache_tags));
}

static void removal_release(void *data)
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
	iommu->iommu.ops = &intel_iommu_ops;
	ctx->queue = iopf_queue_alloc("vtd-fake");
	KUNIT_ASSERT_NOT_NULL(test, ctx->queue);
	iommu->iopf_queue = ctx->queue;

	ctx->pdev = vtd_fake_pci_dev(test, dev);
	info = dev_iommu_priv_get(dev);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->queue, &ctx->pdev->dev));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, removal_release, ctx));
	info->pri_enabled = 1;

	return 0;
}

static struct kunit_case removal_cases[] = {
	KUNIT_CASE(no_invalidations_after_removal),
	KUNIT_CASE(release_leaves_queue),
	KUNIT_CASE(lock_is_not_held),
	KUNIT_CASE(disabled_after_drain),
	KUNIT_CASE(enabled_during_drain),
	KUNIT_CASE(second_user_during_drain),
	KUNIT_CASE_PARAM(reset_during_last_detach, when_gen_params),
	KUNIT_CASE(reset_and_retry),
	KUNIT_CASE(reset_and_first_user),
	KUNIT_CASE(reset_and_not_present),
	KUNIT_CASE(legacy_reset),
	KUNIT_CASE(legacy_attach_during_reset),
	KUNIT_CASE(reset_hides_no_pasid),
	KUNIT_CASE(table_freed_after_grace_period),
	{}
};

static struct kunit_suite removal_suite = {
	.name = "intel-iommu-removal",
	.init = removal_init,
	.test_cases = removal_cases,
};

kunit_test_suite(removal_suite);
