// SPDX-License-Identifier: GPL-2.0
/*
 * Errors of the invalidation queue: invalid descriptors, and a device that does not
 * answer. Needs an IOMMU whose invalidations take time (x-inv-*-ns), so that a missing
 * wait is detected.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/kthread.h>

#include "../dma_test.h"
#include "iommu.h"
#include "vtd_dma.h"

#define NEVER		(~0u)			/* of ATC_DELAY */
#define SLOW		(50 * USEC_PER_MSEC)	/* us, half of the device's time-out */
#define MOST_PENDING	32			/* fetched by QEMU and not complete */

struct queue {
	struct testdev *dev;
	struct intel_iommu *iommu;
	u16 sid;
	u64 *page;		/* mapped for the device at addr */
	dma_addr_t addr;
};

/* How many entries the device's TLB has */
static u32 entries(struct queue *queue)
{
	return readl(queue->dev->regs + VTDT_TLB);
}

/* A submission in a thread on CPU 1: it may never return. */
struct job {
	struct queue *queue;
	struct qi_desc *desc;
	unsigned int count, times;
	struct queue *other;	/* a device whose TLB is read right after the submission */
	u32 left;		/* its number of entries */
	int ret;
	struct completion done;
};

static int job_thread(void *data)
{
	struct job *job = data;

	while (job->times--)
		job->ret = qi_submit_sync(job->queue->iommu, job->desc, job->count, 0);
	if (job->other)
		job->left = entries(job->other);
	complete(&job->done);
	return 0;
}

static void start_job(struct kunit *test, struct job *job)
{
	struct task_struct *task = kthread_create(job_thread, job, "submitter");

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	init_completion(&job->done);
	kthread_bind(task, 1);
	wake_up_process(task);
}

/* A submission that never ends also blocks the queue: further tests are useless. */
static bool stuck;

static int end_job(struct kunit *test, struct job *job)
{
	stuck = !wait_in_rounds(completion_done(&job->done));
	KUNIT_ASSERT_FALSE_MSG(test, stuck, "the submission does not return");
	return job->ret;
}

static int submit(struct kunit *test, struct qi_desc *desc, unsigned int count)
{
	/* not on the stack: a stuck thread uses it for ever */
	struct job *job = kmemdup(&(struct job) {
		.queue = test->priv, .count = count, .times = 1,
	}, sizeof(*job), GFP_KERNEL);
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, job);
	job->desc = kmemdup(desc, count * sizeof(*desc), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, job->desc);
	start_job(test, job);
	ret = end_job(test, job);
	kfree(job->desc);
	kfree(job);
	return ret;
}

static struct qi_desc invalid(void)
{
	return (struct qi_desc) { .qw0 = 0xf };
}

static struct qi_desc flush_iotlb(void)
{
	return (struct qi_desc) { .qw0 = QI_IOTLB_TYPE | QI_IOTLB_GRAN(DMA_TLB_GLOBAL_FLUSH) };
}

static struct qi_desc flush_device(struct queue *queue)
{
	struct qi_desc desc;

	qi_desc_dev_iotlb(queue->sid, 0, 1, 0, MAX_AGAW_PFN_WIDTH, &desc);
	return desc;
}

static void fill_tlb_of(struct kunit *test, struct queue *queue)
{
	KUNIT_ASSERT_TRUE(test, testdev_reads(queue->dev, BY_TLB, RID, queue->addr,
					      queue->page));
	KUNIT_ASSERT_NE(test, 0, entries(queue));
}

static void fill_tlb(struct kunit *test)
{
	fill_tlb_of(test, test->priv);
}

static void set_delay(struct queue *queue, u32 ns)
{
	writel(ns, queue->dev->regs + VTDT_ATC_DELAY);
}

/* The queue works and all slots are free, even if hardware wrote a status late. */
static void expect_usable(struct kunit *test)
{
	struct qi_desc desc = flush_iotlb();
	struct queue *queue = test->priv;

	fsleep(USEC_PER_MSEC);
	KUNIT_EXPECT_EQ(test, 0, submit(test, &desc, 1));
	KUNIT_EXPECT_EQ(test, QI_LENGTH, READ_ONCE(queue->iommu->qi->free_cnt));
}

static void invalid_descriptor(struct kunit *test)
{
	struct qi_desc desc = invalid();

	KUNIT_EXPECT_EQ(test, -EINVAL, submit(test, &desc, 1));
	expect_usable(test);
}

static void invalid_in_a_batch(struct kunit *test)
{
	struct qi_desc desc[3];
	int i;

	for (i = 0; i < ARRAY_SIZE(desc); i++) {
		desc[0] = desc[1] = desc[2] = flush_iotlb();
		desc[i] = invalid();
		KUNIT_EXPECT_EQ(test, -EINVAL, submit(test, desc, ARRAY_SIZE(desc)));
		expect_usable(test);
	}
}

