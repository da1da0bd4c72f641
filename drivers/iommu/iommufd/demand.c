// SPDX-License-Identifier: GPL-2.0-only
/*
 * Demand paging: HWPTs that pin nothing and follow the pages of the process.
 *
 * The IOAS records what the user has mapped. A demand-paged HWPT starts empty. When a
 * device hits a hole it makes a page request; a worker faults the page in and maps
 * it. When the process loses a page (swap, migration, madvise, munmap, fork, ...), an
 * MMU notifier unmaps it.
 *
 * Each area of the IOAS is cut at every GiB of IOVA. Such a slice has an interval
 * notifier and a mutex, which orders its maps against its notifier. As slices are
 * disjoint and no large page crosses one, the holder of the mutex also owns the range, as
 * the page tables require.
 *
 * Locks, outermost first:
 *
 *   demand::live
 *	Held for reading while a worker looks for an area, which keeps the IOAS alive.
 *   iopt::domains_rwsem, iopt::iova_rwsem
 *	The set of demand-paged HWPTs, the areas, and the slices of each. Users that pin
 *	hold them while they fault in pages, so workers wait for iova_rwsem killably.
 *   mm::mmap_lock
 *	While a worker faults in and looks up pages. It holds no other lock then.
 *   slice::lock
 *	Maps and notifiers. While a worker holds it, the area cannot be removed, which
 *	keeps the HWPT and its domain. Reclaim calls notifiers, so nothing is reclaimed
 *	under it: tables are allocated by GFP_NOWAIT, before the first map
 *	(iommu_domain_ops::prealloc_tables), and unmapping a part of a large page uses
 *	the table that was deposited for it. If there is no memory for a table, the
 *	worker drops the lock, reclaims, and starts again.
 *
 *   demand::mutex
 *	Page requests that are being served. Under it, nothing waits for memory or for
 *	user space.
 *
 * No stale translations: a worker maps a page that it has looked up only if no notifier
 * has run since; it checks that under slice::lock. A later notifier waits for the mutex
 * and unmaps; an earlier one has made the sequence number stale. iommu_unmap()
 * invalidates IOTLB and device TLBs and, on VT-d, waits for software walks of a guest's
 * tables through the second level, see nested_walk_wait(). If a device does not answer an
 * invalidation, the IOMMU driver blocks it until its reset, if it can.
 *
 * No other code waits for a worker, which may have to wait for the process: for a page that
 * userfaultfd has yet to deliver, for mmap_lock, for pinning by another HWPT of the IOAS,
 * and for other notifiers to end. It holds none of the locks then (except demand::live, for
 * which only destroying the HWPT waits, after the detach), and uses neither HWPT nor IOAS.
 * Detaching answers the request without waiting for the worker, which notices later;
 * DEMAND_TIMEOUT ends the waits, and the device repeats its request. Both send the worker
 * a signal, as most waits are killable. No signal ends other waits, such as those for swap
 * or for other notifiers: DEMAND_EXPIRY answers the request without the worker, and until
 * that has come back, the device repeats requests for the same block. A work item destroys
 * the queue, so that closing a device does not wait, either.
 *
 * Removing a notifier waits for all other notifiers of the process. Unmapping an area and
 * destroying a HWPT therefore drop the locks of the IOAS first. Only if a map or the
 * allocation of a HWPT fails, its notifiers are removed with the locks held.
 */

#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/interval_tree.h>
#include <linux/iommu.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/userfaultfd_k.h>
#include <linux/workqueue.h>

#include "demand.h"
#include "io_pagetable.h"
#include "iommufd_private.h"

/* An aligned block, the range of a page table: the most that is looked up and mapped at once */
#define DEMAND_BLOCK_SHIFT	21
#define DEMAND_BLOCK_SIZE	BIT(DEMAND_BLOCK_SHIFT)
#define DEMAND_BLOCK_PAGES	(DEMAND_BLOCK_SIZE / PAGE_SIZE)

/* How much fresh memory is faulted in at once around a page */
#define DEMAND_AROUND		SZ_64K

#define DEMAND_SLICE_SHIFT	30
#define DEMAND_SLICE_SIZE	BIT(DEMAND_SLICE_SHIFT)
#define DEMAND_SLICE_BLOCKS	BIT(DEMAND_SLICE_SHIFT - DEMAND_BLOCK_SHIFT)

/*
 * How long a worker serves a group of requests, including waits for user space.
 * Afterwards the device repeats the requests that are left.
 */
#define DEMAND_TIMEOUT		HZ

/*
 * After which the requests are answered without the worker: it waits in spite of a signal, or
 * there was none.
 */
#define DEMAND_EXPIRY		(DEMAND_TIMEOUT + HZ / 4)

/*
 * How long the answer to a request is delayed that the device repeats for lack of memory or
 * of workers: short, as it keeps a worker from requests for other pages. Without a worker,
 * the answer is not delayed: the page-request thread must not sleep for one device.
 */
#define DEMAND_PAUSE		max(HZ / 100, 1)

/* A page request may be stopped at each table of the guest, and at the page. */
#define DEMAND_ROUNDS		8

/* Tables of a domain that a block may lack: after so many, there is no memory. */
#define DEMAND_LEVELS		5

/*
 * Workers of a device on each node. Only some of a device's workers may wait for userfaultfd,
 * so that requests for other pages are served meanwhile. Beyond that, the device repeats
 * requests for late pages.
 */
#define DEMAND_WORKERS		128
#define DEMAND_LATE_WORKERS	32

/* Groups of a device that wait for a worker, or have one */
#define DEMAND_MAX_FAULTS	(2 * IOPF_MAX_REQUESTS)

/*
 * Limit for the areas of a process times the demand-paged HWPTs that they are in. A page may
 * be in all of them, and reclaim has to unmap it from each.
 */
#define DEMAND_MAX_AREAS	32768

/* How many there are, by the address of the process's mm */
static DEFINE_XARRAY_FLAGS(demand_areas, XA_FLAGS_ACCOUNT);

/* At most one GiB of an area, in one demand-paged HWPT */
struct demand_slice {
	struct mmu_interval_notifier notifier;
	struct demand_area *area;
	unsigned long iova;
	unsigned long last_iova;
	struct mutex lock;		/* maps and notifiers */
	bool going;			/* under @lock: nothing is mapped any more */
	/* Blocks that may have something mapped; under @lock */
	DECLARE_BITMAP(used, DEMAND_SLICE_BLOCKS);
};

