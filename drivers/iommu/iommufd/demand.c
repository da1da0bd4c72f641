// SPDX-License-Identifier: GPL-2.0-only
/*
 * Demand paging: HWPTs that pin nothing and follow the pages of the process.
 *
 * The IOAS records what the user has mapped. A demand-paged HWPT starts empty. A
 * device that meets a hole makes a page request; a worker faults the page in and maps
 * it. When the process loses a page (swap, migration, madvise, munmap, fork, ...), an
 * MMU notifier unmaps it.
 *
 * Each area of the IOAS is cut at every GiB of IOVA. Such a slice has an interval
 * notifier and a mutex, which orders its maps against its notifier. As slices are
 * disjoint and no large page crosses one, the mutex also makes its holder the owner
 * of the range, which the page tables ask for.
 *
 * Locks, outermost first:
 *
 *   demand::live
 *	Held for reading while a worker looks for an area. The IOAS goes only after that.
 *   iopt::domains_rwsem, iopt::iova_rwsem
 *	The set of demand-paged HWPTs, the areas, and the slices of each.
 *   slice::live
 *	Held for reading while a worker uses the domain: the HWPT, or the area, goes
 *	only after that. Memory is allocated under it, so no notifier takes it.
 *   mm::mmap_lock, of which a worker that holds slice::live only tries to get hold
 *   slice::tables
 *	One worker at a time preallocates tables, under slice::live.
 *   slice::lock
 *	Maps and notifiers. Reclaim calls notifiers, so nothing is allocated under it:
 *	tables are there before it is taken (iommu_domain_ops::prealloc_tables), and
 *	unmapping a part of a large page uses the table that was deposited for that.
 *
 *   demand::mutex
 *	Page requests that are being served. Under it, nothing waits for memory or for
 *	user space.
 *
 * No stale translation. A worker maps what it has looked up only if no notifier has run
 * since; it checks that under slice::lock. A notifier that comes later waits for the mutex
 * and unmaps; one that came before has made the sequence number stale. iommu_unmap()
 * invalidates IOTLB and device TLBs and, on VT-d, waits for those who read a guest's
 * tables through the second level, see nested_walk_wait(). A device that does not answer
 * is given up by the IOMMU driver, with a message, and may keep what its TLB has.
 *
 * Nobody waits for a worker, which may have to wait for the process: for a page that
 * userfaultfd has yet to deliver, for mmap_lock, and for other notifiers to end. It holds
 * none of the locks then, and uses neither HWPT nor IOAS. Detaching answers the request
 * and leaves the worker to find out; DEMAND_TIMEOUT ends the first two kinds of waits, and
 * the device repeats its request. Both send the worker a signal, as these waits are
 * killable. A queue is destroyed by a work item, so that closing a device does not wait,
 * either.
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
#include <linux/userfaultfd_k.h>
#include <linux/workqueue.h>

#include "demand.h"
#include "io_pagetable.h"
#include "iommufd_private.h"

/* The most that is looked up and mapped at once: an aligned block, of a page table */
#define DEMAND_BLOCK_SHIFT	21
#define DEMAND_BLOCK_SIZE	BIT(DEMAND_BLOCK_SHIFT)
#define DEMAND_BLOCK_PAGES	(DEMAND_BLOCK_SIZE / PAGE_SIZE)

/* Pages of fresh memory are faulted in together with their neighbours. */
#define DEMAND_AROUND		SZ_64K

#define DEMAND_SLICE_SHIFT	30
#define DEMAND_SLICE_SIZE	BIT(DEMAND_SLICE_SHIFT)
#define DEMAND_SLICE_BLOCKS	BIT(DEMAND_SLICE_SHIFT - DEMAND_BLOCK_SHIFT)

/*
 * How long a worker serves a group of requests, the waits for user space included.
 * Afterwards the device repeats what is left.
 */
#define DEMAND_TIMEOUT		HZ

/* A page request may be stopped at each table of the guest, and at the page. */
#define DEMAND_ROUNDS		8

/*
 * Workers of a device. A few of them may wait for userfaultfd: requests for other pages
 * are served meanwhile, and beyond that late pages are asked for again and again.
 */
