// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of registers when the page request queue is set up, by this kernel
 * after another one, and after suspend, and when the fault interrupt is set up.
 * The registers are memory of the test: for write-1-to-clear registers, it
 * contains the written value.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/dmar.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/rculist.h>
#include <linux/topology.h>

#include "iommu.h"
#include "vtd_caps.h"
#include "vtd_fake.h"

#define PAGE_REQUEST	0x20	/* size of a descriptor, section 7.4.1 */

struct suspend_test {
	struct vtd_fake fake;
	struct intel_iommu *iommu;
};

static u32 suspend_get(struct kunit *test, unsigned int reg)
{
	struct suspend_test *ctx = test->priv;

	return readl(ctx->iommu->reg + reg);
}

static void suspend_set(struct kunit *test, unsigned int reg, u32 val)
{
	struct suspend_test *ctx = test->priv;

	writel(val, ctx->iommu->reg + reg);
}

/* Requests that the previous kernel has left are not handled. */
static void queue_starts_empty(struct kunit *test)
{
	struct suspend_test *ctx = test->priv;

	suspend_set(test, DMAR_PQH_REG, 5 * PAGE_REQUEST);
	suspend_set(test, DMAR_PQT_REG, 7 * PAGE_REQUEST);
	KUNIT_ASSERT_EQ(test, 0, intel_iommu_enable_prq(ctx->iommu));
	KUNIT_EXPECT_EQ(test, DMA_PRS_PPR | DMA_PRS_PRO, suspend_get(test, DMAR_PRS_REG));
	KUNIT_EXPECT_EQ(test, 0, suspend_get(test, DMAR_PQH_REG));
	KUNIT_EXPECT_EQ(test, 0, suspend_get(test, DMAR_PQT_REG));
	KUNIT_EXPECT_EQ(test, (u32)virt_to_phys(ctx->iommu->prq) | PRQ_ORDER,
			suspend_get(test, DMAR_PQA_REG));
	intel_iommu_finish_prq(ctx->iommu);
	KUNIT_EXPECT_EQ(test, 0, suspend_get(test, DMAR_PQA_REG));
}

static int event_at_once(struct intel_iommu *iommu)
{
	struct kunit *test = kunit_get_current_test();

	KUNIT_EXPECT_NOT_NULL(test, iommu->prq_handled.head.next);
	if (!iommu->prq_handled.head.next)
		return -EINVAL;
	KUNIT_EXPECT_FALSE(test, intel_iommu_handle_prq(iommu));

	return -EBUSY;
}

/*
 * Everything that the handler needs is set up when the interrupt is requested,
 * and the queue is empty. If that fails, nothing leaks.
 */
static void pending_event(struct kunit *test)
{
	struct suspend_test *ctx = test->priv;

	suspend_set(test, DMAR_PQH_REG, 5 * PAGE_REQUEST);
	suspend_set(test, DMAR_PQT_REG, 7 * PAGE_REQUEST);
	kunit_activate_static_stub(test, prq_request_irq, event_at_once);
	KUNIT_EXPECT_EQ(test, -EBUSY, intel_iommu_enable_prq(ctx->iommu));
	KUNIT_EXPECT_EQ(test, 0, ctx->iommu->pr_irq);
	KUNIT_EXPECT_NULL(test, ctx->iommu->prq);
	KUNIT_EXPECT_NULL(test, ctx->iommu->iopf_queue);
	KUNIT_EXPECT_EQ(test, 0, suspend_get(test, DMAR_PQA_REG));
}

static DECLARE_COMPLETION(woken);

static irqreturn_t complete_woken(int irq, void *data)
{
	complete(&woken);

	return IRQ_HANDLED;
}

static int request_before_interrupt(struct intel_iommu *iommu)
{
	suspend_set(kunit_get_current_test(), DMAR_PQT_REG, PAGE_REQUEST);

	return request_threaded_irq(iommu->pr_irq, NULL, complete_woken, IRQF_ONESHOT,
				    iommu->prq_name, iommu);
}

/*
 * A request whose event was lost, because the interrupt was not set up, is
 * handled.
 */
static void lost_event(struct kunit *test)
{
	struct suspend_test *ctx = test->priv;

	reinit_completion(&woken);
	kunit_activate_static_stub(test, prq_request_irq, request_before_interrupt);
	KUNIT_ASSERT_EQ(test, 0, intel_iommu_enable_prq(ctx->iommu));
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&woken, 10 * HZ));
	intel_iommu_finish_prq(ctx->iommu);
}