/* An area in one demand-paged HWPT */
struct demand_area {
	struct kref kref;
	struct list_head node;		/* of iopt_area::demand_areas */
	struct iommufd_demand *demand;	/* until it is unmapped */
	struct iopt_pages *pages;
	int prot;
	unsigned int nr_slices;		/* that have a notifier */
	struct demand_slice slices[];
};

struct iommufd_demand {
	struct list_head node;		/* of io_pagetable::demands */
	struct kref kref;		/* the HWPT, and workers until they end */
	struct iommufd_hwpt_paging *hwpt;
	struct io_pagetable *iopt;
	struct iommu_domain *domain;
	bool nest_parent;
	struct rw_semaphore live;
	bool dead;			/* under @live: @hwpt, @iopt and @domain are gone */
	struct mutex mutex;		/* of @faults and their state */
	struct list_head faults;	/* struct demand_fault */
};

/* The workers of a device */
struct demand_queue {
	struct workqueue_struct *wq;
	struct device *dev;
	struct list_head node;		/* of demand_dying */
	struct work_struct free_work;
	atomic_t nr_faults;
	atomic_t nr_late;		/* workers that may wait for userfaultfd */
};

/* Destroys queues, which waits for their workers */
static struct workqueue_struct *demand_free_wq;

/*
 * Queues that are being destroyed. A user who keeps workers waiting must not get more of
 * them by opening the device again and again.
 */
static LIST_HEAD(demand_dying);
static DEFINE_MUTEX(demand_dying_mutex);

#define DEMAND_MAX_DYING	4	/* queues of a device */

/* A group of page requests that a worker serves */
struct demand_fault {
	struct work_struct work;
	struct list_head node;
	struct iommufd_demand *demand;
	struct demand_queue *queue;
	/* Under demand::mutex: */
	struct iopf_group *group;	/* NULL once it has been answered */
	struct task_struct *sleeper;	/* the worker, while it may wait for user space */
	struct timer_list timer;	/* ends the wait */
	struct delayed_work expire;	/* answers if the worker does not */
	struct list_head late;		/* requests that the first pass has left */
	struct list_head for_user;	/* requests where the user has mapped nothing */
	unsigned long block;		/* that the worker serves, ULONG_MAX before */
	/* Used by the worker only: */
	unsigned long deadline;		/* in jiffies, for the group */
	unsigned long give_up;		/* the same for the request that is being served */
	bool patient;			/* may wait for userfaultfd */
	bool paused;			/* for a block where a worker is stuck */
	unsigned long *pfns;
	enum iommu_page_response_code code;
};

/* Slices */

static unsigned long demand_slice_va(const struct demand_slice *slice, unsigned long iova)
{
	return slice->notifier.interval_tree.start + (iova - slice->iova);
}

static unsigned long demand_slice_iova(const struct demand_slice *slice, unsigned long va)
{
	return slice->iova + (va - slice->notifier.interval_tree.start);
}

static unsigned int demand_block(const struct demand_slice *slice, unsigned long iova)
{
	return (iova & (DEMAND_SLICE_SIZE - 1)) >> DEMAND_BLOCK_SHIFT;
}

/*
 * Unmap @iova to @last. Most pages that a process loses were never used by a device, so
 * skip blocks that map nothing, without an invalidation.
 */
static void demand_unmap(struct demand_slice *slice, unsigned long iova, unsigned long last)
{
	unsigned int first = demand_block(slice, iova), end = demand_block(slice, last) + 1;
	struct iommu_domain *domain;

	lockdep_assert_held(&slice->lock);

	if (find_next_bit(slice->used, end, first) >= end)
		return;

	/*
	 * Splitting a large page takes the table that was deposited for it. If that fails
	 * nevertheless, unmap everything that the page may cover: the device asks again.
	 */
	domain = slice->area->demand->domain;
	if (iommu_unmap(domain, iova, last - iova + 1) != last - iova + 1) {
		iova = max(slice->iova, ALIGN_DOWN(iova, DEMAND_BLOCK_SIZE));
		last = min(slice->last_iova, last | (DEMAND_BLOCK_SIZE - 1));
		WARN_ON_ONCE(iommu_unmap(domain, iova, last - iova + 1) !=
			     last - iova + 1);
	}

	if (iova != slice->iova && !IS_ALIGNED(iova, DEMAND_BLOCK_SIZE))
		first++;
	if (last != slice->last_iova && !IS_ALIGNED(last + 1, DEMAND_BLOCK_SIZE))
		end--;
	if (first < end)
		bitmap_clear(slice->used, first, end - first);
}

static bool demand_invalidate(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct demand_slice *slice = container_of(notifier, struct demand_slice, notifier);
	unsigned long start = max(range->start, notifier->interval_tree.start);
	unsigned long last = min(range->end - 1, notifier->interval_tree.last);

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&slice->lock);
	else if (!mutex_trylock(&slice->lock))
		return false;

	mmu_interval_set_seq(notifier, seq);
	demand_unmap(slice, demand_slice_iova(slice, start), demand_slice_iova(slice, last));
	mutex_unlock(&slice->lock);

	return true;
}

static const struct mmu_interval_notifier_ops demand_notifier_ops = {
	.invalidate = demand_invalidate,
};

/*
 * Count an area of @mm. The allocation may wait, even for other processes of the cgroup, so
 * no lock of all processes is held over it.
 */
static int demand_charge_area(struct mm_struct *mm)
{
	void *old, *entry;
	unsigned long nr;

	do {
		old = xa_load(&demand_areas, (unsigned long)mm);
		nr = old ? xa_to_value(old) : 0;
		if (nr >= DEMAND_MAX_AREAS)
			return -ENOSPC;
		entry = xa_cmpxchg(&demand_areas, (unsigned long)mm, old,
				   xa_mk_value(nr + 1), GFP_KERNEL_ACCOUNT);
		if (xa_is_err(entry))
			return xa_err(entry);
	} while (entry != old);

	return 0;
}

