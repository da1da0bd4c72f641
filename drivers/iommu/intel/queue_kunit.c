// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of an invalidation queue whose hardware stops and resumes. The
 * queue is that of the driver; a timer of the test simulates the hardware. It
 * runs on another CPU, as submissions wait with interrupts disabled. (A thread
 * could be blocked in stop_machine().)
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/console.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/ktime.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rbtree.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "../iommu-pages.h"
#include "iommu.h"
#include "paging_domain.h"
#include "pasid.h"
#include "pasid_entry.h"
#include "vtd_caps.h"
#include "vtd_fake.h"

#define STALL_MS	100	/* of hardware that has stopped */
#define PATIENCE_MS	20000	/* limit while hardware runs, on a busy machine */
#define SLOW_MS		500	/* for a descriptor, of hardware that is slow */
#define LATE_MS		500	/* several STALL_MS, in which other CPUs free no slots */
#define RESCUE_MS	60000	/* more than any submission may take */
#define PERIOD		ms_to_ktime(1)
#define SHIFT		5		/* descriptors in scalable mode */
#define ALMOST_HALF	120		/* of the queue; two leave no room for a third */
#define ALMOST_ALL	252
#define HALF		127		/* two leave no room for anything */
#define LOOK_US		10		/* between two reads of registers */
#define OTHERS		10		/* submissions, more than one wait descriptor is for */
#define NO_TYPE		0xf
#define BLOCK_MS	10		/* a submitter's longest wait until a device is blocked */
#define BLOCKED_MS	2		/* until the test has blocked it */
#define PCI_ATS		(PCI_CFG_SPACE_SIZE + 0x40)
#define LEGACY		(ECAP_NESTING & ~(ECAP_SMTS | ECAP_PASID | ECAP_FSTS | ECAP_SSTS))
#define RW		(IOMMU_READ | IOMMU_WRITE)
#define IOVA		(16ULL * SZ_1G)
#define PA		0x1000000000ULL	/* never accessed */

/*
 * SILENT: a device does not answer, and the IOMMU does not report which one.
 * NAMED: a device does not answer, and the IOMMU reports which one.
 * LOCKED: hardware runs, while another CPU holds the lock of the queue.
 * ABORTING: a device times out when only the first submission has been fetched;
 *	then hardware runs.
 * REFUSING: hardware runs up to a descriptor of no type, until the error is
 *	cleared.
 * HELD: hardware has stopped until the second IOMMU's slots are free, or for
 *	LATE_MS.
 * MARKED: another CPU has aborted all submissions, and still holds the lock.
 * INVALID: hardware refuses a wait descriptor until it is written again.
 */
enum hardware {
	STOPPED, RUNNING, SLOW, SILENT, NAMED, LOCKED, ABORTING, REFUSING, HELD, MARKED, INVALID,
};

/*
 * The hardware's CPU posts for other CPUs: behind the test's CPU, which then
 * writes for all; or in front of it, and then writes for all itself.
 */
enum others { NONE, BEHIND, IN_FRONT };

/*
 * iommu, dev, domain: the IOMMU, a device with a TLB, and its domain, which is
 *	on the second IOMMU, too
 * hw: behaviour of the hardware
 * since: time at which a submission began, 0 for none
 * executed: time at which the last descriptor was executed, if hardware is slow
 * rescued: a submission does not return
 * time_outs: number of time-outs of the device that does not answer
 * other_sid, turns: another device does not answer while this is odd; it is
 *	counted down with each time-out
 * refused: number of descriptors without a type
 * iotlb: number of executed IOTLB descriptors
 * devtlb: number of device-TLB descriptors executed after the last one of these
 * descs: number of executed descriptors, without wait descriptors
 * forgets: executed invalidations of those that blocking a device takes
 * aborted: number of slots held by aborted submissions at the next time-out
 * both: number of times that both IOMMUs had something to do
 * looks: number of reads of the fault status register
 * waits: number of executed wait descriptors
 * others: where the submissions of other CPUs are to be posted
 * busy: another CPU has the queue, until the test's CPU has posted
 * nr_others: number of submissions of other CPUs
 * late: other CPUs keep their slots until the test's CPU has waited for LATE_MS
 * round: the head wraps around meanwhile, and slots become free
 * tail: of the second IOMMU, before the test's CPU posts
 * early: the slots of the second IOMMU were free while the first one had
 *	something to do
 * console, task: a console, and the task whose messages must not reach it
 *	meanwhile
 * printed: a message of the task did
 * printed_locked: with the queue's lock held
 * other, other_desc: submissions of other CPUs, and their descriptors
 * interrupt: a timer of the test's CPU, which submits as well
 * interrupt_desc: its descriptor
 * interrupt_ret: its result
 */
struct queue_test {
	struct vtd_fake fake;
	struct intel_iommu *iommu, *second;
	struct device *dev, *second_dev;
	struct dmar_domain *domain;
	struct hrtimer timer;
	enum hardware hw;
	ktime_t since, executed;
	bool rescued;
	unsigned int time_outs, refused, turns;
	u16 other_sid;
	unsigned int looks, iotlb, devtlb, descs, aborted, both, waits, forgets;
	enum others others;
	bool busy;
	unsigned int nr_others, tail;
	bool late, round, early, printed, printed_locked;
	struct console console;
	struct task_struct *task;
	struct qi_submission other[OTHERS];
	struct qi_desc other_desc[HALF];
	struct hrtimer interrupt;
	struct qi_desc interrupt_desc[4];
	int interrupt_ret;
};

static unsigned int iommu_reg(struct intel_iommu *iommu, unsigned int offset)
{
	return readl(iommu->reg + offset) >> SHIFT;
}

static unsigned int reg(struct queue_test *ctx, unsigned int offset)
{
	return iommu_reg(ctx->iommu, offset);
}

static bool is_for_a_device(const struct qi_desc *desc)
{
	return (desc->qw0 & 0xf) == QI_DIOTLB_TYPE || (desc->qw0 & 0xf) == QI_DEIOTLB_TYPE;
}

/*
 * The invalidations after which a context entry in scalable mode translates
 * nothing
 */
#define FORGETS_CONTEXT	BIT(0)
#define FORGETS_PASIDS	BIT(1)
#define FORGETS_PAGES	BIT(2)

static unsigned int forgets(const struct qi_desc *desc)
{
	switch (desc->qw0 & 0xf) {
	case QI_CC_TYPE:
		return FORGETS_CONTEXT;
	case QI_PC_TYPE:
		return (desc->qw0 & QI_PC_GRAN(3)) == QI_PC_GRAN(QI_PC_GLOBAL) ?
		       FORGETS_PASIDS : 0;
	case QI_IOTLB_TYPE:
		return (desc->qw0 & QI_IOTLB_GRAN(3ULL << 60)) ==
		       QI_IOTLB_GRAN(DMA_TLB_GLOBAL_FLUSH) ? FORGETS_PAGES : 0;
	default:
		return 0;
	}
}

/*
 * Fetch and execute up to @nr descriptors. Only wait descriptors have an
 * effect.
 */
static void execute_on(struct queue_test *ctx, struct intel_iommu *iommu, unsigned int nr)
{
	unsigned int head = iommu_reg(iommu, DMAR_IQH_REG);
	struct qi_desc *desc;

	for (; nr && head != iommu_reg(iommu, DMAR_IQT_REG); nr--) {
		desc = iommu->qi->desc + (head << SHIFT);
		head = (head + 1) % QI_LENGTH;
		writel(head << SHIFT, iommu->reg + DMAR_IQH_REG);
		if ((desc->qw0 & 0xf) == QI_IOTLB_TYPE) {
			ctx->iotlb++;
			ctx->devtlb = 0;
		}
		ctx->devtlb += is_for_a_device(desc);
		ctx->forgets |= forgets(desc);
		ctx->descs += (desc->qw0 & 0xf) != QI_IWD_TYPE;
		if ((desc->qw0 & 0xf) == QI_IWD_TYPE && desc->qw0 & QI_IWD_STATUS_WRITE) {
			ctx->waits++;
			WRITE_ONCE(*(u32 *)phys_to_virt(desc->qw1), desc->qw0 >> 32);
		}
	}
}

static void execute(struct queue_test *ctx, unsigned int nr)
{
	execute_on(ctx, ctx->iommu, nr);
}

static bool is_idle(struct intel_iommu *iommu)
{
	return iommu_reg(iommu, DMAR_IQH_REG) == iommu_reg(iommu, DMAR_IQT_REG);
}

/* The second IOMMU does not make errors, and is not slow. */
static void run_second(struct queue_test *ctx)
{
	writel(readl(ctx->second->reg + DMAR_GCMD_REG) & DMA_GCMD_QIE,
	       ctx->second->reg + DMAR_GSTS_REG);
	if (!ctx->second->qi)
		return;
	ctx->both += !is_idle(ctx->iommu) && !is_idle(ctx->second);
	execute_on(ctx, ctx->second, QI_LENGTH);
}

