// SPDX-License-Identifier: GPL-2.0
/*
 * A user of MMU notifiers that takes its time. Writing "START-END" (hexadecimal) to the
 * parameter hold delays every invalidation of the writing process that touches this range,
 * until 0 is written, or the first of them has waited for LONGEST. The parameter waiting is
 * the number of invalidations that are delayed now.
 */
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/wait.h>

#define LONGEST		(20 * HZ)

static DECLARE_WAIT_QUEUE_HEAD(released);
static unsigned long start, end;
static bool registered;

static atomic_t waiting_now = ATOMIC_INIT(0);

static bool touches(const struct mmu_notifier_range *range)
{
	return range->start < READ_ONCE(end) && range->end > READ_ONCE(start);
}

static void release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	WRITE_ONCE(end, 0);
	wake_up_all(&released);
}

static int invalidate_range_start(struct mmu_notifier *notifier,
				  const struct mmu_notifier_range *range)
{
	if (!touches(range))
		return 0;
	if (!mmu_notifier_range_blockable(range))
		return -EAGAIN;
	atomic_inc(&waiting_now);
	if (!wait_event_timeout(released, !touches(range), LONGEST))
		release(notifier, notifier->mm);
	atomic_dec(&waiting_now);
	return 0;
}

static const struct mmu_notifier_ops ops = {
	.invalidate_range_start = invalidate_range_start,
	.release = release,
};

static struct mmu_notifier notifier = { .ops = &ops };

static void stop(void)
{
	release(&notifier, NULL);
	if (registered)
		mmu_notifier_unregister(&notifier, notifier.mm);
	registered = false;
}

/* Parameters are written one at a time. */
static int set_hold(const char *value, const struct kernel_param *unused)
{
	unsigned long from, to;
	int ret;

	stop();
	if (sscanf(value, "%lx-%lx", &from, &to) != 2)
		return 0;
	WRITE_ONCE(start, from);
	WRITE_ONCE(end, to);
	ret = mmu_notifier_register(&notifier, current->mm);
	registered = !ret;
	return ret;
}

static int get_waiting(char *buffer, const struct kernel_param *unused)
{
	return sysfs_emit(buffer, "%d\n", atomic_read(&waiting_now));
}

static const struct kernel_param_ops hold = { .set = set_hold };
static const struct kernel_param_ops waiting = { .get = get_waiting };
module_param_cb(hold, &hold, NULL, 0200);
module_param_cb(waiting, &waiting, NULL, 0444);

static void __exit slow_notifier_exit(void)
{
	stop();
}
module_exit(slow_notifier_exit);

static int __init slow_notifier_init(void)
{
	return 0;
}
module_init(slow_notifier_init);

MODULE_DESCRIPTION("MMU notifiers that take as long as a test wants");
MODULE_LICENSE("GPL");