/* The following descriptors are executed before the submission returns. */
static void behind_an_invalid_descriptor(struct kunit *test)
{
	struct queue *queue = test->priv;
	struct qi_desc desc[] = { invalid(), flush_device(queue) };

	fill_tlb(test);
	set_delay(queue, SLOW * NSEC_PER_USEC);
	KUNIT_EXPECT_EQ(test, -EINVAL, submit(test, desc, ARRAY_SIZE(desc)));
	KUNIT_EXPECT_EQ(test, 0, entries(queue));
	expect_usable(test);
}

/* Start a slow submission; false if it returned before it was seen in progress. */
static bool start_slow(struct kunit *test, struct job *job, struct qi_desc *desc)
{
	struct queue *queue = test->priv;

	*desc = flush_device(queue);
	*job = (struct job) { .queue = queue, .desc = desc, .count = 1, .times = 1 };
	start_job(test, job);
	while (READ_ONCE(queue->iommu->qi->free_cnt) == QI_LENGTH &&
	       !completion_done(&job->done))
		cpu_relax();
	if (!completion_done(&job->done))
		return true;
	end_job(test, job);
	return false;
}

/* Its slots are freed before those of the earlier submission, but not before hardware is done. */
static void invalid_behind_a_slow_one(struct kunit *test)
{
	struct queue *queue = test->priv;
	struct qi_desc desc = invalid();
	static struct qi_desc slow;
	static struct job job;
	int tries, met = 0;

	/* on a slow host, the slow submission may return too early */
	for (tries = 0; tries < 5 || (!met && tries < 100); tries++) {
		set_delay(queue, SLOW * NSEC_PER_USEC);
		if (!start_slow(test, &job, &slow))
			continue;
		met++;
		KUNIT_EXPECT_EQ(test, -EINVAL, qi_submit_sync(queue->iommu, &desc, 1, 0));
		KUNIT_EXPECT_EQ(test, 0, end_job(test, &job));
		expect_usable(test);
	}
	if (!met)
		kunit_skip(test, "the slow submission always returned too early");
}

/* The time is not measured: the guest's clock may stop while interrupts are off. */
static void slow_device(struct kunit *test)
{
	struct queue *queue = test->priv;
	struct qi_desc desc[] = { flush_device(queue), flush_iotlb() };

	fill_tlb(test);
	set_delay(queue, SLOW * NSEC_PER_USEC);
	KUNIT_EXPECT_EQ(test, 0, submit(test, desc, ARRAY_SIZE(desc)));
	KUNIT_EXPECT_EQ(test, 0, entries(queue));
	expect_usable(test);
}

static void silent_device(struct kunit *test)
{
	struct queue *queue = test->priv;
	struct qi_desc desc = flush_device(queue);

	fill_tlb(test);
	set_delay(queue, NEVER);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, &desc, 1));
	KUNIT_EXPECT_NE(test, 0, entries(queue));
	expect_usable(test);
	set_delay(queue, 0);
	KUNIT_EXPECT_EQ(test, 0, submit(test, &desc, 1));
	KUNIT_EXPECT_EQ(test, 0, entries(queue));
}

/* The device times out before the wait descriptor has been fetched. */
static void silent_device_many(struct kunit *test)
{
	struct qi_desc desc[MOST_PENDING + 2];
	struct queue *queue = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(desc); i++)
		desc[i] = i < MOST_PENDING ? flush_device(queue) : flush_iotlb();
	set_delay(queue, NEVER);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, desc, ARRAY_SIZE(desc)));
	expect_usable(test);
}

/* Submissions of other CPUs do not fail. */
static void silent_device_and_others(struct kunit *test)
{
	struct queue *queue = test->priv;
	static struct qi_desc to_device;
	static struct job job;
	struct qi_desc desc = flush_iotlb();
	int given_up = 0;

	set_delay(queue, NEVER);
	to_device = flush_device(queue);
	job = (struct job) { .queue = queue, .desc = &to_device, .count = 1, .times = 3 };
	start_job(test, &job);
	while (!completion_done(&job.done))
		given_up += !!qi_submit_sync(queue->iommu, &desc, 1, 0);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, end_job(test, &job));
	KUNIT_EXPECT_EQ(test, 0, given_up);
	expect_usable(test);
}

/* A device that has not answered is blocked until it is reset. */
static void revive(struct queue *queue)
{
	struct device_domain_info *info = dev_iommu_priv_get(&queue->dev->pdev->dev);

	set_delay(queue, 0);
	flush_work(&queue->iommu->block_work);
	if (READ_ONCE(info->given_up))
		pci_reset_function(queue->dev->pdev);
}

static void unmap_page(struct queue *queue)
{
	dma_unmap_single(&queue->dev->pdev->dev, queue->addr, PAGE_SIZE, DMA_BIDIRECTIONAL);
}