static bool names_a_device(struct queue_test *ctx)
{
	unsigned int at = reg(ctx, DMAR_IQH_REG);
	struct qi_desc *desc;

	for (; at != reg(ctx, DMAR_IQT_REG); at = (at + 1) % QI_LENGTH) {
		desc = ctx->iommu->qi->desc + (at << SHIFT);
		if (is_for_a_device(desc))
			return true;
	}

	return false;
}

/*
 * The register is memory. Hardware sets PFO together with ITE or IQE: if only
 * one of these is left, the driver has written it since, to clear it.
 */
static u32 read_fault(struct intel_iommu *iommu)
{
	struct queue_test *ctx = kunit_get_current_test()->priv;
	u32 status = readl(iommu->reg + DMAR_FSTS_REG);

	ctx->looks++;
	return status == DMA_FSTS_ITE || status == DMA_FSTS_IQE ? 0 : status;
}

/* All descriptors are fetched, and wait descriptors dropped. */
static void let_time_run_out(struct queue_test *ctx)
{
	u32 status = readl(ctx->iommu->reg + DMAR_FSTS_REG);
	unsigned int i;

	if (status == DMA_FSTS_ITE)
		writel(0, ctx->iommu->reg + DMAR_FSTS_REG);
	if (status)
		return;
	if (!names_a_device(ctx)) {
		execute(ctx, QI_LENGTH);
		return;
	}
	for (i = 0; i < QI_LENGTH; i++)
		ctx->aborted += READ_ONCE(ctx->iommu->qi->desc_status[i]) == QI_ABORT;
	writel(reg(ctx, DMAR_IQT_REG) << SHIFT, ctx->iommu->reg + DMAR_IQH_REG);
	ctx->time_outs++;
	writel(DMA_FSTS_ITE | DMA_FSTS_PFO, ctx->iommu->reg + DMAR_FSTS_REG);
}

static u16 sid_of(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return PCI_DEVID(info->bus, info->devfn);
}

static bool is_for(const struct qi_desc *desc, u16 sid)
{
	if (!is_for_a_device(desc))
		return false;

	return (u16)(desc->qw0 >> ((desc->qw0 & 0xf) == QI_DIOTLB_TYPE ? 32 : 16)) == sid;
}

/* Likewise, from the first descriptor for the device on. */
static void let_device_time_out(struct queue_test *ctx)
{
	u32 status = readl(ctx->iommu->reg + DMAR_FSTS_REG);
	u16 sid = ctx->turns % 2 ? ctx->other_sid : sid_of(ctx->dev);
	struct qi_desc *desc;

	if (status == DMA_FSTS_ITE)
		writel(0, ctx->iommu->reg + DMAR_FSTS_REG);
	if (status)
		return;
	for (; !is_idle(ctx->iommu); execute(ctx, 1)) {
		desc = ctx->iommu->qi->desc + (reg(ctx, DMAR_IQH_REG) << SHIFT);
		if (!is_for(desc, sid))
			continue;
		writel(reg(ctx, DMAR_IQT_REG) << SHIFT, ctx->iommu->reg + DMAR_IQH_REG);
		ctx->time_outs++;
		ctx->turns -= !!ctx->turns;
		writeq((u64)sid << 32, ctx->iommu->reg + DMAR_IQER_REG);
		writel(DMA_FSTS_ITE | DMA_FSTS_PFO, ctx->iommu->reg + DMAR_FSTS_REG);
		return;
	}
}

/* The first submission is fetched, and wait descriptors dropped. */
static void abort_first(struct queue_test *ctx)
{
	u32 status = readl(ctx->iommu->reg + DMAR_FSTS_REG);
	unsigned int at = reg(ctx, DMAR_IQH_REG);
	struct qi_desc *desc;

	if (status == DMA_FSTS_ITE) {
		writel(0, ctx->iommu->reg + DMAR_FSTS_REG);
		WRITE_ONCE(ctx->hw, RUNNING);
	}
	if (status || is_idle(ctx->iommu))
		return;
	do {
		desc = ctx->iommu->qi->desc + (at << SHIFT);
		at = (at + 1) % QI_LENGTH;
	} while ((desc->qw0 & 0xf) != QI_IWD_TYPE);
	writel(at << SHIFT, ctx->iommu->reg + DMAR_IQH_REG);
	writel(DMA_FSTS_ITE | DMA_FSTS_PFO, ctx->iommu->reg + DMAR_FSTS_REG);
}

/* Stop at the descriptor, and fetch it again when the error is cleared. */
static void execute_or_refuse(struct queue_test *ctx)
{
	u32 status = readl(ctx->iommu->reg + DMAR_FSTS_REG);
	struct qi_desc *desc;

	if (status == DMA_FSTS_IQE)
		writel(0, ctx->iommu->reg + DMAR_FSTS_REG);
	else if (status)
		return;
	for (; !is_idle(ctx->iommu); execute(ctx, 1)) {
		desc = ctx->iommu->qi->desc + (reg(ctx, DMAR_IQH_REG) << SHIFT);
		if ((desc->qw0 & 0xf) == NO_TYPE) {
			ctx->refused++;
			writel(DMA_FSTS_IQE | DMA_FSTS_PFO, ctx->iommu->reg + DMAR_FSTS_REG);
			return;
		}
	}
}

static void mark_all(struct queue_test *ctx)
{
	struct q_inval *qi = ctx->iommu->qi;
	unsigned int i;

	for (i = 0; i < QI_LENGTH; i++)
		cmpxchg(&qi->desc_status[i], QI_IN_USE, QI_ABORT);
	writel(reg(ctx, DMAR_IQT_REG) << SHIFT, ctx->iommu->reg + DMAR_IQH_REG);
}

/* Hold the lock until the submission has returned, or has taken too long. */
static void execute_locked(struct queue_test *ctx, bool mark)
{
	ktime_t since = READ_ONCE(ctx->since), start = ktime_get();

	raw_spin_lock(&ctx->iommu->qi->q_lock);
	if (mark)
		mark_all(ctx);
	execute(ctx, QI_LENGTH);
	while (since && READ_ONCE(ctx->since) == since && !ctx->rescued) {
		cpu_relax();
		if (ktime_ms_delta(ktime_get(), start) > PATIENCE_MS)
			WRITE_ONCE(ctx->rescued, true);
	}
	raw_spin_unlock(&ctx->iommu->qi->q_lock);
}

static void wait_for_second(struct queue_test *ctx)
{
	ktime_t since = READ_ONCE(ctx->since);
	bool busy = false;
	unsigned int i;

	if (!since || is_idle(ctx->iommu))
		return;
	for (i = 0; i < QI_LENGTH; i++)
		busy |= READ_ONCE(ctx->second->qi->desc_status[i]) != QI_FREE;
	ctx->early = !busy && iommu_reg(ctx->second, DMAR_IQT_REG) != ctx->tail;
	if (ctx->early || ktime_ms_delta(ktime_get(), since) > LATE_MS)
		WRITE_ONCE(ctx->hw, RUNNING);
}

static void refuse_wait(struct queue_test *ctx)
{
	u32 status = readl(ctx->iommu->reg + DMAR_FSTS_REG);
	struct qi_desc *desc;

	if (status == DMA_FSTS_IQE) {
		writel(0, ctx->iommu->reg + DMAR_FSTS_REG);
		WRITE_ONCE(ctx->hw, RUNNING);
	}
	while (!status && !is_idle(ctx->iommu)) {
		desc = ctx->iommu->qi->desc + (reg(ctx, DMAR_IQH_REG) << SHIFT);
		if ((desc->qw0 & 0xf) == QI_IWD_TYPE) {
			desc->qw0 = 0;
			writel(DMA_FSTS_IQE | DMA_FSTS_PFO, ctx->iommu->reg + DMAR_FSTS_REG);
			break;
		}
		execute(ctx, 1);
	}
}

static void add_others(struct queue_test *ctx)
{
	unsigned int i;

	for (i = 0; i < ctx->nr_others; i++)
		llist_add(&ctx->other[i].node, &ctx->iommu->qi->posted);
}

/* When the test's CPU sees @busy, it adds itself to the list, after @newest. */
static void wait_for_this(struct queue_test *ctx, struct llist_node *newest)
{
	ktime_t start = ktime_get();

	WRITE_ONCE(ctx->busy, true);
	while (READ_ONCE(ctx->iommu->qi->posted.first) == newest) {
		cpu_relax();
		if (ktime_ms_delta(ktime_get(), start) > PATIENCE_MS) {
			WRITE_ONCE(ctx->rescued, true);
			break;
		}
	}
	WRITE_ONCE(ctx->busy, false);
}