static void demand_uncharge_area(struct mm_struct *mm)
{
	unsigned long nr;
	void *old;

	do {
		old = xa_load(&demand_areas, (unsigned long)mm);
		nr = xa_to_value(old) - 1;
		/* Allocates nothing, as there is an entry. */
	} while (xa_cmpxchg(&demand_areas, (unsigned long)mm, old,
			    nr ? xa_mk_value(nr) : NULL, 0) != old);
}

static void demand_area_release(struct kref *kref)
{
	struct demand_area *darea = container_of(kref, struct demand_area, kref);

	iopt_put_pages(darea->pages);
	kvfree(darea);
}

static void demand_area_put(struct demand_area *darea)
{
	kref_put(&darea->kref, demand_area_release);
}

/*
 * Unmap @darea. No worker can find it any more. Workers that wait for user space hold none
 * of the locks.
 *
 * All slices share an invalidation. Until it is complete, the process may lose pages that
 * hardware has still cached: so the marks of used blocks stay until then, by which the
 * notifiers unmap and invalidate as ever. Afterwards, notifiers do nothing.
 */
static void demand_area_unmap(struct demand_area *darea)
{
	struct iommu_domain *domain = darea->demand->domain;
	struct iommu_iotlb_gather gather;
	unsigned int i;

	iommu_iotlb_gather_init(&gather);
	for (i = 0; i < darea->nr_slices; i++) {
		struct demand_slice *slice = &darea->slices[i];
		size_t size = slice->last_iova - slice->iova + 1;

		mutex_lock(&slice->lock);
		slice->going = true;
		if (!bitmap_empty(slice->used, DEMAND_SLICE_BLOCKS))
			WARN_ON_ONCE(iommu_unmap_fast(domain, slice->iova, size,
						      &gather) != size);
		mutex_unlock(&slice->lock);
		cond_resched();
	}
	iommu_iotlb_sync(domain, &gather);

	for (i = 0; i < darea->nr_slices; i++) {
		struct demand_slice *slice = &darea->slices[i];

		guard(mutex)(&slice->lock);
		bitmap_zero(slice->used, DEMAND_SLICE_BLOCKS);
	}
}

/*
 * Remove the notifiers of @darea, which has been unmapped, and drop the list's reference.
 * Waits for other notifiers of the process, such as those of a fork, which may take long.
 * The HWPT may be gone.
 */
static void demand_area_free(struct demand_area *darea)
{
	unsigned int i;

	for (i = 0; i < darea->nr_slices; i++)
		mmu_interval_notifier_remove(&darea->slices[i].notifier);
	demand_uncharge_area(darea->pages->source_mm);
	demand_area_put(darea);
}

static int demand_slice_init(struct demand_area *darea, struct iopt_area *area,
			     unsigned long iova)
{
	struct demand_slice *slice = &darea->slices[darea->nr_slices];
	unsigned long va = (unsigned long)darea->pages->uptr +
			   iopt_area_start_byte(area, iova);
	int rc;

	slice->area = darea;
	slice->iova = iova;
	slice->last_iova = min(iopt_area_last_iova(area), iova | (DEMAND_SLICE_SIZE - 1));
	mutex_init(&slice->lock);

	rc = mmu_interval_notifier_insert(&slice->notifier, darea->pages->source_mm, va,
					  slice->last_iova - iova + 1, &demand_notifier_ops);
	if (!rc)
		darea->nr_slices++;
	return rc;
}

static int demand_area_fill(struct demand_area *darea, struct iopt_area *area)
{
	unsigned long iova = iopt_area_iova(area), last = iopt_area_last_iova(area);
	int rc;

	for (;;) {
		rc = demand_slice_init(darea, area, iova);
		if (rc)
			return rc;
		if (darea->slices[darea->nr_slices - 1].last_iova == last)
			return 0;
		iova = darea->slices[darea->nr_slices - 1].last_iova + 1;
		cond_resched();
	}
}

static struct demand_area *demand_area_create(struct iommufd_demand *demand,
					      struct iopt_area *area, struct iopt_pages *pages)
{
	unsigned long iova = iopt_area_iova(area), last = iopt_area_last_iova(area);
	unsigned long nr = (last >> DEMAND_SLICE_SHIFT) - (iova >> DEMAND_SLICE_SHIFT) + 1;
	unsigned long uptr = (unsigned long)pages->uptr;
	struct demand_area *darea;
	int rc;

	/* Mappings of a nest parent have to be writable: erratum 772415. */
	if (demand->nest_parent && !(area->iommu_prot & IOMMU_WRITE))
		return ERR_PTR(-EINVAL);
	/* Notifiers are found by the address without a tag. */
	if (uptr > TASK_SIZE || pages->npages * PAGE_SIZE > TASK_SIZE - uptr)
		return ERR_PTR(-EFAULT);
	rc = demand_charge_area(pages->source_mm);
	if (rc)
		return ERR_PTR(rc);

	darea = kvzalloc(struct_size(darea, slices, nr),
			 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!darea) {
		demand_uncharge_area(pages->source_mm);
		return ERR_PTR(-ENOMEM);
	}

	kref_init(&darea->kref);
	darea->demand = demand;
	darea->prot = area->iommu_prot;
	darea->pages = pages;
	kref_get(&pages->kref);

	/* A notifier can only be put into an mm that has users. */
	rc = -EFAULT;
	if (mmget_not_zero(pages->source_mm)) {
		rc = demand_area_fill(darea, area);
		mmput_async(pages->source_mm);
	}
	if (rc) {
		demand_area_unmap(darea);
		demand_area_free(darea);
		return ERR_PTR(rc);
	}

	return darea;
}

/**
 * iopt_demand_add_area() - let demand-paged HWPTs map an area
 * @area: the area, which has no pages yet
 * @pages: its pages
 *
 * Context: may sleep; iopt::domains_rwsem is held for reading.
 *
 * Return: 0 or a negative errno, with nothing changed.
 */
int iopt_demand_add_area(struct iopt_area *area, struct iopt_pages *pages)
{
	struct io_pagetable *iopt = area->iopt;
	struct iommufd_demand *demand;
	struct demand_area *darea;

	lockdep_assert_held(&iopt->domains_rwsem);

	list_for_each_entry(demand, &iopt->demands, node) {
		darea = demand_area_create(demand, area, pages);
		if (IS_ERR(darea)) {
			iopt_demand_remove_area(area);
			return PTR_ERR(darea);
		}
		list_add(&darea->node, &area->demand_areas);
	}

	return 0;
}