#define DEMAND_WORKERS		128
#define DEMAND_LATE_WORKERS	32

/* Groups of a device that wait for a worker, or have one */
#define DEMAND_MAX_FAULTS	(2 * IOPF_MAX_REQUESTS)

/*
 * Areas of an IOAS, for each demand-paged HWPT that it has. A page of the process may be
 * in all of them, and reclaim has to unmap it from each.
 */
#define DEMAND_MAX_AREAS	32768

/* At most one GiB of an area, in one demand-paged HWPT */
struct demand_slice {
	struct mmu_interval_notifier notifier;
	struct demand_area *area;
	unsigned long iova;
	unsigned long last_iova;
	struct rw_semaphore live;
	bool going;			/* under @live */
	struct mutex tables;		/* one worker preallocates */
	struct mutex lock;		/* maps and notifiers */
	/* Blocks that may have something mapped, and read-only pages; under @lock */
	DECLARE_BITMAP(used, DEMAND_SLICE_BLOCKS);
	DECLARE_BITMAP(read_only, DEMAND_SLICE_BLOCKS);
};

/* An area in one demand-paged HWPT */
struct demand_area {
	struct kref kref;
	struct list_head node;		/* of iopt_area::demand_areas */
	struct iommufd_demand *demand;	/* while not going */
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
	struct mutex mutex;		/* of @faults, and what they are about */
	struct list_head faults;	/* struct demand_fault */
};

/* The workers of a device */
struct demand_queue {
	struct workqueue_struct *wq;
	struct work_struct free_work;
	atomic_t nr_faults;
	atomic_t nr_late;		/* workers that may wait for userfaultfd */
};

/* Destroys queues, which waits for their workers */
static struct workqueue_struct *demand_free_wq;