/* The queue is busy until all are on the list. */
static void meet_others(struct queue_test *ctx)
{
	struct q_inval *qi = ctx->iommu->qi;

	raw_spin_lock(&qi->q_lock);
	if (ctx->others == BEHIND) {
		wait_for_this(ctx, NULL);
		add_others(ctx);
	} else {
		add_others(ctx);
		wait_for_this(ctx, qi->posted.first);
		qi_write_all(ctx->iommu, llist_reverse_order(llist_del_all(&qi->posted)));
	}
	ctx->others = NONE;
	raw_spin_unlock(&qi->q_lock);
}

/*
 * Complete submissions that lead: those that are done, or all if there is an
 * error.
 */
static void complete_others(struct queue_test *ctx)
{
	struct qi_submission *sub;
	int ret;

	if (READ_ONCE(ctx->late))
		return;
	for (sub = ctx->other; sub < ctx->other + ctx->nr_others; sub++) {
		if (READ_ONCE(sub->state) != QI_LEADS ||
		    (ctx->iommu->qi->desc_status[sub->wait_index] == QI_IN_USE &&
		     readl(ctx->iommu->reg + DMAR_FSTS_REG) != (DMA_FSTS_ITE | DMA_FSTS_PFO)))
			continue;
		ret = qi_complete(sub);
		if (ret != -EINPROGRESS)
			sub->state = ret ? QI_ABORTED : QI_COMPLETE;
	}
}

static enum hrtimer_restart hardware(struct hrtimer *timer)
{
	struct queue_test *ctx = container_of(timer, struct queue_test, timer);
	ktime_t since = READ_ONCE(ctx->since);
	u32 enabled;

	enabled = readl(ctx->iommu->reg + DMAR_GCMD_REG) & DMA_GCMD_QIE;
	writel(enabled, ctx->iommu->reg + DMAR_GSTS_REG);
	run_second(ctx);
	if (READ_ONCE(ctx->others) != NONE)
		meet_others(ctx);
	if (since && ktime_ms_delta(ktime_get(), since) > RESCUE_MS) {
		WRITE_ONCE(ctx->rescued, true);
		WRITE_ONCE(ctx->hw, RUNNING);
	}
	if (READ_ONCE(ctx->hw) == RUNNING)
		execute(ctx, QI_LENGTH);
	if (READ_ONCE(ctx->hw) == SLOW &&
	    ktime_ms_delta(ktime_get(), ctx->executed) > SLOW_MS) {
		ctx->executed = ktime_get();
		execute(ctx, 1);
	}
	if (READ_ONCE(ctx->hw) == SILENT)
		let_time_run_out(ctx);
	if (READ_ONCE(ctx->hw) == NAMED)
		let_device_time_out(ctx);
	if (READ_ONCE(ctx->hw) == ABORTING)
		abort_first(ctx);
	if (READ_ONCE(ctx->hw) == REFUSING)
		execute_or_refuse(ctx);
	if (READ_ONCE(ctx->hw) == LOCKED && !is_idle(ctx->iommu))
		execute_locked(ctx, false);
	if (READ_ONCE(ctx->hw) == MARKED && !is_idle(ctx->iommu))
		execute_locked(ctx, true);
	if (READ_ONCE(ctx->hw) == HELD)
		wait_for_second(ctx);
	if (READ_ONCE(ctx->hw) == INVALID)
		refuse_wait(ctx);
	if (READ_ONCE(ctx->round))
		WRITE_ONCE(ctx->iommu->qi->reclaimed, ctx->iommu->qi->reclaimed + QI_LENGTH);
	if (READ_ONCE(ctx->late) && since && ktime_ms_delta(ktime_get(), since) > LATE_MS) {
		WRITE_ONCE(ctx->hw, RUNNING);
		WRITE_ONCE(ctx->late, false);
	}
	complete_others(ctx);
	hrtimer_forward_now(timer, PERIOD);

	return HRTIMER_RESTART;
}

static void start_hardware(void *data)
{
	struct queue_test *ctx = data;

	hrtimer_start(&ctx->timer, PERIOD, HRTIMER_MODE_REL_PINNED_HARD);
}

static void resume_hardware(struct queue_test *ctx)
{
	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	WRITE_ONCE(ctx->hw, RUNNING);
}

static int submit_desc(struct kunit *test, struct qi_desc *desc, unsigned int count)
{
	struct queue_test *ctx = test->priv;
	int ret;

	WRITE_ONCE(ctx->since, ktime_get());
	ret = qi_submit_sync(ctx->iommu, desc, count, 0);
	WRITE_ONCE(ctx->since, 0);
	KUNIT_ASSERT_FALSE_MSG(test, ctx->rescued, "the submission does not return");

	return ret;
}

/* @tag distinguishes the descriptors. */
static int submit(struct kunit *test, unsigned int count, u16 tag)
{
	struct qi_desc *desc;
	unsigned int i;

	desc = kunit_kcalloc(test, count + 1, sizeof(*desc), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, desc);
	for (i = 0; i < count; i++)
		desc[i].qw0 = QI_IOTLB_TYPE | QI_IOTLB_GRAN(DMA_TLB_DSI_FLUSH) |
			      QI_IOTLB_DID(tag);

	return submit_desc(test, desc, count);
}

static void expect_free(struct kunit *test, unsigned int used)
{
	struct queue_test *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, QI_LENGTH - used, ctx->iommu->qi->free_cnt);
}

/* Hardware resumes: everything works as if it had never stopped. */
static void expect_usable(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	unsigned int i;

	resume_hardware(ctx);
	/* each slot again, and some twice */
	for (i = 0; i < QI_LENGTH / 2; i++)
		KUNIT_ASSERT_EQ(test, 0, submit(test, 3, 9));
	expect_free(test, 0);
	for (i = 0; i < QI_LENGTH; i++)
		KUNIT_EXPECT_EQ_MSG(test, QI_FREE, ctx->iommu->qi->desc_status[i],
				    "slot %u", i);
}

/* Hardware executes nothing at first, and later everything. */
static void stops_and_resumes(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, 3, 1));
	expect_free(test, 4);
	/* the wait descriptor alone */
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, 0, 0));
	expect_free(test, 5);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, 1, 2));
	expect_free(test, 7);
	expect_usable(test);
}

/* Hardware may stop anywhere: descriptors that it has not fetched stay. */
static void resumes_partially(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, 2, 1));
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, 2, 2));
	execute(ctx, 4);	/* all of the first, half of the second */
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, 0, 3));
	KUNIT_EXPECT_EQ(test, reg(ctx, DMAR_IQH_REG), 4);
	resume_hardware(ctx);
	KUNIT_EXPECT_EQ(test, 0, submit(test, 0, 4));
	expect_usable(test);
}

/* The first of @count descriptors has no type. */
static int submit_bad(struct kunit *test, unsigned int count)
{
	struct qi_desc *desc;
	unsigned int i;

	desc = kunit_kcalloc(test, count, sizeof(*desc), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, desc);
	for (i = 0; i < count; i++)
		desc[i].qw0 = i ? QI_IOTLB_TYPE | QI_IOTLB_GRAN(DMA_TLB_DSI_FLUSH) : NO_TYPE;

	return submit_desc(test, desc, count);
}

/*
 * The next submitter clears an error of a submission that was given up, even
 * without room.
 */
static void error_of_given_up_submission(struct kunit *test)
{
	const unsigned int count[] = { 2, ALMOST_ALL };
	struct queue_test *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(count); i++) {
		ctx->iommu->qi->stall_ms = STALL_MS;
		WRITE_ONCE(ctx->hw, STOPPED);
		KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit_bad(test, count[i]));
		ctx->iommu->qi->stall_ms = PATIENCE_MS;
		WRITE_ONCE(ctx->hw, REFUSING);
		KUNIT_EXPECT_EQ(test, 0, submit(test, ALMOST_HALF, 2));
		KUNIT_EXPECT_EQ(test, i + 1, ctx->refused);
	}
	/* If the submission is waited for, its submitter gets the error. */
	KUNIT_EXPECT_EQ(test, -EINVAL, submit_bad(test, 2));
	expect_usable(test);
}

/* Slow descriptors, which together take longer than hardware may stall. */
static void slow_descriptors(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	ctx->iommu->qi->stall_ms = 4 * SLOW_MS;
	WRITE_ONCE(ctx->hw, SLOW);
	KUNIT_EXPECT_EQ(test, 0, submit(test, 10, 1));
	expect_usable(test);
}