/**
 * iopt_demand_unmap_area() - unmap an area from all demand-paged HWPTs
 * @area: the area, which has lost its pages: no worker can find it
 * @unmapped: list of what iopt_demand_free_areas() has to free
 *
 * Context: may sleep; iopt::domains_rwsem is held for reading.
 */
void iopt_demand_unmap_area(struct iopt_area *area, struct list_head *unmapped)
{
	struct demand_area *darea;

	list_for_each_entry(darea, &area->demand_areas, node)
		demand_area_unmap(darea);
	list_splice_init(&area->demand_areas, unmapped);
}

/**
 * iopt_demand_free_areas() - remove the notifiers of areas that have been unmapped
 * @unmapped: list of these
 *
 * Context: may sleep, and waits for other notifiers of the process, so that no lock of the
 * IOAS should be held.
 */
void iopt_demand_free_areas(struct list_head *unmapped)
{
	struct demand_area *darea, *next;

	list_for_each_entry_safe(darea, next, unmapped, node)
		demand_area_free(darea);
}

/**
 * iopt_demand_remove_area() - undo iopt_demand_add_area()
 * @area: the area
 *
 * Context: may sleep; iopt::domains_rwsem is held for reading.
 */
void iopt_demand_remove_area(struct iopt_area *area)
{
	LIST_HEAD(unmapped);

	iopt_demand_unmap_area(area, &unmapped);
	iopt_demand_free_areas(&unmapped);
}

static void demand_unmap_areas(struct io_pagetable *iopt, struct iommufd_demand *demand,
			       struct list_head *unmapped)
{
	struct demand_area *darea, *next;
	struct iopt_area *area;

	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX)) {
		list_for_each_entry_safe(darea, next, &area->demand_areas, node) {
			if (darea->demand != demand)
				continue;
			demand_area_unmap(darea);
			list_move(&darea->node, unmapped);
		}
	}
}

/**
 * iopt_demand_add() - let a demand-paged HWPT map all areas of an IOAS
 * @iopt: the IOAS
 * @demand: the HWPT's demand paging
 *
 * Context: may sleep; iopt's two semaphores are held for writing.
 *
 * Return: 0 or a negative errno, with nothing changed.
 */
int iopt_demand_add(struct io_pagetable *iopt, struct iommufd_demand *demand)
{
	struct demand_area *darea;
	struct iopt_area *area;
	LIST_HEAD(unmapped);

	lockdep_assert_held_write(&iopt->domains_rwsem);

	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX)) {
		if (!area->pages)
			continue;
		darea = demand_area_create(demand, area, area->pages);
		if (IS_ERR(darea)) {
			demand_unmap_areas(iopt, demand, &unmapped);
			iopt_demand_free_areas(&unmapped);
			return PTR_ERR(darea);
		}
		list_add(&darea->node, &area->demand_areas);
	}
	list_add(&demand->node, &iopt->demands);

	return 0;
}

/**
 * iopt_demand_remove() - undo iopt_demand_add()
 * @iopt: the IOAS
 * @demand: the HWPT's demand paging; nothing is attached to the HWPT
 * @unmapped: list of what iopt_demand_free_areas() has to free
 *
 * Context: may sleep; iopt's two semaphores are held for writing.
 */
void iopt_demand_remove(struct io_pagetable *iopt, struct iommufd_demand *demand,
			struct list_head *unmapped)
{
	lockdep_assert_held_write(&iopt->domains_rwsem);

	list_del(&demand->node);
	demand_unmap_areas(iopt, demand, unmapped);
}

/* With all areas gone, nobody uses the domains' tables; see iopt_free_empty_tables(). */
void iopt_demand_free_empty_tables(struct io_pagetable *iopt)
{
	struct iommufd_demand *demand;

	list_for_each_entry(demand, &iopt->demands, node)
		iommu_free_empty_tables(demand->domain);
}

static struct demand_slice *demand_slice_find(struct iommufd_demand *demand,
					      unsigned long iova, int prot)
{
	struct demand_area *darea;
	struct iopt_area *area;
	unsigned int i;

	lockdep_assert_held(&demand->iopt->iova_rwsem);

	area = iopt_area_iter_first(demand->iopt, iova, iova);
	if (!area || !area->pages)
		return ERR_PTR(-ENOENT);
	if (prot & ~area->iommu_prot)
		return ERR_PTR(-EPERM);

	list_for_each_entry(darea, &area->demand_areas, node) {
		if (darea->demand != demand)
			continue;
		i = (iova >> DEMAND_SLICE_SHIFT) - (iopt_area_iova(area) >> DEMAND_SLICE_SHIFT);
		kref_get(&darea->kref);
		return &darea->slices[i];
	}

	return ERR_PTR(-ENOENT);
}

/*
 * Return the slice for @iova, with a reference. -ENOENT if the user has mapped nothing
 * there, -EPERM if the mapping does not allow all of @prot, -EINTR if the HWPT has gone, or
 * if the wait was ended: the holder of the locks may pin pages, and wait for user space.
 */
static struct demand_slice *demand_slice_get(struct iommufd_demand *demand,
					     unsigned long iova, int prot)
{
	struct demand_slice *slice = ERR_PTR(-EINTR);

	if (down_read_killable(&demand->live))
		return slice;
	if (!demand->dead && !down_read_killable(&demand->iopt->iova_rwsem)) {
		slice = demand_slice_find(demand, iova, prot);
		up_read(&demand->iopt->iova_rwsem);
	}
	up_read(&demand->live);

	return slice;
}

/* Faults */

static void demand_wake(struct demand_fault *fault)
{
	send_sig(SIGKILL, fault->sleeper, 1);
}

static void demand_timeout(struct timer_list *timer)
{
	demand_wake(container_of(timer, struct demand_fault, timer));
}

/*
 * From here on the worker may wait for user space, and demand_wake() ends that: all its
 * waits are killable. False if the group has been answered before.
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
 * May a device access this VMA? Memory only: faulting in a file may make its file system
 * wait for user space, and no signal can end that wait. Secret memory, which not even the
 * kernel may access, is a file, too.
 */
