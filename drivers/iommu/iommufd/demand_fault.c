// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page requests of demand-paged HWPTs, and the workers that serve them. See
 * demand_private.h.
 */

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "demand_private.h"
#include "iommufd_private.h"

/*
 * How long a worker serves a group of requests, including waits for user space.
 * Afterwards the device repeats the requests that are left.
 */
#define DEMAND_TIMEOUT		HZ

/*
 * When requests are answered without a worker: it has not reacted to the
 * signal, or none has been free.
 */
#define DEMAND_EXPIRY		(DEMAND_TIMEOUT + HZ / 4)

/*
 * Delay of an answer that makes the device repeat a request, for lack of memory
 * or of workers. Short, as the worker cannot serve others meanwhile. Without a
 * worker there is no delay: the page-request thread serves all devices.
 */
#define DEMAND_PAUSE		max(HZ / 100, 1)

/* A page request may be stopped at each table of the guest, and at the page. */
#define DEMAND_ROUNDS		8

/*
 * Tables of a domain that a block may lack: after so many, there is no memory.
 */
#define DEMAND_LEVELS		5

/* Groups of a device that wait for a worker, or have one */
#define DEMAND_MAX_FAULTS	(2 * IOPF_MAX_REQUESTS)

static void demand_wake(struct demand_fault *fault)
{
	send_sig(SIGKILL, fault->sleeper, 1);
}

static void demand_timeout(struct timer_list *timer)
{
	demand_wake(container_of(timer, struct demand_fault, timer));
}

/*
 * From here on the worker may wait for user space, and demand_wake() ends that:
 * all its waits are killable. False if the group has been answered before.
 */
static bool demand_sleep_begin(struct demand_fault *fault)
{
	guard(mutex)(&fault->demand->mutex);
	if (!fault->group)
		return false;

	allow_kernel_signal(SIGKILL);
	fault->sleeper = current;
	mod_timer(&fault->timer, fault->give_up);
	return true;
}

static void demand_sleep_end(struct demand_fault *fault)
{
	timer_delete_sync(&fault->timer);

	guard(mutex)(&fault->demand->mutex);
	fault->sleeper = NULL;
	disallow_signal(SIGKILL);	/* and forget it */
}

/*
 * Map @iova for accesses by @prot. -EBUSY if the page is late and the worker
 * must not wait for it. -EINTR if that takes too long, as user space does not
 * deliver the page or the process keeps changing the mapping, or the request
 * was answered.
 */
static int demand_serve(struct demand_fault *fault, unsigned long iova, int prot)
{
	bool write = prot & IOMMU_WRITE, alone = false;
	unsigned int reclaims = DEMAND_LEVELS;
	struct demand_slice *slice;
	int rc;

	if (!demand_sleep_begin(fault))
		return -EINTR;

	do {
		slice = iommufd_demand_slice_get(fault->demand, iova, prot);
		if (IS_ERR(slice)) {
			rc = PTR_ERR(slice);
			break;
		}
		rc = iommufd_demand_page(fault, slice, iova, write, alone, &reclaims);
		iommufd_demand_slice_put(slice);
		/*
		 * A single page takes less time, so that it succeeds before the
		 * next notifier.
		 */
		alone = true;
		cond_resched();
	} while (rc == -EAGAIN && !fatal_signal_pending(current));

	if (rc == -ENOMEM || (rc == -EBUSY && fault->patient))
		schedule_timeout_killable(DEMAND_PAUSE);
	/* Killed reads and charges return other errors. */
	if (rc && fatal_signal_pending(current))
		rc = -EINTR;
	demand_sleep_end(fault);

	return rc;
}

/*
 * Return the first request of the group that this HWPT still stops, or NULL.
 * Drop the requests that it does not stop: they are served, or the device
 * repeats them for another level.
 */
static struct iopf_fault *demand_next(struct demand_fault *fault, struct iopf_stop *stop)
{
	struct iopf_group *group = fault->group;
	struct iopf_fault *iopf, *next;

	lockdep_assert_held(&fault->demand->mutex);