/* There is no room: descriptors that were not fetched are not overwritten. */
static void queue_is_full(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct qi_desc *desc = ctx->iommu->qi->desc;
	unsigned int i;

	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, ALMOST_HALF, 1));
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, ALMOST_HALF, 2));
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, ALMOST_HALF, 3));
	expect_free(test, 2 * (ALMOST_HALF + 1));
	KUNIT_EXPECT_EQ(test, 2 * (ALMOST_HALF + 1), reg(ctx, DMAR_IQT_REG));
	for (i = 0; i < ALMOST_HALF; i++) {
		KUNIT_ASSERT_EQ(test, 1, desc[i].qw0 >> 16 & 0xffff);
		KUNIT_ASSERT_EQ(test, 2, desc[ALMOST_HALF + 1 + i].qw0 >> 16 & 0xffff);
	}

	/* Now there is room for the next submission. */
	execute(ctx, QI_LENGTH);
	resume_hardware(ctx);
	KUNIT_EXPECT_EQ(test, 0, submit(test, ALMOST_HALF, 4));
	expect_usable(test);
}

/*
 * The queue is set up again, as after suspend: submissions that were given up
 * are gone.
 */
static void queue_is_set_up_again(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, 3, 1));
	/* Registers are lost, and the head is at the first slot. */
	writel(0, ctx->iommu->reg + DMAR_IQT_REG);
	writel(0, ctx->iommu->reg + DMAR_IQH_REG);
	KUNIT_ASSERT_EQ(test, 0, dmar_reenable_qi(ctx->iommu));
	KUNIT_EXPECT_TRUE(test, bitmap_empty(ctx->iommu->qi->given_up, QI_LENGTH));
	expect_usable(test);
}

/* Waiters poll memory, and read registers only rarely. */
static void registers_are_read_rarely(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	ktime_t start = ktime_get();

	ctx->looks = 0;
	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	ctx->executed = start;
	WRITE_ONCE(ctx->hw, SLOW);
	KUNIT_EXPECT_EQ(test, 0, submit(test, 0, 1));
	KUNIT_EXPECT_GE(test, ctx->looks, 1);
	/* by another clock */
	KUNIT_EXPECT_LE(test, ctx->looks,
			ktime_us_delta(ktime_get(), start) / (LOOK_US - 1));
	expect_usable(test);
}

/* A complete submission does not wait for the lock. */
static void completes_without_lock(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	WRITE_ONCE(ctx->hw, LOCKED);
	KUNIT_EXPECT_EQ(test, 0, submit(test, 3, 1));
	expect_usable(test);
}

static enum hrtimer_restart submit_in_interrupt(struct hrtimer *timer)
{
	struct queue_test *ctx = container_of(timer, struct queue_test, interrupt);

	WRITE_ONCE(ctx->interrupt_ret,
		   qi_submit_sync(ctx->iommu, ctx->interrupt_desc,
				  ARRAY_SIZE(ctx->interrupt_desc), 0));

	return HRTIMER_NORESTART;
}

/*
 * An interrupt handler does not wait for slots of the code that it interrupts.
 */
static void interrupt_submits(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ctx->interrupt_desc); i++)
		qi_desc_iotlb(ctx->iommu, 2, 0, 0, DMA_TLB_DSI_FLUSH,
			      &ctx->interrupt_desc[i]);
	hrtimer_init(&ctx->interrupt, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	ctx->interrupt.function = submit_in_interrupt;
	resume_hardware(ctx);
	for (i = 0; i < 20; i++) {
		ctx->interrupt_ret = 1;
		hrtimer_start(&ctx->interrupt, ns_to_ktime(100 * NSEC_PER_USEC),
			      HRTIMER_MODE_REL_PINNED_HARD);
		KUNIT_EXPECT_EQ(test, 0, submit(test, ALMOST_ALL, 1));
		while (hrtimer_active(&ctx->interrupt))
			cpu_relax();
		KUNIT_ASSERT_EQ(test, 0, ctx->interrupt_ret);
	}
	expect_usable(test);
}

/*
 * In the end descriptors for the IOMMU itself are executed, without those for
 * devices.
 */
static void silent_device_is_not_named(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct qi_desc desc[2];

	qi_desc_iotlb(ctx->iommu, 1, 0, 0, DMA_TLB_DSI_FLUSH, &desc[0]);
	qi_desc_dev_iotlb(0x4000, 0, 1, 0, MAX_AGAW_PFN_WIDTH, &desc[1]);
	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	WRITE_ONCE(ctx->hw, SILENT);
	KUNIT_EXPECT_EQ(test, 0, submit_desc(test, desc, 1));
	KUNIT_EXPECT_EQ(test, 0, ctx->time_outs);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit_desc(test, desc, 2));
	KUNIT_EXPECT_EQ(test, 8, ctx->time_outs);
	expect_usable(test);
}

/*
 * Flush the domain, on both IOMMUs or on the first, while other CPUs flush.
 */
static void flush_while(struct kunit *test, bool on_both, enum others others)
{
	struct queue_test *ctx = test->priv;
	unsigned long flags;

	KUNIT_ASSERT_EQ(test, 0, cache_tag_assign_domain(ctx->domain, ctx->dev, 1));
	if (on_both)
		KUNIT_ASSERT_EQ(test, 0, cache_tag_assign_domain(ctx->domain,
								 ctx->second_dev, 1));
	ctx->iotlb = 0;
	ctx->descs = 0;
	/*
	 * Other CPUs wait for this CPU with interrupts disabled; it must not
	 * wait for them.
	 */
	local_irq_save(flags);
	WRITE_ONCE(ctx->others, others);
	while (others != NONE && !READ_ONCE(ctx->busy))
		cpu_relax();
	WRITE_ONCE(ctx->since, ktime_get());
	cache_tag_flush_all(ctx->domain);
	WRITE_ONCE(ctx->since, 0);
	local_irq_restore(flags);
	KUNIT_EXPECT_FALSE_MSG(test, ctx->rescued, "the submission does not return");
	KUNIT_EXPECT_FALSE(test, irqs_disabled());
	if (on_both)
		cache_tag_unassign_domain(ctx->domain, ctx->second_dev, 1);
	cache_tag_unassign_domain(ctx->domain, ctx->dev, 1);
}

static void flush(struct kunit *test, bool on_both)
{
	flush_while(test, on_both, NONE);
}

/* Both IOMMUs get their descriptors before the first wait. */
static void two_iommus(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	unsigned int tries;

	resume_hardware(ctx);
	/* The first may have finished when the second gets its descriptors. */
	for (tries = 0; tries < 100 && !ctx->both; tries++) {
		flush(test, true);
		KUNIT_EXPECT_EQ(test, 2, ctx->iotlb);
	}
	KUNIT_EXPECT_NE(test, 0, ctx->both);
	KUNIT_EXPECT_EQ(test, QI_LENGTH, ctx->second->qi->free_cnt);
	expect_usable(test);
}

/*
 * Aborted descriptors are submitted again: that for the IOTLB is executed in
 * the end.
 */
static void silent_device_on_two_iommus(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	WRITE_ONCE(ctx->hw, SILENT);
	flush(test, true);
	KUNIT_EXPECT_EQ(test, 2, ctx->iotlb);
	KUNIT_EXPECT_EQ(test, 8, ctx->time_outs);
	KUNIT_EXPECT_EQ(test, QI_LENGTH, ctx->second->qi->free_cnt);
	expect_usable(test);
}

#define PASIDS	20
#define MANY	200

/*
 * A domain takes two submissions: an IOTLB's, and the device's TLB for each
 * PASID.
 */
static void flush_pasids(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	ctx->iotlb = 0;
	ctx->devtlb = 0;
	WRITE_ONCE(ctx->since, ktime_get());
	cache_tag_flush_all(ctx->domain);
	WRITE_ONCE(ctx->since, 0);
	KUNIT_EXPECT_FALSE_MSG(test, ctx->rescued, "the submission does not return");
}

static void assign_pasids(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	u32 pasid;

	for (pasid = 1; pasid <= PASIDS; pasid++)
		KUNIT_ASSERT_EQ(test, 0, cache_tag_assign_domain(ctx->domain, ctx->dev, pasid));
}

static void unassign_pasids(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	u32 pasid;

	for (pasid = 1; pasid <= PASIDS; pasid++)
		cache_tag_unassign_domain(ctx->domain, ctx->dev, pasid);
}

/*
 * The device's TLB could be refilled from an IOTLB that is invalidated after
 * it.
 */
static void order_is_kept(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	assign_pasids(test);
	resume_hardware(ctx);
	flush_pasids(test);
	KUNIT_EXPECT_EQ(test, PASIDS, ctx->devtlb);
	WRITE_ONCE(ctx->hw, ABORTING);
	flush_pasids(test);
	KUNIT_EXPECT_EQ(test, RUNNING, READ_ONCE(ctx->hw));
	KUNIT_EXPECT_EQ(test, 1, ctx->iotlb);
	KUNIT_EXPECT_EQ(test, PASIDS, ctx->devtlb);
	unassign_pasids(test);
	expect_usable(test);
}