static bool demand_vma_ok(struct vm_area_struct *vma, bool write)
{
	if (!vma || !(vma->vm_flags & VM_READ) || (write && !(vma->vm_flags & VM_WRITE)))
		return false;
	if (vma->vm_flags & (VM_IO | VM_PFNMAP | VM_SHADOW_STACK))
		return false;

	return vma_is_anonymous(vma) ||
	       is_vm_hugetlb_page(vma) ||
	       (vma->vm_file && shmem_mapping(vma->vm_file->f_mapping));
}

/*
 * Have a fault return instead of wait. Only a first try does so, and keeps mmap_lock: a
 * fault that was tried before would sleep, and drop the lock when it is killed.
 */
static unsigned int demand_nowait(unsigned int flags)
{
	return (flags & ~FAULT_FLAG_TRIED) | FAULT_FLAG_RETRY_NOWAIT;
}

/*
 * May @pages be faulted in that no device has asked for? They must not reach a limit of the
 * cgroup. Next to a page that was @swapped in, they may evict others, like the pages of swap
 * readahead, while there is swap space for these. A hint: others allocate meanwhile.
 */
#ifdef CONFIG_MEMCG
static bool demand_has_margin(unsigned long pages, bool swapped)
{
	struct mem_cgroup *memcg;

	for (memcg = current->active_memcg; memcg; memcg = parent_mem_cgroup(memcg)) {
		unsigned long used = page_counter_read(&memcg->memory) + pages;

		if (used > READ_ONCE(memcg->memory.high))
			return false;
		if (used <= READ_ONCE(memcg->memory.max))
			continue;
		if (!swapped || get_nr_swap_pages() < (long)pages ||
		    page_counter_read(&memcg->swap) + pages > READ_ONCE(memcg->swap.max))
			return false;
	}

	return true;
}
#else
static bool demand_has_margin(unsigned long pages, bool swapped)
{
	return true;
}
#endif

/*
 * Which of the @nr pages from @va on are present? For a @write, the zero page is not. A
 * hint: nobody keeps them there.
 */
static void demand_present(struct demand_fault *fault, struct demand_slice *slice,
			   unsigned long va, unsigned int nr, bool write,
			   unsigned long *present)
{
	struct hmm_range range = {
		.notifier = &slice->notifier,
		.notifier_seq = READ_ONCE(slice->notifier.invalidate_seq),
		.start = va,
		.end = va + nr * PAGE_SIZE,
		.hmm_pfns = fault->pfns,
	};
	unsigned int i;

	memset(fault->pfns, 0, nr * sizeof(*fault->pfns));
	bitmap_fill(present, nr);
	if (hmm_range_fault(&range))
		return;
	for (i = 0; i < nr; i++) {
		unsigned long pfn = fault->pfns[i];

		if (!(pfn & (HMM_PFN_VALID | HMM_PFN_ERROR)) ||
		    (write && is_zero_pfn(pfn & ~HMM_PFN_FLAGS)))
			__clear_bit(i, present);
	}
}

/*
 * Fault in pages around @va that are not present: otherwise, a device would make a request
 * for each page. They need a margin, and take no time that the worker does not have.
 * Skipped if userfaultfd may handle the fault, or if the process expects no accesses to
 * neighbours (MADV_RANDOM).
 */
static void demand_fault_around(struct demand_fault *fault, struct demand_slice *slice,
				struct vm_area_struct *vma, unsigned long va,
				unsigned int flags, bool swapped)
{
	unsigned long start = ALIGN_DOWN(va, DEMAND_AROUND), end = start + DEMAND_AROUND;
	DECLARE_BITMAP(present, DEMAND_AROUND / PAGE_SIZE);
	unsigned int i, nr;

	if (is_vm_hugetlb_page(vma) || userfaultfd_armed(vma) || (vma->vm_flags & VM_RAND_READ))
		return;
	if (!demand_has_margin(DEMAND_AROUND / PAGE_SIZE, swapped))
		return;

	start = max3(start, vma->vm_start, slice->notifier.interval_tree.start);
	end = min3(end, vma->vm_end, slice->notifier.interval_tree.last + 1);
	nr = (end - start) >> PAGE_SHIFT;
	demand_present(fault, slice, start, nr, flags & FAULT_FLAG_WRITE, present);
	for_each_clear_bit(i, present, nr) {
		/* Other workers fault in pages, too. */
		if (fatal_signal_pending(current) ||
		    !demand_has_margin(DEMAND_AROUND / PAGE_SIZE, swapped))
			return;
		if (handle_mm_fault(vma, start + i * PAGE_SIZE, demand_nowait(flags), NULL) &
		    (VM_FAULT_ERROR | VM_FAULT_RETRY))
			return;
	}
}

/* May the worker wait for userfaultfd? Then it counts in @nr_late until it has done so. */
static bool demand_late_begin(struct demand_fault *fault)
{
	return fault->patient &&
	       atomic_add_unless(&fault->queue->nr_late, 1, DEMAND_LATE_WORKERS);
}

/*
 * Fault in the page at @va, as an access by the CPU would. -EINTR if that takes too long,
 * -EBUSY if it would have to wait for userfaultfd, but must not. Sets *@late, if not set, and
 * counts the worker when userfaultfd may handle the fault. fixup_user_fault() cannot be
 * used: it takes mmap_lock again uninterruptibly.
 */
static int demand_fault_in(struct demand_fault *fault, struct demand_slice *slice,
			   unsigned long va, bool write, bool *late)
{
	unsigned int flags = FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY |
			     FAULT_FLAG_KILLABLE | (write ? FAULT_FLAG_WRITE : 0);
	struct mm_struct *mm = slice->notifier.mm;
	struct vm_area_struct *vma;
	vm_fault_t result;

	do {
		if (mmap_read_lock_killable(mm))
			return -EINTR;

		result = VM_FAULT_SIGSEGV;
		vma = vma_lookup(mm, va);
		if (!demand_vma_ok(vma, write))
			break;
		if (userfaultfd_armed(vma) && !*late) {
			*late = demand_late_begin(fault);
			if (!*late)
				flags = demand_nowait(flags);
		}

		result = handle_mm_fault(vma, va, flags, NULL);
		/* A completed fault has dropped the lock, as faults of file pages may. */
		if (result & VM_FAULT_COMPLETED) {
			if (mmap_read_lock_killable(mm))
				return -EINTR;
			vma = vma_lookup(mm, va);
			if (!demand_vma_ok(vma, write))
				result = VM_FAULT_SIGSEGV;
			break;
		}
		if (flags & FAULT_FLAG_RETRY_NOWAIT)
			break;
		flags |= FAULT_FLAG_TRIED;
	} while ((result & VM_FAULT_RETRY) && !fatal_signal_pending(current));

	if (!(flags & FAULT_FLAG_RETRY_NOWAIT) && (result & VM_FAULT_RETRY))
		return -EINTR;
	if (!(result & (VM_FAULT_ERROR | VM_FAULT_RETRY)))
		demand_fault_around(fault, slice, vma, va, flags, result & VM_FAULT_MAJOR);
	mmap_read_unlock(mm);

	if (result & VM_FAULT_RETRY)
		return -EBUSY;
	return result & VM_FAULT_ERROR ? vm_fault_to_errno(result, 0) : 0;
}