	list_for_each_entry_safe(iopf, next, &group->faults, list) {
		iopf_stop_again(group, iopf, stop);
		if (stop->domain == fault->demand->domain &&
		    (stop->level == IOPF_LEVEL_FLAT || stop->level == IOPF_LEVEL_2))
			return iopf;
		if (stop->level == IOPF_LEVEL_REFUSED)
			fault->code = IOMMU_PAGE_RESP_INVALID;
		iopf_group_drop(group, iopf);
	}

	return NULL;
}

/* Record the result of a request. */
static void demand_result(struct demand_fault *fault, struct iopf_fault *iopf,
			  const struct iopf_stop *stop, int rc)
{
	switch (rc) {
	case 0:
		/* Another table of the guest may be missing. */
		if (stop->level == IOPF_LEVEL_2)
			return;
		break;
	case -ENOENT:
		if (!fault->demand->hwpt->common.fault) {
			fault->code = IOMMU_PAGE_RESP_INVALID;
			break;
		}
		iopf->fault.prm.addr = stop->addr;
		iopf->fault.prm.perm = stop->perm;
		list_move_tail(&iopf->list, &fault->for_user);
		return;
	case -EBUSY:
		if (!fault->patient) {
			list_move_tail(&iopf->list, &fault->late);
			return;
		}
		break;
	case -EINTR:
	case -ENOMEM:
		/* The device repeats it. */
		break;
	case -ENOSPC:
		dev_warn_ratelimited(fault->queue->dev,
				     "page request refused: the domain has too many page tables\n");
		fallthrough;
	default:
		fault->code = IOMMU_PAGE_RESP_INVALID;
	}

	iopf_group_drop(fault->group, iopf);
}

/*
 * When to give up the next request. Those that may wait for userfaultfd share
 * the time that is left, so that userfaultfd learns of all of them.
 */
static unsigned long demand_give_up(struct demand_fault *fault)
{
	unsigned long now = jiffies, nr = 1;

	lockdep_assert_held(&fault->demand->mutex);

	if (fault->patient)
		nr = list_count_nodes(&fault->group->faults);
	if (time_before(now, fault->deadline))
		return now + DIV_ROUND_UP(fault->deadline - now, nr);

	return now;
}

/*
 * Is a worker still busy with this block although its request is answered? If
 * it is stuck, each repetition of the request would tie up another worker.
 */
static bool demand_block_is_stuck(const struct demand_fault *fault)
{
	const struct demand_fault *other;

	lockdep_assert_held(&fault->demand->mutex);

	list_for_each_entry(other, &fault->demand->faults, node) {
		if (!other->group && other->block == fault->block)
			return true;
	}

	return false;
}

/*
 * Serve one request of the group once. Returns false if there is nothing left
 * to serve, or the time is up.
 */
static bool demand_round(struct demand_fault *fault)
{
	struct iommufd_demand *demand = fault->demand;
	struct iopf_fault *iopf;
	struct iopf_stop stop;
	int prot = 0, rc;
	bool stuck;

	scoped_guard(mutex, &demand->mutex) {
		if (!fault->group)
			return false;
		iopf = demand_next(fault, &stop);
		if (!iopf)
			return false;
		fault->give_up = demand_give_up(fault);
		fault->block = stop.addr >> DEMAND_BLOCK_SHIFT;
		stuck = demand_block_is_stuck(fault);
	}

	if (stop.perm & (IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_EXEC))
		prot |= IOMMU_READ;
	if (stop.perm & IOMMU_FAULT_PERM_WRITE)
		prot |= IOMMU_WRITE;
	/*
	 * The guest's tables are read there, and mappings have to be writable.
	 */
	if (demand->nest_parent)
		prot = IOMMU_READ | IOMMU_WRITE;
	if (stuck) {
		if (!fault->paused)
			schedule_timeout_uninterruptible(DEMAND_PAUSE);
		fault->paused = true;
		rc = -EINTR;
	} else {
		rc = demand_serve(fault, ALIGN_DOWN(stop.addr, PAGE_SIZE), prot);
	}

	guard(mutex)(&demand->mutex);
	if (!fault->group)
		return false;
	demand_result(fault, iopf, &stop, rc);
	return time_before(jiffies, fault->deadline);
}