/* Many PASIDs take as few wait descriptors as possible. */
static void few_wait_descriptors(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	u32 pasid;

	for (pasid = 1; pasid <= MANY; pasid++)
		KUNIT_ASSERT_EQ(test, 0, cache_tag_assign_domain(ctx->domain, ctx->dev, pasid));
	resume_hardware(ctx);
	ctx->waits = 0;
	flush_pasids(test);
	KUNIT_EXPECT_EQ(test, MANY, ctx->devtlb);
	KUNIT_EXPECT_EQ(test, DIV_ROUND_UP(1 + MANY, 16), ctx->waits);
	for (pasid = 1; pasid <= MANY; pasid++)
		cache_tag_unassign_domain(ctx->domain, ctx->dev, pasid);
	expect_usable(test);
}

/*
 * A repeated batch may have to wait for room, and holds no slots meanwhile. The
 * device times out as often as for one submission, or once more, if it did so
 * for the first one before the second one was posted.
 */
static void two_batches_are_aborted(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	assign_pasids(test);
	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	WRITE_ONCE(ctx->hw, SILENT);
	flush_pasids(test);
	KUNIT_EXPECT_EQ(test, 1, ctx->iotlb);
	KUNIT_EXPECT_LE(test, 8, ctx->time_outs);
	KUNIT_EXPECT_GE(test, 9, ctx->time_outs);
	KUNIT_EXPECT_EQ(test, 0, ctx->aborted);
	unassign_pasids(test);
	expect_usable(test);
}

/*
 * A submission without room waits for it, but not longer than hardware may
 * stall.
 */
static void flush_without_room(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit(test, ALMOST_ALL, 1));
	flush(test, true);
	KUNIT_EXPECT_EQ(test, 1, ctx->iotlb);
	KUNIT_EXPECT_EQ(test, QI_LENGTH, ctx->second->qi->free_cnt);
	expect_free(test, ALMOST_ALL + 1);
	expect_usable(test);
	flush(test, true);
	KUNIT_EXPECT_EQ(test, 2, ctx->iotlb);
}

/* Flush together with others, each of which has @count descriptors. */
static void flush_with_others(struct kunit *test, enum others others, unsigned int nr,
			      unsigned int count)
{
	struct queue_test *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < count; i++)
		qi_desc_iotlb(ctx->iommu, 2, 0, 0, DMA_TLB_DSI_FLUSH, &ctx->other_desc[i]);
	for (i = 0; i < nr; i++)
		ctx->other[i] = (struct qi_submission) {
			.iommu	= ctx->iommu,
			.count	= count,
			.state	= QI_POSTED,
			.desc	= ctx->other_desc,
		};
	ctx->nr_others = nr;
	ctx->waits = 0;
	flush_while(test, false, others);
}

/* How many of the others end in @state */
static unsigned int others_end(struct queue_test *ctx, int state)
{
	ktime_t start = ktime_get();
	unsigned int i, nr = 0, open;

	do {
		for (open = 0, i = 0; i < ctx->nr_others; i++)
			open += READ_ONCE(ctx->other[i].state) == QI_LEADS ||
				READ_ONCE(ctx->other[i].state) == QI_FOLLOWS;
		cpu_relax();
	} while (open && ktime_ms_delta(ktime_get(), start) < PATIENCE_MS);

	for (i = 0; i < ctx->nr_others; i++)
		nr += READ_ONCE(ctx->other[i].state) == state;
	ctx->nr_others = 0;

	return nr;
}

/* One CPU writes for all, with a wait descriptor for eight. */
static void others_share_wait(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	enum others others;

	resume_hardware(ctx);
	for (others = BEHIND; others <= IN_FRONT; others++) {
		flush_with_others(test, others, OTHERS, 2);
		KUNIT_EXPECT_EQ(test, OTHERS, others_end(ctx, QI_COMPLETE));
		KUNIT_EXPECT_EQ(test, 1 + 2 * OTHERS, ctx->iotlb);
		KUNIT_EXPECT_EQ(test, 2, ctx->waits);
		expect_free(test, 0);

		flush_with_others(test, others, 3, 1);
		KUNIT_EXPECT_EQ(test, 3, others_end(ctx, QI_COMPLETE));
		KUNIT_EXPECT_EQ(test, 1 + 3, ctx->iotlb);
		KUNIT_EXPECT_EQ(test, 1, ctx->waits);
		expect_free(test, 0);
	}
	expect_usable(test);
}

/*
 * A combined submission is aborted for all its CPUs, and this CPU repeats its
 * own.
 */
static void others_are_aborted(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	enum others others;

	for (others = BEHIND; others <= IN_FRONT; others++) {
		ctx->iommu->qi->stall_ms = PATIENCE_MS;
		WRITE_ONCE(ctx->hw, ABORTING);
		flush_with_others(test, others, 3, 1);
		KUNIT_EXPECT_EQ(test, 3, others_end(ctx, QI_ABORTED));
		KUNIT_EXPECT_EQ(test, RUNNING, READ_ONCE(ctx->hw));
		KUNIT_EXPECT_EQ(test, 1, ctx->iotlb);
		KUNIT_EXPECT_EQ(test, 2, ctx->descs);
		expect_free(test, 0);
	}
	expect_usable(test);
}

/* A submission without room fails, and does not hold up the others. */
static void others_have_no_room(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	resume_hardware(ctx);
	flush_with_others(test, BEHIND, 3, ALMOST_HALF);
	KUNIT_EXPECT_EQ(test, 1, others_end(ctx, QI_NO_ROOM));
	KUNIT_EXPECT_EQ(test, 1 + 2 * ALMOST_HALF, ctx->iotlb);
	KUNIT_EXPECT_EQ(test, 1, ctx->waits);
	expect_free(test, 0);
	/* Nor does this CPU's: it waits for room. */
	flush_with_others(test, IN_FRONT, 3, HALF);
	KUNIT_EXPECT_EQ(test, 1, others_end(ctx, QI_NO_ROOM));
	KUNIT_EXPECT_EQ(test, 1 + 2 * HALF, ctx->iotlb);
	KUNIT_EXPECT_EQ(test, 2, ctx->waits);
	expect_usable(test);
}

/* Hardware stops: all submissions are given up, and no CPU waits for ever. */
static void others_are_given_up(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	flush_with_others(test, BEHIND, 3, 1);
	KUNIT_EXPECT_EQ(test, 3, others_end(ctx, QI_COMPLETE));
	/* an IOTLB's, a device's and the others' */
	expect_free(test, 2 + 3 + 1);
	expect_usable(test);
}

/* A CPU that waits for one IOMMU does not hold slots of the other one. */
static void second_iommu_frees_slots(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	ctx->tail = iommu_reg(ctx->second, DMAR_IQT_REG);
	WRITE_ONCE(ctx->hw, HELD);
	flush(test, true);
	KUNIT_EXPECT_TRUE(test, ctx->early);
	KUNIT_EXPECT_EQ(test, 2, ctx->iotlb);
	expect_usable(test);
}

/*
 * Another CPU posts. It has been executed if hardware runs, and holds its
 * slots.
 */
static void post_other(struct kunit *test, unsigned int count)
{
	struct queue_test *ctx = test->priv;
	struct qi_submission *sub = &ctx->other[ctx->nr_others];
	ktime_t start = ktime_get();
	unsigned long flags;
	unsigned int i;

	for (i = 0; i < count; i++)
		qi_desc_iotlb(ctx->iommu, 2, 0, 0, DMA_TLB_DSI_FLUSH, &ctx->other_desc[i]);
	WRITE_ONCE(ctx->late, true);
	local_irq_save(flags);
	KUNIT_ASSERT_TRUE(test, qi_post(ctx->iommu, ctx->other_desc, count, sub));
	local_irq_restore(flags);
	WRITE_ONCE(ctx->nr_others, ctx->nr_others + 1);
	while (READ_ONCE(ctx->hw) == RUNNING &&
	       READ_ONCE(ctx->iommu->qi->desc_status[sub->wait_index]) == QI_IN_USE &&
	       ktime_ms_delta(ktime_get(), start) < PATIENCE_MS)
		cpu_relax();
}

/*
 * Hardware that has nothing to do has not stopped, however long others hold its
 * slots.
 */
static void waits_for_room_of_idle_queue(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	WRITE_ONCE(ctx->hw, RUNNING);
	post_other(test, ALMOST_HALF);
	post_other(test, ALMOST_HALF);
	KUNIT_EXPECT_TRUE(test, is_idle(ctx->iommu));
	KUNIT_EXPECT_EQ(test, 0, submit(test, ALMOST_HALF, 1));
	KUNIT_EXPECT_EQ(test, 2, others_end(ctx, QI_COMPLETE));
	expect_usable(test);
}