static int demand_fix_up(struct demand_fault *fault, struct demand_slice *slice,
			 unsigned long va, bool write)
{
	bool late = false;
	int rc;

	rc = demand_fault_in(fault, slice, va, write, &late);
	if (late)
		atomic_dec(&fault->queue->nr_late);

	return rc;
}

/* The range that is looked up around a page */
struct demand_window {
	unsigned long iova;
	unsigned long va;
	unsigned int nr;	/* pages */
	unsigned int asked;	/* index of the requested page */
};

/*
 * Set up a window: the part of the block around @iova that lies in one slice and in one
 * VMA, or with @alone only the page. -EFAULT if the device must not access the VMA.
 */
static int demand_window_init(struct demand_window *window, struct demand_slice *slice,
			      unsigned long iova, bool write, bool alone)
{
	unsigned long size = alone ? PAGE_SIZE : DEMAND_BLOCK_SIZE;
	unsigned long start = max(slice->iova, ALIGN_DOWN(iova, size));
	unsigned long last = min(slice->last_iova, iova | (size - 1));
	unsigned long va = demand_slice_va(slice, start);
	unsigned long end = demand_slice_va(slice, last) + 1;
	struct vm_area_struct *vma;

	vma = vma_lookup(slice->notifier.mm, demand_slice_va(slice, iova));
	if (!demand_vma_ok(vma, write))
		return -EFAULT;

	va = max(va, vma->vm_start);
	end = min(end, vma->vm_end);
	window->va = va;
	window->iova = demand_slice_iova(slice, va);
	window->nr = (end - va) >> PAGE_SHIFT;
	window->asked = (iova - window->iova) >> PAGE_SHIFT;

	return 0;
}

/*
 * Look up the pages of @window. -EAGAIN if the requested page is not present, or @write is
 * set and it is not writable. Called with mmap_lock held.
 */
static int demand_look_up(struct demand_fault *fault, struct demand_slice *slice,
			  const struct demand_window *window, bool write,
			  unsigned long seq)
{
	struct hmm_range range = {
		.notifier = &slice->notifier,
		.notifier_seq = seq,
		.hmm_pfns = fault->pfns,
	};
	unsigned long asked;
	int rc;

	memset(fault->pfns, 0, window->nr * sizeof(*fault->pfns));
	range.start = window->va;
	range.end = window->va + ((unsigned long)window->nr << PAGE_SHIFT);
	rc = hmm_range_fault(&range);
	if (rc)
		return rc == -EBUSY ? -EAGAIN : -EFAULT;

	asked = fault->pfns[window->asked];
	if (asked & HMM_PFN_ERROR)
		return -EFAULT;
	if (!(asked & HMM_PFN_VALID) || (write && !(asked & HMM_PFN_WRITE)))
		return -EAGAIN;

	return 0;
}

/* Number of contiguous pages from @i on that one call can map */
static unsigned int demand_run(const unsigned long *pfns, unsigned int i, unsigned int nr)
{
	const unsigned long mask = HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_ERROR |
				   ~HMM_PFN_FLAGS;
	unsigned int n = 1;

	while (i + n < nr && (pfns[i + n] & mask) == (pfns[i] & mask) + n)
		n++;

	return n;
}

/* Number of unmapped pages at the start of @nr pages from @iova on */
static unsigned int demand_free_run(struct iommu_domain *domain, unsigned long iova,
				    unsigned int nr)
{
	unsigned int n = 1;

	while (n < nr && !iommu_iova_to_phys(domain, iova + n * PAGE_SIZE))
		n++;

	return n;
}

/*
 * CPUs do not notice a device's writes, so mark each page dirty that is mapped writable.
 * The notifier waits for slice::lock: nobody cleans or frees the page before it is marked.
 */
static void demand_mark_dirty(unsigned long pfn, unsigned int nr)
{
	struct page *page = hmm_pfn_to_page(pfn);
	unsigned int i = 0;

	while (i < nr) {
		struct folio *folio = page_folio(page + i);

		folio_mark_dirty(folio);
		i += folio_nr_pages(folio) - folio_page_idx(folio, page + i);
	}
}

/*
 * Pages that the process has marked by MADV_FREE are discarded if they are clean. Map them
 * read-only for a read. A write makes all pages of the window dirty, or each page of a buffer
 * would take a request; so does a read with other pages, for a device that reads and then
 * writes.
 */
static void demand_keep_clean(unsigned long *pfns, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct folio *folio;

		if (!(pfns[i] & HMM_PFN_VALID) || !(pfns[i] & HMM_PFN_WRITE))
			continue;
		folio = page_folio(hmm_pfn_to_page(pfns[i]));
		if (folio_test_anon(folio) && !folio_test_swapbacked(folio))
			pfns[i] &= ~HMM_PFN_WRITE;
	}
}

/*
 * How a page may be mapped. 0 if not at all: a read-only page of a write-only area, or
 * a read-only page under a nest parent.
 */
static int demand_prot(const struct demand_slice *slice, unsigned long pfn)
{
	int prot = slice->area->prot;

	if (!(pfn & HMM_PFN_VALID) || (pfn & HMM_PFN_ERROR))
		return 0;
	if (pfn & HMM_PFN_WRITE)
		return prot;
	if (slice->area->demand->nest_parent || !(prot & IOMMU_READ))
		return 0;
	return prot & ~IOMMU_WRITE;
}