static void map_page(struct kunit *test, struct queue *queue)
{
	struct device *dev = &queue->dev->pdev->dev;

	queue->addr = dma_map_single(dev, queue->page, PAGE_SIZE, DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_EQ(test, 0, dma_mapping_error(dev, queue->addr));
}

static struct queue *queue_of(struct kunit *test, struct testdev *testdev)
{
	struct queue *queue = kunit_kzalloc(test, sizeof(*queue), GFP_KERNEL);
	struct device_domain_info *info = dev_iommu_priv_get(&testdev->pdev->dev);

	KUNIT_ASSERT_NOT_NULL(test, queue);
	queue->dev = testdev;
	queue->iommu = info->iommu;
	queue->sid = PCI_DEVID(info->bus, info->devfn);
	queue->page = testdev_page(test);
	map_page(test, queue);
	return queue;
}

static void put_queue(struct queue *queue)
{
	revive(queue);
	unmap_page(queue);
}

/*
 * Another device in the same submission is invalidated: its descriptor is before that of
 * the silent device, after it, or so far after it that it has not been fetched at the
 * time-out.
 */
static void silent_device_in_a_batch(struct kunit *test)
{
	static const unsigned int in_front[] = { 0, 1, MOST_PENDING };
	struct queue *other = queue_of(test, testdev_second(test));
	static struct qi_desc desc[MOST_PENDING + 2];
	struct queue *silent = test->priv;
	static struct job job;
	unsigned int i, n;

	KUNIT_ASSERT_PTR_EQ(test, silent->iommu, other->iommu);
	for (i = 0; i < ARRAY_SIZE(in_front); i++) {
		fill_tlb_of(test, silent);
		fill_tlb_of(test, other);
		set_delay(silent, NEVER);
		set_delay(other, SLOW * NSEC_PER_USEC);
		for (n = 0; n < in_front[i] + 2; n++)
			desc[n] = flush_device(n == in_front[i] ? other : silent);
		job = (struct job) { .queue = silent, .desc = desc, .count = n,
				     .times = 1, .other = other };
		start_job(test, &job);
		KUNIT_EXPECT_EQ(test, -ETIMEDOUT, end_job(test, &job));
		KUNIT_EXPECT_NE(test, 0, entries(silent));
		KUNIT_EXPECT_EQ_MSG(test, 0, job.left, "%u in front", in_front[i]);
		expect_usable(test);
		revive(silent);
	}
	put_queue(other);
}

/*
 * The device's TLB still has an unmapped page, but the device cannot use it. Later unmaps
 * send the device no invalidation. After a reset the device works again.
 */
static void silent_device_is_blocked(struct kunit *test)
{
	struct queue *queue = test->priv;
	struct q_inval *qi = queue->iommu->qi;
	struct vtdt_command c;
	int head;

	/* an entry that allows writes */
	KUNIT_ASSERT_TRUE(test, testdev_writes(queue->dev, BY_TLB, RID, queue->addr,
					       queue->page));
	set_delay(queue, NEVER);
	unmap_page(queue);
	flush_work(&queue->iommu->block_work);
	KUNIT_EXPECT_NE(test, 0, entries(queue));
	WRITE_ONCE(*queue->page, 0);
	c = testdev_execute(queue->dev, VTDT_WRITE | BY_TLB, RID, queue->addr,
			    testdev_new_value());
	KUNIT_EXPECT_EQ(test, VTDT_REFUSED, c.status);
	KUNIT_EXPECT_EQ(test, 0, READ_ONCE(*queue->page));

	/* two descriptors: IOTLB invalidation and wait */
	map_page(test, queue);
	KUNIT_EXPECT_TRUE(test, testdev_refused(queue->dev, RID, queue->addr));
	head = READ_ONCE(qi->free_head);
	unmap_page(queue);
	KUNIT_EXPECT_EQ(test, 2, (READ_ONCE(qi->free_head) - head + QI_LENGTH) % QI_LENGTH);

	map_page(test, queue);
	revive(queue);
	fill_tlb(test);
	unmap_page(queue);
	KUNIT_EXPECT_EQ(test, 0, entries(queue));
	map_page(test, queue);
}

static int queue_init(struct kunit *test)
{
	if (stuck)
		kunit_skip(test, "the queue is stuck");
	test->priv = queue_of(test, testdev_get(test));
	return set_cpus_allowed_ptr(current, cpumask_of(0));
}

static void queue_exit(struct kunit *test)
{
	if (test->priv && !stuck)
		put_queue(test->priv);
}

static struct kunit_case queue_cases[] = {
	KUNIT_CASE(slow_device),
	KUNIT_CASE(invalid_descriptor),
	KUNIT_CASE(behind_an_invalid_descriptor),
	KUNIT_CASE(invalid_behind_a_slow_one),
	KUNIT_CASE(silent_device),
	KUNIT_CASE(silent_device_and_others),
	KUNIT_CASE(silent_device_in_a_batch),
	KUNIT_CASE(silent_device_many),
	KUNIT_CASE(silent_device_is_blocked),
	KUNIT_CASE(invalid_in_a_batch),
	{ }
};

static struct kunit_suite queue_suite = {
	.name = "invalidation_queue",
	.init = queue_init,
	.exit = queue_exit,
	.test_cases = queue_cases,
};
kunit_test_suite(queue_suite);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