/* The head has wrapped around if slots have become free between two reads. */
static void waits_for_room_of_busy_queue(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	WRITE_ONCE(ctx->hw, RUNNING);
	post_other(test, ALMOST_HALF);
	WRITE_ONCE(ctx->hw, STOPPED);
	post_other(test, ALMOST_HALF);
	KUNIT_EXPECT_FALSE(test, is_idle(ctx->iommu));
	WRITE_ONCE(ctx->round, true);
	KUNIT_EXPECT_EQ(test, 0, submit(test, ALMOST_HALF, 1));
	KUNIT_EXPECT_EQ(test, 2, others_end(ctx, QI_COMPLETE));
	expect_usable(test);
}

/* A submission that was complete before a device timed out is not repeated. */
static void complete_is_not_aborted(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	resume_hardware(ctx);
	post_other(test, 2);
	WRITE_ONCE(ctx->hw, ABORTING);
	KUNIT_EXPECT_EQ(test, 0, submit(test, 3, 1));
	KUNIT_EXPECT_EQ(test, RUNNING, READ_ONCE(ctx->hw));
	WRITE_ONCE(ctx->late, false);
	KUNIT_EXPECT_EQ(test, 1, others_end(ctx, QI_COMPLETE));
	expect_usable(test);
}

/*
 * An aborted submission continues while the CPU that aborted it still holds the
 * lock.
 */
static void aborted_without_lock(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct qi_submission *sub = &ctx->other[0];
	unsigned long flags;
	int ret;

	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	post_other(test, 2);
	local_irq_save(flags);
	WRITE_ONCE(ctx->since, ktime_get());
	WRITE_ONCE(ctx->hw, MARKED);
	do {
		ret = qi_complete(sub);
	} while (ret == -EINPROGRESS);
	WRITE_ONCE(ctx->since, 0);
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, -EAGAIN, ret);
	KUNIT_EXPECT_FALSE(test, ctx->rescued);
	ctx->nr_others = 0;
	WRITE_ONCE(ctx->late, false);
	expect_usable(test);
}

/* A wait descriptor that hardware does not fetch is written again. */
static void invalid_wait_descriptor(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	WRITE_ONCE(ctx->hw, INVALID);
	KUNIT_EXPECT_EQ(test, -EINVAL, submit(test, 3, 1));
	KUNIT_EXPECT_EQ(test, RUNNING, READ_ONCE(ctx->hw));
	expect_usable(test);
}

/* If a console's driver unmapped now, it would wait for what this CPU holds. */
static void console_write(struct console *console, const char *text, unsigned int count)
{
	struct queue_test *ctx = console->data;

	if (current != ctx->task || in_hardirq() || !READ_ONCE(ctx->since))
		return;
	ctx->printed = true;
	ctx->printed_locked |= raw_spin_is_locked(&ctx->iommu->qi->q_lock);
}

/* Messages printed while a CPU's batch is in use reach consoles later. */
static void messages_are_deferred(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct qi_desc desc;

	ctx->task = current;
	ctx->console = (struct console) {
		.name	= "vtdq",
		.write	= console_write,
		.flags	= CON_ENABLED,
		.index	= -1,
		.data	= ctx,
	};
	register_console(&ctx->console);
	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	WRITE_ONCE(ctx->hw, SILENT);
	flush(test, true);
	KUNIT_EXPECT_FALSE(test, ctx->printed);
	KUNIT_EXPECT_NE(test, 0, ctx->time_outs);

	/* The same where nothing is in use but the lock */
	qi_desc_dev_iotlb(0x4000, 0, 1, 0, MAX_AGAW_PFN_WIDTH, &desc);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit_desc(test, &desc, 1));
	unregister_console(&ctx->console);
	KUNIT_EXPECT_FALSE(test, ctx->printed_locked);
	expect_usable(test);
}

/*
 * The driver's work, on the test's CPU: it waits for hardware with interrupts
 * disabled.
 */
static void block_here(struct work_struct *work)
{
	set_cpus_allowed_ptr(current, cpumask_of(cpumask_last(cpu_online_mask)));
	intel_iommu_block_work(work);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
}

/* Let the driver find the device when hardware names it. */
static void add_device(struct device_domain_info *info)
{
	rb_link_node(&info->node, NULL, &info->iommu->device_rbtree.rb_node);
	rb_insert_color(&info->node, &info->iommu->device_rbtree);
	INIT_WORK(&info->iommu->block_work, block_here);
}

/* The device becomes a PCI function that is present, with ATS. */
static struct pci_dev *make_pci(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct pci_dev *pdev = vtd_fake_pci_dev(test, ctx->dev);

	pci_write_config_dword(pdev, PCI_VENDOR_ID, 0x1de51234);
	pdev->ats_cap = PCI_ATS;
	pdev->ats_enabled = 1;
	ctx->dev = &pdev->dev;

	return pdev;
}

/* The IOMMU names the device, which does not answer. */
static struct device_domain_info *be_silent(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info;

	make_pci(test);
	info = dev_iommu_priv_get(ctx->dev);
	add_device(info);
	ctx->iommu->qi->stall_ms = PATIENCE_MS;
	WRITE_ONCE(ctx->hw, NAMED);

	return info;
}

static bool is_blocked(struct queue_test *ctx)
{
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	struct context_entry *table = phys_to_virt(ctx->iommu->root_entry[info->bus].lo &
						   VTD_PAGE_MASK);

	/* two for each device in scalable mode */
	return !context_present(&table[2 * info->devfn]);
}

/* Give up the device, for the domain on both IOMMUs. */
static void give_up(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	ctx->time_outs = 0;
	ctx->forgets = 0;
	flush(test, true);
	KUNIT_EXPECT_EQ(test, 2, ctx->time_outs);
	flush_work(&ctx->iommu->block_work);
}

/*
 * A device that has been given up is blocked, and delays no further submission.
 */
static void silent_device_is_blocked(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info = be_silent(test);
	unsigned int tail;

	KUNIT_EXPECT_FALSE(test, is_blocked(ctx));
	give_up(test);
	KUNIT_EXPECT_TRUE(test, is_blocked(ctx));
	KUNIT_EXPECT_EQ(test, FORGETS_CONTEXT | FORGETS_PASIDS | FORGETS_PAGES, ctx->forgets);

	flush(test, true);
	KUNIT_EXPECT_EQ(test, 2, ctx->iotlb);
	tail = reg(ctx, DMAR_IQT_REG);
	intel_pasid_flush_devtlb(ctx->dev, IOMMU_NO_PASID);
	intel_pasid_flush_devtlb(ctx->dev, 1);
	KUNIT_EXPECT_EQ(test, tail, reg(ctx, DMAR_IQT_REG));

	/* the IOMMU is still drained */
	init_waitqueue_head(&ctx->iommu->prq_handled);
	info->pri_enabled = true;
	ctx->descs = 0;
	intel_iommu_drain_pasid_prq(ctx->dev, IOMMU_NO_PASID, 1);
	intel_iommu_drain_pasid_prq(ctx->dev, 1, 1);
	info->pri_enabled = false;
	KUNIT_EXPECT_EQ(test, 2, ctx->descs);
	KUNIT_EXPECT_EQ(test, 2, ctx->time_outs);
	expect_usable(test);
}

/*
 * Another CPU has given up the device meanwhile: the next time-out is the last.
 */
static void silent_device_is_given_up_once(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info = be_silent(test);
	struct qi_desc desc;

	qi_desc_dev_iotlb(sid_of(ctx->dev), 0, 1, 0, MAX_AGAW_PFN_WIDTH, &desc);
	give_up(test);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit_desc(test, &desc, 1));
	KUNIT_EXPECT_EQ(test, 3, ctx->time_outs);
	KUNIT_EXPECT_TRUE(test, info->given_up);
	KUNIT_EXPECT_FALSE(test, info->block_pending);
	expect_usable(test);
}

/*
 * Time-outs are counted for each device. Devices that take turns are not waited
 * for without end.
 */
