// SPDX-License-Identifier: GPL-2.0-only
/*
 * Demand-paged HWPTs, and the devices that are attached to them. See
 * demand_private.h.
 */

#include <linux/iommu.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "demand_private.h"
#include "iommufd_private.h"

/* Workers of a device on each node */
#define DEMAND_WORKERS		128

/* Destroys queues, which waits for their workers */
static struct workqueue_struct *demand_free_wq;

/*
 * Queues that are being destroyed. A user who keeps workers waiting must not
 * get more of them by opening the device again and again.
 */
static LIST_HEAD(demand_dying);
static DEFINE_SPINLOCK(demand_dying_lock);
static DECLARE_WAIT_QUEUE_HEAD(demand_dying_wait);

#define DEMAND_MAX_DYING	4	/* queues of a device */

/**
 * iommufd_demand_alloc() - make a HWPT demand-paged
 * @hwpt: the HWPT, with its domain, not part of its IOAS yet
 *
 * Context: may sleep; the mutex of the IOAS is held.
 *
 * Return: 0; -EOPNOTSUPP if its driver cannot page on demand, or cannot report
 * the requests that it stops; -ENOMEM.
 */
int iommufd_demand_alloc(struct iommufd_hwpt_paging *hwpt)
{
	struct iommu_domain *domain = hwpt->common.domain;
	struct iopf_client client = {
		.reports = IOPF_REPORT_FLAT,
		.flags = IOPF_CLIENT_NO_GPASID,
		.handler = iommufd_demand_iopf_handler,
		.data = &hwpt->common,
	};
	struct iommufd_demand *demand;
	int rc;

	if (!domain->ops->prealloc_tables || WARN_ON_ONCE(!domain->ops->is_writable))
		return -EOPNOTSUPP;

	demand = kzalloc(sizeof(*demand), GFP_KERNEL_ACCOUNT);
	if (!demand)
		return -ENOMEM;

	demand->hwpt = hwpt;
	demand->iopt = &hwpt->ioas->iopt;
	demand->domain = domain;
	demand->nest_parent = hwpt->nest_parent;
	kref_init(&demand->kref);
	init_rwsem(&demand->live);
	mutex_init(&demand->mutex);
	INIT_LIST_HEAD(&demand->faults);

	if (hwpt->nest_parent)
		client.reports |= IOPF_REPORT_NESTED_L2;
	rc = iopf_register(domain, NULL, &client);
	if (rc) {
		kfree(demand);
		return rc;
	}

	hwpt->demand = demand;
	return 0;
}

/**
 * iommufd_demand_free() - undo iommufd_demand_alloc()
 * @demand: it has left its IOAS, and nothing is attached to its HWPT
 *
 * Context: may sleep. Workers may still wait for the process; they no longer
 * use HWPT or IOAS.
 */
void iommufd_demand_free(struct iommufd_demand *demand)
{
	scoped_guard(rwsem_write, &demand->live)
		demand->dead = true;
	iommufd_demand_put(demand);
}

static int demand_check_tolerance(struct device *dev, void *unused)
{
	return iommu_dev_fault_tolerant(dev) ? 0 : -EPERM;
}

static int demand_check_device(struct iommufd_device *idev)
{
	if (!device_iommu_capable(idev->dev, IOMMU_CAP_IOPF_FLAT))
		return -EOPNOTSUPP;

	return iommu_group_for_each_dev(idev->igroup->group, NULL, demand_check_tolerance);
}

/**
 * iommufd_demand_capable() - may all memory of a device be paged on demand?
 * @idev: the device
 *
 * Context: may sleep.
 *
 * Return: true if its page requests can be reported, and its driver declares
 * that it tolerates faults on all its DMA. The drivers of all devices of its
 * group have to, as they are attached with it.
 */
bool iommufd_demand_capable(struct iommufd_device *idev)
{
	return !demand_check_device(idev);
}

static bool demand_group_is_attached(struct iommufd_group *igroup)
{
	struct iommufd_pasid_attach *attach;
	unsigned long pasid;

	lockdep_assert_held(&igroup->lock);

	if (igroup->hwpt && hwpt_demand(igroup->hwpt))
		return true;
	xa_for_each(&igroup->pasid_attach, pasid, attach) {
		if (hwpt_demand(attach->hwpt))
			return true;
	}

	return false;
}

/**
 * iommufd_demand_check_bind() - may a device be bound?
 * @igroup: its group
 * @dev: the device
 *
 * Other devices of the group may be attached to a demand-paged HWPT. What
 * the group is attached to translates @dev, too, even if it is not attached
 * itself. An attach has checked all devices of the group, but one may have got
 * another driver since, or joined the group.
 *
 * Context: may sleep.
 *
 * Return: 0; -EPERM if the group is attached to a demand-paged HWPT, and the
 * driver of @dev does not declare that it tolerates faults.
 */