/* Serve all requests of the group. */
static void demand_pass(struct demand_fault *fault)
{
	unsigned int rounds = 0, most;

	scoped_guard(mutex, &fault->demand->mutex)
		most = fault->group ? fault->group->fault_count * DEMAND_ROUNDS : 0;
	while (rounds++ < most && demand_round(fault))
		;
}

/*
 * Serve the group in two passes: late pages must not delay others, so only the
 * second pass waits for userfaultfd.
 */
static void demand_serve_group(struct demand_fault *fault)
{
	demand_pass(fault);
	scoped_guard(mutex, &fault->demand->mutex) {
		if (!fault->group || list_empty(&fault->late))
			return;
		list_splice_tail_init(&fault->late, &fault->group->faults);
	}
	fault->patient = true;
	demand_pass(fault);
}

/*
 * Answer the group, or pass what only the user can serve to the user's queue.
 */
static void demand_finish(struct demand_fault *fault)
{
	struct iommufd_demand *demand = fault->demand;
	struct iopf_fault *iopf, *next;
	struct iopf_group *group;

	guard(mutex)(&demand->mutex);
	list_del(&fault->node);
	group = fault->group;
	if (!group)
		return;

	/* demand_expire() may wait for the mutex. */
	fault->group = NULL;
	if (list_empty(&fault->for_user)) {
		iopf_group_response(group, fault->code);
		iopf_free_group(group);
		return;
	}

	list_for_each_entry_safe(iopf, next, &group->faults, list)
		iopf_group_drop(group, iopf);
	list_splice_init(&fault->for_user, &group->faults);
	iopf_group_mark_last(group);
	iopf_group_note(group, fault->code);
	iommufd_fault_deliver(demand->hwpt->common.fault, group);
}

static void demand_release(struct kref *kref)
{
	kfree(container_of(kref, struct iommufd_demand, kref));
}

/**
 * iommufd_demand_put() - drop a reference to a HWPT's demand paging
 * @demand: the demand paging
 */
void iommufd_demand_put(struct iommufd_demand *demand)
{
	kref_put(&demand->kref, demand_release);
}

static void demand_work(struct work_struct *work)
{
	struct demand_fault *fault = container_of(work, struct demand_fault, work);
	struct iommufd_demand *demand = fault->demand;

	fault->deadline = jiffies + DEMAND_TIMEOUT;
	fault->pfns = kmalloc_array(DEMAND_BLOCK_PAGES, sizeof(*fault->pfns), GFP_KERNEL);
	if (fault->pfns)
		demand_serve_group(fault);
	else
		schedule_timeout_uninterruptible(DEMAND_PAUSE);
	demand_finish(fault);
	cancel_delayed_work_sync(&fault->expire);
	atomic_dec(&fault->queue->nr_faults);
	kfree(fault->pfns);
	kfree(fault);
	iommufd_demand_put(demand);
}

/* Answer the group. Its worker notices and ends. */
static void demand_fault_forget(struct demand_fault *fault,
				enum iommu_page_response_code code)
{
	lockdep_assert_held(&fault->demand->mutex);

	list_splice_init(&fault->late, &fault->group->faults);
	list_splice_init(&fault->for_user, &fault->group->faults);
	iopf_group_response(fault->group, code);
	iopf_free_group(fault->group);
	fault->group = NULL;
	if (fault->sleeper)
		demand_wake(fault);
}

/*
 * No worker has answered in time: all are busy, or the worker waits where no
 * signal ends the wait, for swap or for other notifiers. Have the device repeat
 * its requests.
 */
static void demand_expire(struct work_struct *work)
{
	struct demand_fault *fault = container_of(to_delayed_work(work), struct demand_fault,
						  expire);

	guard(mutex)(&fault->demand->mutex);
	if (fault->group)
		demand_fault_forget(fault, IOMMU_PAGE_RESP_SUCCESS);
}