static void silent_devices_take_turns(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device *dev = vtd_fake_device(test, ctx->iommu, true);
	struct device_domain_info *info = be_silent(test), *other = dev_iommu_priv_get(dev);
	struct pci_dev *pdev = vtd_fake_pci_dev(test, dev);
	struct qi_desc desc[2];

	pci_write_config_dword(pdev, PCI_VENDOR_ID, 0x1de51234);
	ctx->other_sid = sid_of(dev);
	KUNIT_ASSERT_LT(test, sid_of(ctx->dev), ctx->other_sid);
	rb_link_node(&other->node, &info->node, &info->node.rb_right);
	rb_insert_color(&other->node, &ctx->iommu->device_rbtree);
	qi_desc_dev_iotlb(ctx->other_sid, 0, 1, 0, MAX_AGAW_PFN_WIDTH, &desc[0]);
	qi_desc_dev_iotlb(sid_of(ctx->dev), 0, 1, 0, MAX_AGAW_PFN_WIDTH, &desc[1]);

	WRITE_ONCE(ctx->turns, 1);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit_desc(test, desc, 2));
	KUNIT_EXPECT_EQ(test, 3, ctx->time_outs);
	KUNIT_EXPECT_TRUE(test, info->given_up);
	KUNIT_EXPECT_FALSE(test, other->given_up);
	flush_work(&ctx->iommu->block_work);

	info->given_up = false;
	ctx->time_outs = 0;
	WRITE_ONCE(ctx->turns, 9);
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT, submit_desc(test, desc, 2));
	KUNIT_EXPECT_EQ(test, 9, ctx->time_outs);
	KUNIT_EXPECT_TRUE(test, info->given_up);
	KUNIT_EXPECT_FALSE(test, other->given_up);
	flush_work(&ctx->iommu->block_work);
	expect_usable(test);
}

/*
 * A device in D3hot or behind a frozen channel cannot answer: it is not
 * blocked.
 */
static void device_without_power_is_not_blocked(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info = be_silent(test);
	struct pci_dev *pdev = to_pci_dev(ctx->dev);

	ctx->time_outs = 0;
	pdev->current_state = PCI_D3hot;
	flush(test, true);
	KUNIT_EXPECT_EQ(test, 1, ctx->time_outs);
	pdev->current_state = PCI_D0;
	pdev->error_state = pci_channel_io_frozen;
	flush(test, true);
	KUNIT_EXPECT_EQ(test, 2, ctx->time_outs);
	pdev->error_state = pci_channel_io_normal;
	KUNIT_EXPECT_FALSE(test, info->given_up);
	KUNIT_EXPECT_FALSE(test, is_blocked(ctx));
	expect_usable(test);
}

/* Other devices of the same domain answer, and are still invalidated. */
static void other_devices_are_invalidated(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device *other = vtd_fake_device(test, ctx->iommu, true);

	be_silent(test);
	KUNIT_ASSERT_EQ(test, 0, cache_tag_assign_domain(ctx->domain, other, 1));
	flush(test, false);
	KUNIT_EXPECT_EQ(test, 1, ctx->devtlb);
	KUNIT_EXPECT_EQ(test, 2, ctx->time_outs);
	flush_work(&ctx->iommu->block_work);
	flush(test, false);
	KUNIT_EXPECT_EQ(test, 1, ctx->devtlb);
	KUNIT_EXPECT_EQ(test, 2, ctx->time_outs);
	cache_tag_unassign_domain(ctx->domain, other, 1);
	expect_usable(test);
}

/*
 * A reset unblocks the device, with ATS; if it does not answer again, it is
 * blocked again.
 */
static void silent_device_is_reset(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info = be_silent(test);

	give_up(test);
	intel_iommu_ops.reset_prepare(ctx->dev);
	KUNIT_EXPECT_FALSE(test, to_pci_dev(ctx->dev)->ats_enabled);
	intel_iommu_ops.reset_done(ctx->dev);
	KUNIT_EXPECT_TRUE(test, to_pci_dev(ctx->dev)->ats_enabled);
	KUNIT_EXPECT_TRUE(test, info->ats_enabled);
	KUNIT_EXPECT_FALSE(test, is_blocked(ctx));
	give_up(test);
	KUNIT_EXPECT_TRUE(test, is_blocked(ctx));

	intel_iommu_ops.reset_prepare(ctx->dev);
	intel_iommu_ops.reset_done(ctx->dev);
	resume_hardware(ctx);
	flush(test, false);
	KUNIT_EXPECT_EQ(test, 1, ctx->devtlb);
	expect_usable(test);
}

static struct pci_dev *shares_entry(struct pci_dev *from, struct device *dev, u16 alias)
{
	struct queue_test *ctx = kunit_get_current_test()->priv;

	return pci_dev_get(to_pci_dev(ctx->dev));
}

/* Another device uses the same requester ID: its DMA continues. */
static void silent_device_shares_entry(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info = be_silent(test);

	kunit_activate_static_stub(test, intel_iommu_next_alias_user, shares_entry);
	info->block_pending = true;
	info->given_up = true;
	/* in the thread that has the stub */
	intel_iommu_block_work(&ctx->iommu->block_work);
	KUNIT_EXPECT_FALSE(test, info->block_pending);
	KUNIT_EXPECT_FALSE(test, info->given_up);
	KUNIT_EXPECT_FALSE(test, is_blocked(ctx));
	intel_iommu_ops.reset_prepare(ctx->dev);
	KUNIT_EXPECT_FALSE(test, is_blocked(ctx));
	intel_iommu_ops.reset_done(ctx->dev);
	expect_usable(test);
}

/*
 * A reset ends while the work still blocks the device: it is unblocked after
 * that.
 */
static void silent_device_is_reset_meanwhile(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info = be_silent(test);

	intel_iommu_ops.reset_prepare(ctx->dev);
	info->block_pending = true;
	info->given_up = true;
	queue_work(system_unbound_wq, &ctx->iommu->block_work);
	intel_iommu_ops.reset_done(ctx->dev);
	KUNIT_EXPECT_FALSE(test, info->given_up);
	flush_work(&ctx->iommu->block_work);
	KUNIT_EXPECT_FALSE(test, is_blocked(ctx));
	expect_usable(test);
}

static void queue_reset_done(void *dev)
{
	intel_iommu_ops.reset_done(dev);
}

/* A device is given up while its reset ends: it stays blocked until the next. */
static void silent_device_after_reset(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info = be_silent(test);
	struct vtd_fake_call *call;
	bool early;

	if (num_online_cpus() < 2)
		kunit_skip(test, "one CPU");
	call = kunit_kzalloc(test, sizeof(*call), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, call);
	info->ats_enabled = 1;
	intel_iommu_ops.reset_prepare(ctx->dev);
	scoped_guard(rcu) {
		/* As an invalidation: it waits for readers. */
		early = vtd_fake_call(call, queue_reset_done, ctx->dev);
		WRITE_ONCE(info->given_up, true);
	}
	flush_work(&call->work);
	KUNIT_EXPECT_FALSE(test, early);
	KUNIT_EXPECT_TRUE(test, is_blocked(ctx));

	intel_iommu_ops.reset_prepare(ctx->dev);
	intel_iommu_ops.reset_done(ctx->dev);
	KUNIT_EXPECT_FALSE(test, is_blocked(ctx));
	info->ats_enabled = 0;
	expect_usable(test);
}

/*
 * The work waits for hardware: the device is not released before the work is
 * done.
 */
static void silent_device_is_released(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info = be_silent(test);
	struct device *dev = ctx->dev;
	unsigned int tail;

	/* The driver frees its data: a copy, without the test's PASID table */
	rb_erase(&info->node, &ctx->iommu->device_rbtree);
	info = kmemdup(info, sizeof(*info), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, info);
	info->pasid_table = NULL;
	info->pasid_enabled = 0;
	info->ats_enabled = 0;
	info->block_pending = true;
	info->given_up = true;
	scoped_guard(mutex, &iommu_probe_device_lock)
		dev_iommu_priv_set(dev, info);
	add_device(info);

	WRITE_ONCE(ctx->hw, STOPPED);
	WRITE_ONCE(ctx->since, ktime_get());
	WRITE_ONCE(ctx->late, true);
	tail = reg(ctx, DMAR_IQT_REG);
	queue_work(system_unbound_wq, &ctx->iommu->block_work);
	while (reg(ctx, DMAR_IQT_REG) == tail && !READ_ONCE(ctx->rescued))
		usleep_range(100, 200);
	intel_iommu_ops.release_device(dev);
	KUNIT_EXPECT_FALSE(test, work_busy(&ctx->iommu->block_work));
	KUNIT_EXPECT_EQ(test, RUNNING, READ_ONCE(ctx->hw));
	WRITE_ONCE(ctx->since, 0);
	flush_work(&ctx->iommu->block_work);
	expect_usable(test);
}

static void block_later(struct work_struct *work)
{
	struct intel_iommu *iommu = container_of(work, struct intel_iommu, block_work);
	struct device_domain_info *info = rb_entry(iommu->device_rbtree.rb_node,
						   struct device_domain_info, node);

	mdelay(BLOCKED_MS);
	WRITE_ONCE(info->block_pending, false);
}

static void block_never(struct work_struct *work)
{
}

/*
 * Memory may be freed next: submitters wait until the device is blocked, but
 * not too long.
 */