/* All registers were lost, and have their old values again. */
static void queue_after_suspend(struct kunit *test)
{
	static const unsigned int regs[] = {
		DMAR_PQH_REG, DMAR_PQT_REG, DMAR_PQA_REG, DMAR_PECTL_REG,
		DMAR_PEDATA_REG, DMAR_PEADDR_REG, DMAR_PEUADDR_REG,
	};
	struct suspend_test *ctx = test->priv;
	u32 before[ARRAY_SIZE(regs)];
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, intel_iommu_enable_prq(ctx->iommu));
	/*
	 * The write has cleared it: there is nothing for the interrupt thread.
	 */
	suspend_set(test, DMAR_PRS_REG, 0);
	suspend_set(test, DMAR_PQH_REG, 3 * PAGE_REQUEST);
	suspend_set(test, DMAR_PQT_REG, 3 * PAGE_REQUEST);
	suspend_set(test, DMAR_PEUADDR_REG, 0x123);
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		before[i] = suspend_get(test, regs[i]);
	KUNIT_EXPECT_NE(test, 0, suspend_get(test, DMAR_PEADDR_REG));

	intel_iommu_suspend_prq(ctx->iommu);
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		suspend_set(test, regs[i], 0);
	suspend_set(test, DMAR_PRS_REG, 0);
	/* as hardware resets it: masked */
	suspend_set(test, DMAR_PECTL_REG, DMA_FECTL_IM);
	intel_iommu_resume_prq(ctx->iommu);
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		KUNIT_EXPECT_EQ_MSG(test, before[i], suspend_get(test, regs[i]), "register %#x",
				    regs[i]);
	KUNIT_EXPECT_EQ(test, DMA_PRS_PPR | DMA_PRS_PRO, suspend_get(test, DMAR_PRS_REG));
	suspend_set(test, DMAR_PEUADDR_REG, 0);
	intel_iommu_finish_prq(ctx->iommu);
}

/* An IOMMU without a queue has no registers either. */
static void without_queue(struct kunit *test)
{
	struct suspend_test *ctx = test->priv;

	ctx->iommu->reg = NULL;
	intel_iommu_suspend_prq(ctx->iommu);
	intel_iommu_resume_prq(ctx->iommu);
}

/*
 * The fault interrupt is set up when a CPU comes up, while the invalidation queue
 * is in use: waiters need its errors. (Section 11.4.7.1)
 */
static void fault_interrupt_keeps_queue_errors(struct kunit *test)
{
	struct suspend_test *ctx = test->priv;
	unsigned int cpu = cpumask_first(cpu_online_mask);
	struct dmar_drhd_unit drhd = { .iommu = ctx->iommu, .ignored = 1 };

	ctx->iommu->node = cpu_to_node(cpu);
	suspend_set(test, DMAR_FSTS_REG,
		    DMA_FSTS_PFO | DMA_FSTS_IQE | DMA_FSTS_ICE | DMA_FSTS_ITE);
	down_write(&dmar_global_lock);
	list_add_tail_rcu(&drhd.list, &dmar_drhd_units);
	up_write(&dmar_global_lock);

	KUNIT_EXPECT_EQ(test, 0, enable_drhd_fault_handling(cpu));

	down_write(&dmar_global_lock);
	list_del_rcu(&drhd.list);
	up_write(&dmar_global_lock);
	synchronize_rcu();
	KUNIT_EXPECT_NE(test, 0, ctx->iommu->irq);
	KUNIT_EXPECT_EQ(test, DMA_FSTS_PFO,
			suspend_get(test, DMAR_FSTS_REG) &
			(DMA_FSTS_PFO | DMA_FSTS_IQE | DMA_FSTS_ICE | DMA_FSTS_ITE));
	if (ctx->iommu->irq) {
		free_irq(ctx->iommu->irq, ctx->iommu);
		dmar_free_hwirq(ctx->iommu->irq);
		ctx->iommu->irq = 0;
	}
}

static int suspend_test_init(struct kunit *test)
{
	struct suspend_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	int ret;

	ret = vtd_fake_init(test, ctx ? &ctx->fake : NULL);
	if (ret)
		return ret;

	ctx->iommu = vtd_fake_iommu(test, CAP_NESTING, ECAP_NESTING | ECAP_SRS);
	ctx->iommu->reg = (void __force __iomem *)vtd_fake_page(test);

	return 0;
}

static struct kunit_case suspend_cases[] = {
	KUNIT_CASE(queue_starts_empty),
	KUNIT_CASE(pending_event),
	KUNIT_CASE(lost_event),
	KUNIT_CASE(queue_after_suspend),
	KUNIT_CASE(without_queue),
	KUNIT_CASE(fault_interrupt_keeps_queue_errors),
	{}
};

static struct kunit_suite suspend_suite = {
	.name = "intel-iommu-suspend",
	.init = suspend_test_init,
	.test_cases = suspend_cases,
};

kunit_test_suite(suspend_suite);