/*
 * Map the run of pages from page @i of the window on that one call can map. @empty: nothing is
 * mapped in the window, except runs before this one. Returns its number of pages, mapped or
 * not, or a negative errno.
 */
static int demand_map_run(struct demand_slice *slice, const unsigned long *pfns,
			  const struct demand_window *window, unsigned int i, bool empty)
{
	unsigned long iova = window->iova + i * PAGE_SIZE;
	struct iommufd_demand *demand = slice->area->demand;
	int prot = demand_prot(slice, pfns[i]), rc;
	unsigned int n;

	if (!prot || (!empty && iommu_iova_to_phys(demand->domain, iova)))
		return 1;

	n = READ_ONCE(demand->iopt->disable_large_pages) ? 1 : demand_run(pfns, i, window->nr);
	if (!empty)
		n = demand_free_run(demand->domain, iova, n);
	rc = iommu_map(demand->domain, iova, page_to_phys(hmm_pfn_to_page(pfns[i])),
		       (size_t)n << PAGE_SHIFT, prot, GFP_NOWAIT | __GFP_NOWARN);
	if (rc)
		return rc;

	if (prot & IOMMU_WRITE)
		demand_mark_dirty(pfns[i], n);

	return n;
}

/*
 * The process can write to a page that is mapped read-only, and no notifier was called:
 * unmap the window, so that all such pages are mapped writable, with one invalidation. A
 * device that uses one of them in between repeats its access.
 */
static bool demand_unmap_read_only(struct demand_slice *slice,
				   const struct demand_window *window)
{
	size_t size = (size_t)window->nr << PAGE_SHIFT;

	return iommu_unmap(slice->area->demand->domain, window->iova, size) == size;
}

/* Map the pages that were looked up, except those that are mapped already. */
static int demand_map_window(struct demand_slice *slice, const unsigned long *pfns,
			     const struct demand_window *window, bool write)
{
	unsigned long asked = window->iova + window->asked * PAGE_SIZE;
	struct iommu_domain *domain = slice->area->demand->domain;
	unsigned int block = demand_block(slice, asked), i;
	bool empty = !test_bit(block, slice->used);
	int n, rc = 0;

	lockdep_assert_held(&slice->lock);

	if (!empty && iommu_iova_to_phys(domain, asked)) {
		/* Another worker has mapped it already. */
		if (!write || domain->ops->is_writable(domain, asked))
			return 0;
		if (!demand_unmap_read_only(slice, window))
			return -EAGAIN;
		empty = true;
	}

	set_bit(block, slice->used);
	for (i = 0; i < window->nr; i += max(n, 1)) {
		n = demand_map_run(slice, pfns, window, i, empty);
		if (n < 0)
			rc = n;
	}

	/* Other pages may fail. */
	if (iommu_iova_to_phys(domain, asked))
		return 0;
	return rc ?: -EAGAIN;
}

/*
 * Map the page at @iova, which has been faulted in, and, unless @alone, present pages
 * around it. -ENOMEM if there is no free memory for a table: see demand_make_room().
 */
static int demand_map(struct demand_fault *fault, struct demand_slice *slice,
		      unsigned long iova, bool write, bool alone)
{
	struct mm_struct *mm = slice->notifier.mm;
	struct demand_window window;
	struct iommu_domain *domain;
	unsigned long seq;
	int rc;

	seq = mmu_interval_read_begin(&slice->notifier);

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	rc = demand_window_init(&window, slice, iova, write, alone);
	if (!rc)
		rc = demand_look_up(fault, slice, &window, write, seq);
	mmap_read_unlock(mm);
	if (rc)
		return rc;

	guard(mutex)(&slice->lock);
	if (slice->going || mmu_interval_read_retry(&slice->notifier, seq))
		return -EAGAIN;

	domain = slice->area->demand->domain;
	rc = domain->ops->prealloc_tables(domain, window.iova,
					  (size_t)window.nr << PAGE_SHIFT,
					  GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN);
	if (rc)
		return rc;

	if (!write)
		demand_keep_clean(fault->pfns, window.nr);
	return demand_map_window(slice, fault->pfns, &window, write);
}

/*
 * Reclaim memory for a table, within the process's limits, and leave it to the next
 * demand_map(). Do not wait for an OOM kill.
 */
static bool demand_make_room(void)
{
	unsigned long page = __get_free_page(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL |
					     __GFP_NOWARN);

	if (page)
		free_page(page);

	return page;
}

/*
 * Does the process that has mapped the area still run on this memory? A process that is
 * being killed must not be kept alive by its device. After execve(), the memory belongs to
 * nobody: it would be charged to the root cgroup.
 */
static bool demand_mm_is_used(struct task_struct *task, struct mm_struct *mm)
{
	struct task_struct *thread;

	if (READ_ONCE(task->signal->flags) & SIGNAL_GROUP_EXIT)
		return false;

	guard(rcu)();
	for_each_thread(task, thread)
		if (READ_ONCE(thread->mm) == mm)
			return true;

	return false;
}

/*
 * Fault in and map, as the user that has mapped the area, and charge the memory to the
 * process: without an active memcg, kernel memory that a worker allocates would be charged
 * to the root cgroup.
 */
static int demand_serve_slice(struct demand_fault *fault, struct demand_slice *slice,
			      unsigned long iova, bool write, bool alone, unsigned int *rooms)
{
	struct iopt_pages *pages = slice->area->pages;
	struct mm_struct *mm = slice->notifier.mm;
	struct mem_cgroup *memcg, *old;
	const struct cred *cred;
	int rc;

	if (!demand_mm_is_used(pages->source_task, mm) || !mmget_not_zero(mm))
		return -EFAULT;

	memcg = get_mem_cgroup_from_mm(mm);
	old = set_active_memcg(memcg);
	cred = override_creds(pages->source_cred);
	rc = demand_fix_up(fault, slice, demand_slice_va(slice, iova), write);
	if (!rc) {
		rc = demand_map(fault, slice, iova, write, alone);
		if (rc == -ENOMEM && *rooms && demand_make_room()) {
			--*rooms;
			rc = -EAGAIN;
		}
	}
	revert_creds(cred);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	mmput_async(mm);

	return rc;
}