/*
 * Pass the group to a worker. -EINVAL if no attached device has made it, -EBUSY
 * if the device is just being attached, or if its queue is full of groups that
 * are answered, but whose workers have not noticed yet.
 */
static int demand_enqueue(struct iommufd_demand *demand, struct demand_fault *fault)
{
	struct iommufd_device *idev;

	/*
	 * Detach removes the device first, and then drops its groups under the
	 * mutex.
	 */
	guard(mutex)(&demand->mutex);
	idev = iommufd_fault_requester(fault->group);
	if (!idev)
		return -EINVAL;
	/* The second device of a group: see iommufd_hw_pagetable_attach(). */
	fault->queue = smp_load_acquire(&idev->demand_queue);
	if (!fault->queue ||
	    !atomic_add_unless(&fault->queue->nr_faults, 1, DEMAND_MAX_FAULTS))
		return -EBUSY;

	kref_get(&demand->kref);
	list_add_tail(&fault->node, &demand->faults);
	queue_delayed_work(system_unbound_wq, &fault->expire, DEMAND_EXPIRY);
	queue_work(fault->queue->wq, &fault->work);
	return 0;
}

/* As when the IOMMU's queue overflows: the device repeats its requests. */
static void demand_have_repeated(struct iopf_group *group)
{
	iopf_group_response(group, IOMMU_PAGE_RESP_SUCCESS);
	iopf_free_group(group);
}

/**
 * iommufd_demand_iopf_handler() - &iopf_client.handler of demand-paged HWPTs
 * @group: page requests that the HWPT has stopped
 *
 * Context: the page-request thread of the IOMMU; may sleep.
 *
 * Return: 0 if @group has been taken, else -EINVAL.
 */
int iommufd_demand_iopf_handler(struct iopf_group *group)
{
	struct iommufd_hw_pagetable *hwpt = group->domain->fault_data;
	struct iommufd_demand *demand = to_hwpt_paging(hwpt)->demand;
	struct demand_fault *fault;
	int rc;

	/* See iommufd_demand_alloc(): guest PASIDs cannot be bound. */
	if (WARN_ON_ONCE(group->attach_handle->gpasid))
		return -EINVAL;

	fault = kzalloc(sizeof(*fault), GFP_KERNEL);
	if (!fault) {
		demand_have_repeated(group);
		return 0;
	}

	INIT_WORK(&fault->work, demand_work);
	timer_setup(&fault->timer, demand_timeout, 0);
	INIT_DELAYED_WORK(&fault->expire, demand_expire);
	INIT_LIST_HEAD(&fault->late);
	INIT_LIST_HEAD(&fault->for_user);
	fault->demand = demand;
	fault->group = group;
	fault->patient = list_is_singular(&group->faults);
	fault->code = IOMMU_PAGE_RESP_SUCCESS;
	fault->block = ULONG_MAX;
	rc = demand_enqueue(demand, fault);
	if (rc)
		kfree(fault);
	if (rc != -EBUSY)
		return rc;

	demand_have_repeated(group);
	return 0;
}

/**
 * iommufd_demand_drop_faults() - answer page requests that are being served
 * @demand: the HWPT's demand paging
 * @handle: the attachment that they were made for
 * @idev: or only those of this device, if not NULL
 *
 * The attachment has ended, or @idev has left it, so that no new requests
 * arrive. A device that is still attached got another HWPT by a replace: it
 * repeats its requests.
 *
 * Context: may sleep, but does not wait for user space.
 */
void iommufd_demand_drop_faults(struct iommufd_demand *demand,
				struct iommufd_attach_handle *handle,
				struct iommufd_device *idev)
{
	struct demand_fault *fault;

	guard(mutex)(&demand->mutex);
	list_for_each_entry(fault, &demand->faults, node) {
		if (fault->group && iommufd_fault_concerns(fault->group, handle, idev))
			demand_fault_forget(fault, iommufd_fault_requester(fault->group) ?
					    IOMMU_PAGE_RESP_SUCCESS :
					    IOMMU_PAGE_RESP_INVALID);
	}
}