static void waits_until_blocked(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct device_domain_info *info = be_silent(test);
	ktime_t start = ktime_get();
	bool pending;

	INIT_WORK(&ctx->iommu->block_work, block_later);
	KUNIT_EXPECT_TRUE(test, device_give_up(ctx->iommu, sid_of(ctx->dev), true));
	pending = READ_ONCE(info->block_pending);
	KUNIT_EXPECT_TRUE(test, !pending || ktime_ms_delta(ktime_get(), start) >= BLOCK_MS - 1);
	flush_work(&ctx->iommu->block_work);

	/* A caller that skips the device waits as well. */
	INIT_WORK(&ctx->iommu->block_work, block_never);
	info->block_pending = true;
	start = ktime_get();
	flush(test, false);
	KUNIT_EXPECT_GE(test, ktime_ms_delta(ktime_get(), start), BLOCK_MS - 1);
	start = ktime_get();
	qi_flush_dev_iotlb(ctx->iommu, sid_of(ctx->dev), 0, 1, 0, MAX_AGAW_PFN_WIDTH);
	KUNIT_EXPECT_GE(test, ktime_ms_delta(ktime_get(), start), BLOCK_MS - 1);
	KUNIT_EXPECT_EQ(test, 0, ctx->time_outs);
	info->block_pending = false;
	expect_usable(test);
}

/*
 * Entries that the model of the hardware has cached translate nothing any more,
 * and a domain that is attached next translates only after a reset. The model
 * does not block translated requests by the context entry: a guest's test does
 * that.
 */
static void blocked_device_reaches_nothing(struct kunit *test, u64 ecap)
{
	struct intel_iommu *iommu = vtd_fake_iommu(test, CAP_NESTING, ecap);
	struct device *dev = vtd_fake_device(test, iommu, false);
	struct dmar_domain *domain = vtd_fake_domain(test, dev, 0);
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	KUNIT_EXPECT_EQ(test, 0, iommu_map(&domain->domain, IOVA, PA, SZ_4K, RW, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, domain->domain.ops->attach_dev(&domain->domain, dev));
	vtd_fake_watch(test, dev, IOMMU_NO_PASID, IOVA);
	vtd_fake_expect(test, dev, IOMMU_NO_PASID, IOVA, PA);

	add_device(info);
	info->block_pending = true;
	info->given_up = true;
	intel_iommu_block_work(&iommu->block_work);
	KUNIT_EXPECT_FALSE(test, info->block_pending);
	vtd_fake_expect_gone(test, dev, IOMMU_NO_PASID, IOVA);
	device_block_translation(dev);
	KUNIT_EXPECT_EQ(test, 0, domain->domain.ops->attach_dev(&domain->domain, dev));
	vtd_fake_expect_gone(test, dev, IOMMU_NO_PASID, IOVA);

	intel_iommu_ops.reset_prepare(dev);
	intel_iommu_ops.reset_done(dev);
	vtd_fake_expect(test, dev, IOMMU_NO_PASID, IOVA, PA);
	KUNIT_EXPECT_EQ(test, SZ_4K, iommu_unmap(&domain->domain, IOVA, SZ_4K));
	vtd_fake_expect_gone(test, dev, IOMMU_NO_PASID, IOVA);
	device_block_translation(dev);
}

static void blocked_in_scalable_mode(struct kunit *test)
{
	blocked_device_reaches_nothing(test, ECAP_NESTING);
}

static void blocked_in_legacy_mode(struct kunit *test)
{
	blocked_device_reaches_nothing(test, LEGACY);
}

static void free_queue(struct intel_iommu *iommu)
{
	if (!iommu || !iommu->qi)
		return;
	iommu_free_pages(iommu->qi->desc, 1);
	kfree(iommu->qi->desc_status);
	kfree(iommu->qi);
	iommu->qi = NULL;
}

static void queue_exit(struct kunit *test)
{
	struct queue_test *ctx = test->priv;

	if (!ctx)
		return;
	/* It waits for hardware. */
	if (ctx->iommu && ctx->iommu->block_work.func)
		cancel_work_sync(&ctx->iommu->block_work);
	if (ctx->timer.function)
		hrtimer_cancel(&ctx->timer);
	free_queue(ctx->iommu);
	free_queue(ctx->second);
	if (ctx->domain) {
		domain_detach_iommu(ctx->domain, ctx->iommu);
		domain_detach_iommu(ctx->domain, ctx->second);
	}
}

/* Without a queue, so that nothing has to be executed meanwhile */
static void attach_devices(struct kunit *test)
{
	struct queue_test *ctx = test->priv;
	struct dmar_domain *domain;

	ctx->iommu = vtd_fake_iommu(test, CAP_NESTING, ECAP_NESTING);
	ctx->second = vtd_fake_iommu(test, CAP_NESTING, ECAP_NESTING);
	ctx->dev = vtd_fake_device(test, ctx->iommu, true);
	ctx->second_dev = vtd_fake_device(test, ctx->second, false);
	domain = vtd_fake_keep(test, intel_paging_domain_alloc(ctx->dev, false, 0));
	KUNIT_ASSERT_EQ(test, 0, domain_attach_iommu(domain, ctx->iommu));
	KUNIT_ASSERT_EQ(test, 0, domain_attach_iommu(domain, ctx->second));
	ctx->domain = domain;
	ctx->iommu->reg = (void __force __iomem *)vtd_fake_page(test);
	ctx->second->reg = (void __force __iomem *)vtd_fake_page(test);
}

static int queue_init(struct kunit *test)
{
	struct queue_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	int ret;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs a CPU for the hardware");
	ret = vtd_fake_init(test, ctx ? &ctx->fake : NULL);
	if (ret)
		return ret;

	attach_devices(test);
	kunit_activate_static_stub(test, qi_read_fault, read_fault);
	ret = set_cpus_allowed_ptr(current, cpumask_of(cpumask_last(cpu_online_mask)));
	if (ret)
		return ret;
	hrtimer_init(&ctx->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	ctx->timer.function = hardware;
	ret = smp_call_function_single(cpumask_first(cpu_online_mask), start_hardware, ctx, true);
	if (ret)
		return ret;
	KUNIT_ASSERT_EQ(test, 0, dmar_enable_qi(ctx->iommu));
	KUNIT_ASSERT_EQ(test, 0, dmar_enable_qi(ctx->second));
	ctx->iommu->qi->stall_ms = STALL_MS;

	return 0;
}

static struct kunit_case queue_cases[] = {
	KUNIT_CASE(stops_and_resumes),
	KUNIT_CASE(resumes_partially),
	KUNIT_CASE(error_of_given_up_submission),
	KUNIT_CASE_SLOW(slow_descriptors),
	KUNIT_CASE(queue_is_full),
	KUNIT_CASE(queue_is_set_up_again),
	KUNIT_CASE(silent_device_is_not_named),
	KUNIT_CASE(registers_are_read_rarely),
	KUNIT_CASE(completes_without_lock),
	KUNIT_CASE_SLOW(interrupt_submits),
	KUNIT_CASE(two_iommus),
	KUNIT_CASE(silent_device_on_two_iommus),
	KUNIT_CASE(order_is_kept),
	KUNIT_CASE(few_wait_descriptors),
	KUNIT_CASE(two_batches_are_aborted),
	KUNIT_CASE(flush_without_room),
	KUNIT_CASE(others_share_wait),
	KUNIT_CASE(others_are_aborted),
	KUNIT_CASE(others_have_no_room),
	KUNIT_CASE(others_are_given_up),
	KUNIT_CASE(second_iommu_frees_slots),
	KUNIT_CASE(waits_for_room_of_idle_queue),
	KUNIT_CASE(waits_for_room_of_busy_queue),
	KUNIT_CASE(complete_is_not_aborted),
	KUNIT_CASE(aborted_without_lock),
	KUNIT_CASE(invalid_wait_descriptor),
	KUNIT_CASE(messages_are_deferred),
	KUNIT_CASE(silent_device_is_blocked),
	KUNIT_CASE(silent_device_is_given_up_once),
	KUNIT_CASE(silent_devices_take_turns),
	KUNIT_CASE(device_without_power_is_not_blocked),
	KUNIT_CASE(other_devices_are_invalidated),
	KUNIT_CASE(silent_device_is_reset),
	KUNIT_CASE(silent_device_is_reset_meanwhile),
	KUNIT_CASE(silent_device_after_reset),
	KUNIT_CASE(silent_device_shares_entry),
	KUNIT_CASE(silent_device_is_released),
	KUNIT_CASE(waits_until_blocked),
	KUNIT_CASE(blocked_in_scalable_mode),
	KUNIT_CASE(blocked_in_legacy_mode),
	{}
};

static struct kunit_suite queue_suite = {
	.name = "intel-iommu-queue",
	.init = queue_init,
	.exit = queue_exit,
	.test_cases = queue_cases,
};

kunit_test_suite(queue_suite);