/*
 * Map @iova for accesses by @prot. -EBUSY if the page is late and the worker must not wait
 * for it. -EINTR if that takes too long, as user space does not deliver the page or the
 * process keeps changing the mapping, or the request was answered.
 */
static int demand_serve(struct demand_fault *fault, unsigned long iova, int prot)
{
	bool write = prot & IOMMU_WRITE, alone = false;
	unsigned int rooms = DEMAND_LEVELS;
	struct demand_slice *slice;
	int rc;

	if (!demand_sleep_begin(fault))
		return -EINTR;

	do {
		slice = demand_slice_get(fault->demand, iova, prot);
		if (IS_ERR(slice)) {
			rc = PTR_ERR(slice);
			break;
		}
		rc = demand_serve_slice(fault, slice, iova, write, alone, &rooms);
		demand_area_put(slice->area);
		/* A single page takes less time, so that it succeeds before the next notifier. */
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
 * Return the first request of the group that this HWPT still stops, or NULL. Drop the
 * requests that it does not stop: they are served, or the device repeats them for another
 * level.
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
 * When to give up the next request. Those that may wait for userfaultfd share the time that
 * is left, so that userfaultfd learns of all of them.
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
 * Has a request for the same block been answered whose worker has not come back? If that is
 * stuck, another one would be for each time that the device repeats the request.
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
 * Serve one request of the group once. Returns false if there is nothing left to serve, or
 * the time is up.
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

	if (stop.perm & ~IOMMU_FAULT_PERM_WRITE)
		prot |= IOMMU_READ;
	if (stop.perm & IOMMU_FAULT_PERM_WRITE)
		prot |= IOMMU_WRITE;
	/* The guest's tables are read there, and mappings have to be writable. */
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
 * Serve the group in two passes: late pages must not delay others, so only the second pass
 * waits for userfaultfd.
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
	if (time_before(jiffies, fault->deadline))
		demand_pass(fault);
}

/* Answer the group, or pass what only the user can serve to the user's queue. */
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
	kref_put(&demand->kref, demand_release);
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
 * No worker has answered in time: all of them are busy, or it waits where a signal does not
 * end the wait: for a page that is being read from swap, or for other notifiers. Have the
 * device repeat its requests.
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
 * Pass the group to a worker. -EINVAL if no attached device has made it, -EBUSY if the
 * queue is full of groups that are answered, but whose workers have not noticed yet.
 */
static int demand_enqueue(struct iommufd_demand *demand, struct demand_fault *fault)
{
	struct iommufd_device *idev;

	/* Detach removes the device first, and then drops its groups under the mutex. */
	guard(mutex)(&demand->mutex);
	idev = iommufd_fault_requester(fault->group);
	if (!idev)
		return -EINVAL;
	fault->queue = idev->demand_queue;
	if (!atomic_add_unless(&fault->queue->nr_faults, 1, DEMAND_MAX_FAULTS))
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
 * The attachment has ended, or @idev has left it, so that no new requests arrive. A device
 * that is still attached got another HWPT by a replace: it repeats its requests.
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

/* HWPTs */

/**
 * iommufd_demand_alloc() - make a HWPT demand-paged
 * @hwpt: the HWPT, with its domain, not part of its IOAS yet
 *
 * Context: may sleep; the mutex of the IOAS is held.
 *
 * Return: 0; -EOPNOTSUPP if its driver cannot page on demand, or cannot report the
 * requests that it stops; -ENOMEM.
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

	if (!domain->ops->prealloc_tables)
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
 * Context: may sleep. Workers may still wait for the process; they no longer use HWPT or
 * IOAS.
 */
void iommufd_demand_free(struct iommufd_demand *demand)
{
	scoped_guard(rwsem_write, &demand->live)
		demand->dead = true;
	kref_put(&demand->kref, demand_release);
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
 * Return: true if its page requests can be reported, and its driver declares that it
 * tolerates faults on all its DMA. The drivers of all devices of its group have to, as they
 * are attached with it.
 */
bool iommufd_demand_capable(struct iommufd_device *idev)
{
	return !demand_check_device(idev);
}

static void demand_queue_free_work(struct work_struct *work)
{
	struct demand_queue *queue = container_of(work, struct demand_queue, free_work);

	destroy_workqueue(queue->wq);
	scoped_guard(mutex, &demand_dying_mutex)
		list_del(&queue->node);
	kfree(queue);
}

static bool demand_too_many_die(struct device *dev)
{
	struct demand_queue *queue;
	unsigned int nr = 0;

	guard(mutex)(&demand_dying_mutex);
	list_for_each_entry(queue, &demand_dying, node)
		nr += queue->dev == dev;

	return nr >= DEMAND_MAX_DYING;
}

static struct demand_queue *demand_queue_alloc(struct device *dev)
{
	struct demand_queue *queue;

	if (demand_too_many_die(dev))
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
 * A device whose memory is paged on demand gets its own queue with workers, and keeps it:
 * late pages of one device do not delay others. (With one for each HWPT, a user could make
 * the kernel allocate memory that is charged to nobody.)
 *
 * Context: may sleep; the group's lock is held.
 *
 * Return: 0; if memory that @hwpt translates to is paged on demand: -EOPNOTSUPP if page
 * requests of the device cannot be reported, -EPERM if it, or another one of its group, does
 * not tolerate faults; -EBUSY if workers of former users of the device still wait for their
 * processes; -ENOMEM.
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
		idev->demand_queue = queue;
	}

	return 0;
}

/* @idev has been detached and is about to be freed. Its workers may take longer. */
void iommufd_demand_release_device(struct iommufd_device *idev)
{
	struct demand_queue *queue = idev->demand_queue;

	if (!queue)
		return;
	scoped_guard(mutex, &demand_dying_mutex)
		list_add(&queue->node, &demand_dying);
	queue_work(demand_free_wq, &queue->free_work);
}

/**
 * iommufd_demand_init() - initialize when the module is loaded
 *
 * Return: 0 or -ENOMEM.
 */
int __init iommufd_demand_init(void)
{
	demand_free_wq = alloc_workqueue("iommufd_demand_free", WQ_UNBOUND, 0);
	return demand_free_wq ? 0 : -ENOMEM;
}

/* When the module is unloaded; waits for all workers */
void iommufd_demand_exit(void)
{
	destroy_workqueue(demand_free_wq);
}