int iommufd_demand_check_bind(struct iommufd_group *igroup, struct device *dev)
{
	guard(mutex)(&igroup->lock);
	if (iommu_dev_fault_tolerant(dev) || !demand_group_is_attached(igroup))
		return 0;

	return -EPERM;
}

static void demand_queue_free_work(struct work_struct *work)
{
	struct demand_queue *queue = container_of(work, struct demand_queue, free_work);

	destroy_workqueue(queue->wq);
	spin_lock(&demand_dying_lock);
	list_del(&queue->node);
	spin_unlock(&demand_dying_lock);
	wake_up_all(&demand_dying_wait);
	kfree(queue);
}

static bool demand_too_many_die(struct device *dev)
{
	struct demand_queue *queue;
	unsigned int nr = 0;

	spin_lock(&demand_dying_lock);
	list_for_each_entry(queue, &demand_dying, node)
		nr += queue->dev == dev;
	spin_unlock(&demand_dying_lock);

	return nr >= DEMAND_MAX_DYING;
}

static struct demand_queue *demand_queue_alloc(struct device *dev)
{
	struct demand_queue *queue;

	/* Workers that are not stuck end soon, and with them their queues. */
	if (wait_event_killable_timeout(demand_dying_wait, !demand_too_many_die(dev),
					HZ) <= 0)
		return ERR_PTR(-EBUSY);

	queue = kzalloc(sizeof(*queue), GFP_KERNEL_ACCOUNT);
	if (!queue)
		return ERR_PTR(-ENOMEM);

	queue->dev = dev;
	queue->wq = alloc_workqueue("iommufd_demand_%s", WQ_UNBOUND, DEMAND_WORKERS,
				    dev_name(dev));
	if (!queue->wq) {
		kfree(queue);
		return ERR_PTR(-ENOMEM);
	}
	/* Else the nodes would share the limit, each by its number of CPUs. */
	workqueue_set_min_active(queue->wq, DEMAND_WORKERS);
	INIT_WORK(&queue->free_work, demand_queue_free_work);

	return queue;
}

/**
 * iommufd_demand_prepare_attach() - prepare a device for an attach to a HWPT
 * @hwpt: the HWPT
 * @idev: the device
 *
 * A device whose memory is paged on demand gets its own queue with workers, and
 * keeps it: late pages of one device do not delay others. (With one for each
 * HWPT, a user could make the kernel allocate memory that is charged to
 * nobody.)
 *
 * Context: may sleep, and waits up to a second for workers of former users; the
 * group's lock is held.
 *
 * Return: 0; if memory that @hwpt translates to is paged on demand: -EOPNOTSUPP
 * if page requests of the device cannot be reported, -EPERM if it, or another
 * one of its group, does not tolerate faults; -EBUSY if workers of former users
 * of the device still wait for their processes after that second, or a signal
 * has killed the caller; -ENOMEM.
 */
int iommufd_demand_prepare_attach(struct iommufd_hw_pagetable *hwpt,
				  struct iommufd_device *idev)
{
	int rc;

	if (!hwpt_demand(hwpt))
		return 0;
	rc = demand_check_device(idev);
	if (rc)
		return rc;
	if (!idev->demand_queue) {
		struct demand_queue *queue = demand_queue_alloc(idev->dev);

		if (IS_ERR(queue))
			return PTR_ERR(queue);
		/* Pairs with demand_enqueue(). */
		smp_store_release(&idev->demand_queue, queue);
	}

	return 0;
}

/*
 * @idev has been detached and is about to be freed. Its workers may take
 * longer.
 */
void iommufd_demand_release_device(struct iommufd_device *idev)
{
	struct demand_queue *queue = idev->demand_queue;

	if (!queue)
		return;
	spin_lock(&demand_dying_lock);
	list_add(&queue->node, &demand_dying);
	spin_unlock(&demand_dying_lock);
	queue_work(demand_free_wq, &queue->free_work);
}

/**
 * iommufd_demand_init() - initialize when the module is loaded
 *
 * Return: 0 or -ENOMEM.
 */
int __init iommufd_demand_init(void)
{
	/* Each work waits for workers: one user's must not delay those of others. */
	demand_free_wq = alloc_workqueue("iommufd_demand_free", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!demand_free_wq)
		return -ENOMEM;
	workqueue_set_min_active(demand_free_wq, WQ_MAX_ACTIVE);

	return 0;
}

/* When the module is unloaded; waits for all workers */
void iommufd_demand_exit(void)
{
	destroy_workqueue(demand_free_wq);
}