/* A group of page requests that a worker serves */
struct demand_fault {
	struct work_struct work;
	struct list_head node;
	struct iommufd_demand *demand;
	struct demand_queue *queue;
	/* Under demand::mutex: */
	struct iopf_group *group;	/* NULL when it has been answered meanwhile */
	struct task_struct *sleeper;	/* the worker, while it may wait for user space */
	struct timer_list timer;	/* ends that */
	/* The worker's own: */
	unsigned long deadline;		/* in jiffies */
	unsigned long *pfns;
	enum iommu_page_response_code code;
	struct list_head for_user;	/* requests where the user has mapped nothing */
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
 * Unmap @iova to @last. A process loses many pages that no device has used: blocks that
 * map nothing are skipped, and cost no invalidation.
 */
static void demand_unmap(struct demand_slice *slice, unsigned long iova, unsigned long last)
{
	struct iommu_domain *domain = slice->area->demand->domain;
	unsigned int first = demand_block(slice, iova), end = demand_block(slice, last) + 1;

	lockdep_assert_held(&slice->lock);

	if (find_next_bit(slice->used, end, first) >= end)
		return;

	/*
	 * Splitting a large page takes the table that was deposited for it. Should that
	 * fail all the same, unmap all that the page may cover: the device asks again.
	 */
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
	if (first < end) {
		bitmap_clear(slice->used, first, end - first);
		bitmap_clear(slice->read_only, first, end - first);
	}
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
 * Remove the notifiers of @darea, unmap it, and drop the list's reference. No worker can
 * find it any more. Workers that wait for user space hold none of the locks.
 */
static void demand_area_remove(struct demand_area *darea)
{
	unsigned int i;

	for (i = 0; i < darea->nr_slices; i++) {
		struct demand_slice *slice = &darea->slices[i];

		down_write(&slice->live);
		slice->going = true;
		up_write(&slice->live);

		mmu_interval_notifier_remove(&slice->notifier);
		mutex_lock(&slice->lock);
		demand_unmap(slice, slice->iova, slice->last_iova);
		mutex_unlock(&slice->lock);
		cond_resched();
	}
	atomic_dec(&darea->demand->iopt->nr_demand_areas);
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
	init_rwsem(&slice->live);
	mutex_init(&slice->tables);
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
	struct demand_area *darea;
	int rc;

	/* What a nest parent maps has to be writable: erratum 772415. */
	if (demand->nest_parent && !(area->iommu_prot & IOMMU_WRITE))
		return ERR_PTR(-EINVAL);
	if (!access_ok(pages->uptr, pages->npages * PAGE_SIZE))
		return ERR_PTR(-EFAULT);
	if (!atomic_add_unless(&demand->iopt->nr_demand_areas, 1, DEMAND_MAX_AREAS))
		return ERR_PTR(-ENOSPC);

	darea = kvzalloc(struct_size(darea, slices, nr),
			 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!darea) {
		atomic_dec(&demand->iopt->nr_demand_areas);
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
		demand_area_remove(darea);
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
 * iopt_demand_remove_area() - unmap an area from all demand-paged HWPTs
 * @area: the area, which has lost its pages: no worker can find it
 *
 * Context: may sleep; iopt::domains_rwsem is held for reading.
 */
void iopt_demand_remove_area(struct iopt_area *area)
{
	struct demand_area *darea, *next;

	list_for_each_entry_safe(darea, next, &area->demand_areas, node) {
		list_del(&darea->node);
		demand_area_remove(darea);
	}
}

static void demand_remove_areas(struct io_pagetable *iopt, struct iommufd_demand *demand)
{
	struct demand_area *darea, *next;
	struct iopt_area *area;

	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX)) {
		list_for_each_entry_safe(darea, next, &area->demand_areas, node) {
			if (darea->demand != demand)
				continue;
			list_del(&darea->node);
			demand_area_remove(darea);
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

	lockdep_assert_held_write(&iopt->domains_rwsem);

	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX)) {
		if (!area->pages)
			continue;
		darea = demand_area_create(demand, area, area->pages);
		if (IS_ERR(darea)) {
			demand_remove_areas(iopt, demand);
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
 *
 * Context: may sleep; iopt's two semaphores are held for writing.
 */
void iopt_demand_remove(struct io_pagetable *iopt, struct iommufd_demand *demand)
{
	lockdep_assert_held_write(&iopt->domains_rwsem);

	list_del(&demand->node);
	demand_remove_areas(iopt, demand);
}

/* With all areas gone, nobody is at work in the domains; see iopt_free_empty_tables(). */
void iopt_demand_free_empty_tables(struct io_pagetable *iopt)
{
	struct iommufd_demand *demand;

	list_for_each_entry(demand, &iopt->demands, node)
		iommu_free_empty_tables(demand->domain);
}

/*
 * The slice for @iova, with a reference. -ENOENT if the user has mapped nothing
 * there, -EPERM if not for this access, -EINTR if the HWPT has gone.
 */
static struct demand_slice *demand_slice_get(struct iommufd_demand *demand,
					     unsigned long iova, bool write)
{
	struct demand_area *darea;
	struct iopt_area *area;
	unsigned int i;

	guard(rwsem_read)(&demand->live);
	if (demand->dead)
		return ERR_PTR(-EINTR);

	guard(rwsem_read)(&demand->iopt->iova_rwsem);
	area = iopt_area_iter_first(demand->iopt, iova, iova);
	if (!area || !area->pages)
		return ERR_PTR(-ENOENT);
	if (!(area->iommu_prot & (write ? IOMMU_WRITE : IOMMU_READ)))
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
 * From here on the worker may wait for user space, and demand_wake() ends that. False if
 * the group has been answered before.
 */
static bool demand_sleep_begin(struct demand_fault *fault)
{
	guard(mutex)(&fault->demand->mutex);
	if (!fault->group)
		return false;

	allow_kernel_signal(SIGKILL);
	fault->sleeper = current;
	mod_timer(&fault->timer, fault->deadline);
	return true;
}

static void demand_sleep_end(struct demand_fault *fault)
{
	timer_delete_sync(&fault->timer);

	guard(mutex)(&fault->demand->mutex);
	fault->sleeper = NULL;
	disallow_signal(SIGKILL);
	flush_signals(current);
}

/*
 * May a device have what is mapped there? Memory only: to fault a file in may take what
 * its file system asks of user space, without an end that a signal could bring about.
 * Secret memory is a file, too, which not even the kernel may access.
 */
static bool demand_vma_ok(struct vm_area_struct *vma, bool write)
{
	if (!vma || !(vma->vm_flags & (write ? VM_WRITE : VM_READ)))
		return false;
	if (vma->vm_flags & (VM_IO | VM_PFNMAP | VM_SHADOW_STACK))
		return false;

	return vma_is_anonymous(vma) ||
	       is_vm_hugetlb_page(vma) ||
	       (vma->vm_file && shmem_mapping(vma->vm_file->f_mapping));
}

/*
 * Fault in what is around @va, fresh or swapped out: a device would make a request for each
 * page. Not where userfaultfd is asked; elsewhere, a fault does not drop mmap_lock, by
 * RETRY_NOWAIT.
 */
static void demand_fault_around(struct demand_slice *slice, struct vm_area_struct *vma,
				unsigned long va, unsigned int flags)
{
	unsigned long start = ALIGN_DOWN(va, DEMAND_AROUND), end = start + DEMAND_AROUND;

	if (is_vm_hugetlb_page(vma) || userfaultfd_armed(vma))
		return;

	start = max3(start, vma->vm_start, slice->notifier.interval_tree.start);
	end = min3(end, vma->vm_end, slice->notifier.interval_tree.last + 1);
	for (; start < end; start += PAGE_SIZE) {
		if (start != va &&
		    handle_mm_fault(vma, start, flags | FAULT_FLAG_RETRY_NOWAIT, NULL) &
		    (VM_FAULT_ERROR | VM_FAULT_RETRY))
			return;
	}
}

/*
 * Fault the page at @va in, as an access by the CPU would. -EINTR if that takes too long.
 * fixup_user_fault() would do, if it could be interrupted when it takes mmap_lock again.
 */
static int demand_fault_in(struct demand_slice *slice, unsigned long va, bool write,
			   bool may_be_late)
{
	unsigned int flags = FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY |
			     FAULT_FLAG_KILLABLE | (write ? FAULT_FLAG_WRITE : 0);
	struct mm_struct *mm = slice->notifier.mm;
	struct vm_area_struct *vma;
	vm_fault_t fault;

	do {
		if (mmap_read_lock_killable(mm))
			return -EINTR;

		fault = VM_FAULT_SIGSEGV;
		vma = vma_lookup(mm, va);
		if (!demand_vma_ok(vma, write))
			break;
		if (userfaultfd_armed(vma) && !may_be_late)
			flags |= FAULT_FLAG_RETRY_NOWAIT;

		fault = handle_mm_fault(vma, va, flags, NULL);
		/* When it was through, it has dropped the lock: pages of files may. */
		if (fault & VM_FAULT_COMPLETED) {
			if (mmap_read_lock_killable(mm))
				return -EINTR;
			vma = vma_lookup(mm, va);
			if (!demand_vma_ok(vma, write))
				fault = VM_FAULT_SIGSEGV;
			break;
		}
		if (flags & FAULT_FLAG_RETRY_NOWAIT)
			break;
		flags |= FAULT_FLAG_TRIED;
	} while ((fault & VM_FAULT_RETRY) && !fatal_signal_pending(current));

	if (!(flags & FAULT_FLAG_RETRY_NOWAIT) && (fault & VM_FAULT_RETRY))
		return -EINTR;
	if (!(fault & (VM_FAULT_ERROR | VM_FAULT_RETRY)))
		demand_fault_around(slice, vma, va, flags);
	mmap_read_unlock(mm);

	if (fault & VM_FAULT_RETRY)
		return -EINTR;
	return fault & VM_FAULT_ERROR ? vm_fault_to_errno(fault, 0) : 0;
}

/* Fault the page at @va in, with bounds on how long that takes, and for how many. */
static int demand_fix_up(struct demand_fault *fault, struct demand_slice *slice,
			 unsigned long va, bool write)
{
	bool may_be_late;
	int rc;

	if (!demand_sleep_begin(fault))
		return -EINTR;

	may_be_late = atomic_add_unless(&fault->queue->nr_late, 1, DEMAND_LATE_WORKERS);
	rc = demand_fault_in(slice, va, write, may_be_late);
	if (may_be_late)
		atomic_dec(&fault->queue->nr_late);
	/* Reads and charges that were killed fail in other ways. */
	if (rc && fatal_signal_pending(current))
		rc = -EINTR;

	demand_sleep_end(fault);

	return rc;
}

/* What is looked up around a page */
struct demand_window {
	unsigned long iova;
	unsigned long va;
	unsigned int nr;	/* pages */
	unsigned int asked;	/* index of the page that was asked for */
};

/*
 * As much of the block around @iova as is in one slice and in one VMA, or @alone. -EFAULT
 * if the device must not have what is mapped there.
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
 * Look up the pages of @window. -EAGAIN if the page that was asked for is not present, or
 * not writable where @write asks for that. With mmap_lock held.
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

/* How many pages from @i on can be mapped by one call, as one piece */
static unsigned int demand_run(const unsigned long *pfns, unsigned int i, unsigned int nr)
{
	const unsigned long mask = HMM_PFN_VALID | HMM_PFN_WRITE | HMM_PFN_ERROR |
				   ~HMM_PFN_FLAGS;
	unsigned int n = 1;

	while (i + n < nr && (pfns[i + n] & mask) == (pfns[i] & mask) + n)
		n++;

	return n;
}

/* How many of @nr pages from @iova on are not mapped */
static unsigned int demand_free_run(struct iommu_domain *domain, unsigned long iova,
				    unsigned int nr)
{
	unsigned int n = 1;

	while (n < nr && !iommu_iova_to_phys(domain, iova + n * PAGE_SIZE))
		n++;

	return n;
}

/*
 * No CPU notices what a device writes, so a page that is mapped writable is dirty. The
 * notifier waits for slice::lock: nobody cleans or frees the page before it is marked.
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
 * How a page may be mapped, 0 if not at all: read-only pages of a write-only area, or
 * under a nest parent, for which they are not
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
 * Map what begins with page @i of the window, and is one piece that can be mapped by one
 * call. How many pages it has, mapped or not; negative if mapping has failed.
 */
static int demand_map_run(struct demand_slice *slice, const unsigned long *pfns,
			  const struct demand_window *window, unsigned int i)
{
	unsigned long iova = window->iova + i * PAGE_SIZE;
	struct iommufd_demand *demand = slice->area->demand;
	int prot = demand_prot(slice, pfns[i]), rc;
	unsigned int n;

	if (!prot || iommu_iova_to_phys(demand->domain, iova))
		return 1;

	n = demand->iopt->disable_large_pages ? 1 : demand_run(pfns, i, window->nr);
	n = demand_free_run(demand->domain, iova, n);
	rc = iommu_map(demand->domain, iova, page_to_phys(hmm_pfn_to_page(pfns[i])),
		       (size_t)n << PAGE_SHIFT, prot, GFP_NOWAIT | __GFP_NOWARN);
	if (rc)
		return rc;

	if (prot & IOMMU_WRITE)
		demand_mark_dirty(pfns[i], n);
	else if (slice->area->prot & IOMMU_WRITE)
		set_bit(demand_block(slice, iova), slice->read_only);

	return n;
}

/*
 * Map the pages that were looked up, except those that are mapped already. The page that
 * the device asks for may be mapped read-only: the process may write to it since, without
 * a notifier.
 */
static int demand_map_window(struct demand_slice *slice, const unsigned long *pfns,
			     const struct demand_window *window, bool write)
{
	unsigned long asked = window->iova + window->asked * PAGE_SIZE;
	struct iommu_domain *domain = slice->area->demand->domain;
	unsigned int block = demand_block(slice, window->iova), i;
	int n, rc = 0;

	lockdep_assert_held(&slice->lock);

	if (iommu_iova_to_phys(domain, asked)) {
		/* Another worker has mapped it meanwhile. */
		if (!write || !test_bit(block, slice->read_only))
			return 0;
		if (iommu_unmap(domain, asked, PAGE_SIZE) != PAGE_SIZE)
			return -EAGAIN;
	}

	set_bit(block, slice->used);
	for (i = 0; i < window->nr; i += max(n, 1)) {
		n = demand_map_run(slice, pfns, window, i);
		if (n < 0)
			rc = n;
	}

	/* Pages beside it may fail. */
	if (iommu_iova_to_phys(domain, asked))
		return 0;
	return rc ?: -EAGAIN;
}

/*
 * Allocate the tables that the window may take. Two workers at a time would leave a
 * table too many for the block.
 */
static int demand_prealloc(struct demand_slice *slice, const struct demand_window *window)
{
	struct iommu_domain *domain = slice->area->demand->domain;

	guard(mutex)(&slice->tables);
	return domain->ops->prealloc_tables(domain, window->iova,
					    (size_t)window->nr << PAGE_SHIFT,
					    GFP_KERNEL_ACCOUNT);
}

/*
 * Map the page at @iova, which has been faulted in, and what is there around it, unless
 * @alone.
 */
static int demand_map(struct demand_fault *fault, struct demand_slice *slice,
		      unsigned long iova, bool write, bool alone)
{
	struct mm_struct *mm = slice->notifier.mm;
	struct demand_window window;
	unsigned long seq;
	int rc;

	/* This may wait for long, so that nobody must wait for us. */
	seq = mmu_interval_read_begin(&slice->notifier);

	guard(rwsem_read)(&slice->live);
	if (slice->going)
		return -EAGAIN;

	if (!mmap_read_trylock(mm))
		return -EAGAIN;
	rc = demand_window_init(&window, slice, iova, write, alone);
	if (!rc)
		rc = demand_look_up(fault, slice, &window, write, seq);
	mmap_read_unlock(mm);
	if (!rc)
		rc = demand_prealloc(slice, &window);
	if (rc)
		return rc;

	guard(mutex)(&slice->lock);
	if (mmu_interval_read_retry(&slice->notifier, seq))
		return -EAGAIN;

	return demand_map_window(slice, fault->pfns, &window, write);
}

/*
 * Fault in and map, charging what that takes to the process: without an active memcg,
 * kernel memory that a worker allocates would be root's.
 */
static int demand_serve_slice(struct demand_fault *fault, struct demand_slice *slice,
			      unsigned long iova, bool write, bool alone)
{
	struct iopt_pages *pages = slice->area->pages;
	struct mm_struct *mm = slice->notifier.mm;
	struct mem_cgroup *memcg, *old;
	int rc;

	/* A process that is being killed must not be kept alive by its device. */
	if (READ_ONCE(pages->source_task->signal->flags) & SIGNAL_GROUP_EXIT ||
	    !mmget_not_zero(mm))
		return -EFAULT;

	memcg = get_mem_cgroup_from_mm(mm);
	old = set_active_memcg(memcg);
	rc = demand_fix_up(fault, slice, demand_slice_va(slice, iova), write);
	if (!rc)
		rc = demand_map(fault, slice, iova, write, alone);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
	mmput_async(mm);

	return rc;
}

/*
 * Have @iova mapped for reading, or @write. -EAGAIN if the process changes it all the
 * time, -EINTR if user space does not deliver it, or nobody wants it any more.
 */
static int demand_serve(struct demand_fault *fault, unsigned long iova, bool write)
{
	struct demand_slice *slice;
	bool alone = false;
	int rc;

	do {
		slice = demand_slice_get(fault->demand, iova, write);
		if (IS_ERR(slice))
			return PTR_ERR(slice);

		rc = demand_serve_slice(fault, slice, iova, write, alone);
		demand_area_put(slice->area);
		/* Less is done sooner, before the next notifier. */
		alone = true;
		cond_resched();
	} while (rc == -EAGAIN && time_before(jiffies, fault->deadline));

	return rc;
}

/*
 * The first request of the group that this HWPT still stops, or NULL. Requests that it
 * does not stop are dropped: they are served, or the device repeats them for another
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

/* Note what became of a request. */
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
	case -EAGAIN:
	case -EINTR:
	case -ENOMEM:
		/* The device repeats it. */
		break;
	default:
		fault->code = IOMMU_PAGE_RESP_INVALID;
	}

	iopf_group_drop(fault->group, iopf);
}

/*
 * Serve one request of the group once. False if there is nothing more to serve, or no
 * more time.
 */
static bool demand_round(struct demand_fault *fault)
{
	struct iommufd_demand *demand = fault->demand;
	struct iopf_fault *iopf;
	struct iopf_stop stop;
	bool write;
	int rc;

	scoped_guard(mutex, &demand->mutex) {
		if (!fault->group)
			return false;
		iopf = demand_next(fault, &stop);
		if (!iopf)
			return false;
	}

	/* What a nest parent maps has to be writable. */
	write = (stop.perm & IOMMU_FAULT_PERM_WRITE) || demand->nest_parent;
	rc = demand_serve(fault, ALIGN_DOWN(stop.addr, PAGE_SIZE), write);

	guard(mutex)(&demand->mutex);
	if (!fault->group)
		return false;
	demand_result(fault, iopf, &stop, rc);
	return time_before(jiffies, fault->deadline);
}

/* Answer the group, or leave to the user what is the user's. The device repeats the rest. */
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

	if (list_empty(&fault->for_user)) {
		iopf_group_response(group, fault->code);
		iopf_free_group(group);
		return;
	}

	list_for_each_entry_safe(iopf, next, &group->faults, list)
		iopf_group_drop(group, iopf);
	list_splice(&fault->for_user, &group->faults);
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
	unsigned int rounds = 0, most;

	scoped_guard(mutex, &demand->mutex)
		most = fault->group ? fault->group->fault_count * DEMAND_ROUNDS : 0;

	fault->deadline = jiffies + DEMAND_TIMEOUT;
	fault->pfns = kmalloc_array(DEMAND_BLOCK_PAGES, sizeof(*fault->pfns), GFP_KERNEL);
	if (fault->pfns)
		while (rounds++ < most && demand_round(fault))
			;
	demand_finish(fault);
	atomic_dec(&fault->queue->nr_faults);
	kfree(fault->pfns);
	kfree(fault);
	kref_put(&demand->kref, demand_release);
}

/*
 * Give the group to a worker. -EINVAL if no attached device has made it, -EBUSY if the
 * queue is full of groups that have been answered, whose workers have yet to find out.
 */
static int demand_enqueue(struct iommufd_demand *demand, struct demand_fault *fault)
{
	struct iommufd_device *idev;

	/* Detaching removes the device first, and then drops its groups under the mutex. */
	guard(mutex)(&demand->mutex);
	idev = iommufd_fault_requester(fault->group);
	if (!idev)
		return -EINVAL;
	fault->queue = idev->demand_queue;
	if (!atomic_add_unless(&fault->queue->nr_faults, 1, DEMAND_MAX_FAULTS))
		return -EBUSY;

	kref_get(&demand->kref);
	list_add_tail(&fault->node, &demand->faults);
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
 * Return: 0 if @group has been taken, else -EINVAL.
 */
int iommufd_demand_iopf_handler(struct iopf_group *group)
{
	struct iommufd_hw_pagetable *hwpt = group->domain->fault_data;
	struct iommufd_demand *demand = to_hwpt_paging(hwpt)->demand;
	struct demand_fault *fault;
	int rc;

	/* See iommufd_demand_alloc(): nobody can bind these. */
	if (WARN_ON_ONCE(group->attach_handle->gpasid))
		return -EINVAL;

	fault = kzalloc(sizeof(*fault), GFP_KERNEL);
	if (!fault) {
		demand_have_repeated(group);
		return 0;
	}

	INIT_WORK(&fault->work, demand_work);
	timer_setup(&fault->timer, demand_timeout, 0);
	INIT_LIST_HEAD(&fault->for_user);
	fault->demand = demand;
	fault->group = group;
	fault->code = IOMMU_PAGE_RESP_SUCCESS;
	rc = demand_enqueue(demand, fault);
	if (rc)
		kfree(fault);
	if (rc != -EBUSY)
		return rc;

	demand_have_repeated(group);
	return 0;
}

/* Answer the group. Its worker notices and ends. */
static void demand_fault_forget(struct demand_fault *fault)
{
	lockdep_assert_held(&fault->demand->mutex);

	list_splice_init(&fault->for_user, &fault->group->faults);
	iopf_group_response(fault->group, IOMMU_PAGE_RESP_INVALID);
	iopf_free_group(fault->group);
	fault->group = NULL;
	if (fault->sleeper)
		demand_wake(fault);
}

/**
 * iommufd_demand_drop_faults() - answer page requests that are being served
 * @demand: the HWPT's demand paging
 * @handle: the attachment that they were made for
 * @idev: or only those of this device, if not NULL
 *
 * What @handle stands for has been detached, or @idev has left its devices, so that
 * no further ones come.
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
			demand_fault_forget(fault);
	}
}

/* HWPTs */

/**
 * iommufd_demand_alloc() - make a HWPT demand-paged
 * @hwpt: the HWPT, with its domain, not part of its IOAS yet
 *
 * Return: 0; -EOPNOTSUPP if its driver cannot page on demand, or report what it
 * stops; -ENOMEM.
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
 * Context: may sleep. Workers may go on to wait for the process; they use neither HWPT nor
 * IOAS any more.
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

/**
 * iommufd_demand_capable() - may all memory of a device be paged on demand?
 * @idev: the device
 *
 * Context: may sleep.
 *
 * Return: whether its driver has said that it tolerates faults on all its DMA, and
 * its page requests can be reported. All devices of its group are attached with it, so
 * their drivers have to say so, too.
 */
bool iommufd_demand_capable(struct iommufd_device *idev)
{
	return device_iommu_capable(idev->dev, IOMMU_CAP_IOPF_FLAT) &&
	       !iommu_group_for_each_dev(idev->igroup->group, NULL,
					 demand_check_tolerance);
}

static void demand_queue_free(struct demand_queue *queue)
{
	destroy_workqueue(queue->wq);
	kfree(queue);
}

static void demand_queue_free_work(struct work_struct *work)
{
	demand_queue_free(container_of(work, struct demand_queue, free_work));
}

static struct demand_queue *demand_queue_alloc(struct device *dev)
{
	struct demand_queue *queue = kzalloc(sizeof(*queue), GFP_KERNEL_ACCOUNT);

	if (!queue)
		return NULL;

	queue->wq = alloc_workqueue("iommufd_demand_%s", WQ_UNBOUND, DEMAND_WORKERS,
				    dev_name(dev));
	if (!queue->wq) {
		kfree(queue);
		return NULL;
	}
	INIT_WORK(&queue->free_work, demand_queue_free_work);

	return queue;
}

/**
 * iommufd_demand_prepare_attach() - get a device ready to be attached to a HWPT
 * @hwpt: the HWPT
 * @idev: the device
 *
 * A device whose memory is paged on demand gets a queue with workers of its own, which
 * it keeps: late pages of one device hold up no other. (One for each HWPT would let a
 * user grow memory that is charged to nobody.)
 *
 * Context: may sleep; the group's lock is held.
 *
 * Return: 0; -EPERM if memory that @hwpt translates to is paged on demand, and the
 * device, or another one of its group, would not survive that; -ENOMEM.
 */
int iommufd_demand_prepare_attach(struct iommufd_hw_pagetable *hwpt,
				  struct iommufd_device *idev)
{
	if (!hwpt_demand(hwpt))
		return 0;
	if (!iommufd_demand_capable(idev))
		return -EPERM;
	if (!idev->demand_queue)
		idev->demand_queue = demand_queue_alloc(idev->dev);

	return idev->demand_queue ? 0 : -ENOMEM;
}

/* @idev has been detached and is about to be freed. Its workers may take longer. */
void iommufd_demand_release_device(struct iommufd_device *idev)
{
	if (idev->demand_queue)
		queue_work(demand_free_wq, &idev->demand_queue->free_work);
}

/**
 * iommufd_demand_init() - when the module is loaded
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
