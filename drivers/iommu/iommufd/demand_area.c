// SPDX-License-Identifier: GPL-2.0-only
/*
 * Areas of demand-paged HWPTs: their slices, and the MMU notifiers that unmap
 * what the process loses. See demand_private.h.
 */

#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "demand_private.h"
#include "io_pagetable.h"
#include "iommufd_private.h"

/* Limit for the areas of a process times the demand-paged HWPTs they are in */
#define DEMAND_MAX_AREAS	32768

/*
 * How many of them may contain the same page: when the process loses it, it is
 * unmapped from one after the other, and each waits for an invalidation. So
 * reclaim takes at most that many for each page of an address space. (A huge page
 * may be in more, as each of its pages may be in so many, and so may one that is
 * mapped at several addresses.)
 */
#define DEMAND_MAX_OVERLAP	64

/* The areas of a process */
struct demand_mm {
	struct mutex mutex;		/* of @areas */
	struct rb_root_cached areas;	/* by user address */
	unsigned int nr;		/* under the lock of demand_mms; freed at 0 */
};

/* By the address of the process's mm */
static DEFINE_XARRAY_FLAGS(demand_mms, XA_FLAGS_ACCOUNT);

/*
 * Unmap @iova to @last. Most pages that a process loses were never used by a
 * device, so skip blocks that map nothing, without an invalidation.
 */
static void demand_unmap(struct demand_slice *slice, unsigned long iova, unsigned long last)
{
	unsigned int first = demand_block(slice, iova), end = demand_block(slice, last) + 1;
	struct iommu_domain *domain;

	lockdep_assert_held(&slice->lock);

	if (find_next_bit(slice->used, end, first) >= end)
		return;

	/*
	 * Splitting a large page takes the table that was deposited for it. If
	 * that fails nevertheless, unmap everything that the page may cover:
	 * the device asks again.
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

static struct demand_mm *demand_mm_find(struct mm_struct *mm)
{
	struct demand_mm *dmm = xa_load(&demand_mms, (unsigned long)mm);

	lockdep_assert_held(&demand_mms.xa_lock);

	if (!dmm)
		return NULL;
	if (dmm->nr == DEMAND_MAX_AREAS)
		return ERR_PTR(-ENOSPC);
	dmm->nr++;
	return dmm;
}

/*
 * Count an area of @mm. The allocations may wait, even for other processes of
 * the cgroup, so hold no lock that all processes share.
 */
static struct demand_mm *demand_mm_get(struct mm_struct *mm)
{
	struct demand_mm *dmm, *new = NULL;
	void *old;

	for (;;) {
		xa_lock(&demand_mms);
		dmm = demand_mm_find(mm);
		xa_unlock(&demand_mms);
		if (dmm)
			break;

		if (!new) {
			new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
			if (!new)
				return ERR_PTR(-ENOMEM);
			mutex_init(&new->mutex);
			new->areas = RB_ROOT_CACHED;
			new->nr = 1;
		}
		old = xa_cmpxchg(&demand_mms, (unsigned long)mm, NULL, new,
				 GFP_KERNEL_ACCOUNT);
		if (!old)
			return new;
		if (xa_is_err(old)) {
			dmm = ERR_PTR(xa_err(old));
			break;
		}
	}
	kfree(new);

	return dmm;
}

static void demand_mm_put(struct demand_mm *dmm, struct mm_struct *mm)
{
	xa_lock(&demand_mms);
	if (--dmm->nr)
		dmm = NULL;
	else
		__xa_erase(&demand_mms, (unsigned long)mm);
	xa_unlock(&demand_mms);
	kfree(dmm);
}

/*
 * Do DEMAND_MAX_OVERLAP areas contain the same page of @range? The tree returns
 * areas in the order of their first bytes, so it suffices to remember the last
 * bytes of those that contain the first byte of the one at hand.
 */
static bool demand_mm_is_full(struct demand_mm *dmm, const struct interval_tree_node *range)
{
	unsigned long last[DEMAND_MAX_OVERLAP];
	struct interval_tree_node *node;
	unsigned int i, n = 0;

	lockdep_assert_held(&dmm->mutex);

	for (node = interval_tree_iter_first(&dmm->areas, range->start, range->last); node;
	     node = interval_tree_iter_next(node, range->start, range->last)) {
		for (i = 0; i < n; )
			if (last[i] < node->start)
				last[i] = last[--n];
			else
				i++;
		last[n++] = node->last;
		if (n == DEMAND_MAX_OVERLAP)
			return true;
		cond_resched();
	}

	return false;
}

/* Count @darea among the areas of its process. -ENOSPC if there are too many. */
static int demand_area_charge(struct demand_area *darea)
{
	struct demand_mm *dmm = demand_mm_get(darea->pages->source_mm);
	bool full;

	if (IS_ERR(dmm))
		return PTR_ERR(dmm);

	scoped_guard(mutex, &dmm->mutex) {
		full = demand_mm_is_full(dmm, &darea->va);
		if (!full)
			interval_tree_insert(&darea->va, &dmm->areas);
	}
	if (full) {
		demand_mm_put(dmm, darea->pages->source_mm);
		return -ENOSPC;
	}
	darea->dmm = dmm;

	return 0;
}

static void demand_area_uncharge(struct demand_area *darea)
{
	scoped_guard(mutex, &darea->dmm->mutex)
		interval_tree_remove(&darea->va, &darea->dmm->areas);
	demand_mm_put(darea->dmm, darea->pages->source_mm);
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
 * Unmap @darea. No worker can find it any more. Workers that wait for user
 * space hold none of the locks.
 *
 * All slices share an invalidation. Until it is complete, hardware may still
 * have pages cached that the process loses. So blocks stay marked as used until
 * then, and notifiers keep invalidating. Afterwards, notifiers do nothing.
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

		scoped_guard(mutex, &slice->lock)
			bitmap_zero(slice->used, DEMAND_SLICE_BLOCKS);
		cond_resched();
	}
}

/*
 * Remove the notifiers of @darea, which has been unmapped, and drop the list's
 * reference. Waits for other notifiers of the process, such as those of a fork,
 * which may take long. The HWPT may be gone.
 */
static void demand_area_free(struct demand_area *darea)
{
	unsigned int i;

	for (i = 0; i < darea->nr_slices; i++) {
		mmu_interval_notifier_remove(&darea->slices[i].notifier);
		cond_resched();
	}
	demand_area_uncharge(darea);
	demand_area_put(darea);
}

static int demand_slice_init(struct demand_area *darea, struct iopt_area *area,
			     unsigned long iova)
{
	struct demand_slice *slice = &darea->slices[darea->nr_slices];
	unsigned long va = darea->va.start + (iova - iopt_area_iova(area));
	int rc;

	slice->area = darea;
	slice->iova = iova;
	slice->last_iova = min(iopt_area_last_iova(area), iova | (DEMAND_SLICE_SIZE - 1));
	mutex_init(&slice->lock);

	rc = mmu_interval_notifier_insert(&slice->notifier, darea->pages->source_mm, va,
					  slice->last_iova - iova + 1, &demand_notifier_ops);
	if (!rc)
		darea->nr_slices++;
	/* A process's first notifier takes many locks, and gives up for a signal. */
	return rc == -EINTR ? -ERESTARTNOINTR : rc;
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

static struct demand_area *demand_area_alloc(struct iommufd_demand *demand,
					     struct iopt_area *area, struct iopt_pages *pages)
{
	unsigned long iova = iopt_area_iova(area), last = iopt_area_last_iova(area);
	unsigned long nr = (last >> DEMAND_SLICE_SHIFT) - (iova >> DEMAND_SLICE_SHIFT) + 1;
	struct demand_area *darea;

	darea = kvzalloc(struct_size(darea, slices, nr), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!darea)
		return NULL;

	kref_init(&darea->kref);
	darea->demand = demand;
	darea->prot = area->iommu_prot;
	darea->va.start = (unsigned long)pages->uptr + iopt_area_start_byte(area, iova);
	darea->va.last = darea->va.start + (last - iova);
	darea->pages = pages;
	kref_get(&pages->kref);

	return darea;
}

static struct demand_area *demand_area_create(struct iommufd_demand *demand,
					      struct iopt_area *area, struct iopt_pages *pages)
{
	unsigned long uptr = (unsigned long)pages->uptr;
	struct demand_area *darea;
	int rc;

	/* Mappings of a nest parent have to be writable: erratum 772415. */
	if (demand->nest_parent && !(area->iommu_prot & IOMMU_WRITE))
		return ERR_PTR(-EINVAL);
	/* Notifiers are found by the address without a tag. */
	if (uptr > TASK_SIZE || pages->npages * PAGE_SIZE > TASK_SIZE - uptr)
		return ERR_PTR(-EFAULT);

	darea = demand_area_alloc(demand, area, pages);
	if (!darea)
		return ERR_PTR(-ENOMEM);
	rc = demand_area_charge(darea);
	if (rc) {
		demand_area_put(darea);
		return ERR_PTR(rc);
	}

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
 * Return: 0, or a negative errno after which the caller has to call
 * iopt_demand_remove_area().
 */
int iopt_demand_add_area(struct iopt_area *area, struct iopt_pages *pages)
{
	struct io_pagetable *iopt = area->iopt;
	struct iommufd_demand *demand;
	struct demand_area *darea;

	lockdep_assert_held(&iopt->domains_rwsem);

	list_for_each_entry(demand, &iopt->demands, node) {
		darea = demand_area_create(demand, area, pages);
		if (IS_ERR(darea))
			return PTR_ERR(darea);
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
 * iopt_demand_free_areas() - remove the notifiers of areas that have been
 * unmapped
 * @unmapped: list of these
 *
 * Context: may sleep, and waits for other notifiers of the process, so that no
 * lock of the IOAS should be held.
 */
void iopt_demand_free_areas(struct list_head *unmapped)
{
	struct demand_area *darea, *next;

	list_for_each_entry_safe(darea, next, unmapped, node)
		demand_area_free(darea);
}

/**
 * iopt_demand_remove_area() - undo iopt_demand_add_area()
 * @area: the area, which need not have been added
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

/*
 * With all areas gone, nobody uses the domains' tables; see
 * iopt_free_empty_tables().
 */
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

/**
 * iommufd_demand_slice_get() - look up a slice
 * @demand: the HWPT's demand paging
 * @iova: an address in the slice
 * @prot: permissions that the mapping has to have, %IOMMU_READ, %IOMMU_WRITE
 *
 * Context: may sleep. The holder of the locks may pin pages, and wait for user
 * space; a signal ends the wait.
 *
 * Return: the slice, for which the caller has to call
 * iommufd_demand_slice_put(); -ENOENT if the user has mapped nothing there;
 * -EPERM if the mapping does not allow all of @prot; -EINTR if the HWPT has
 * gone, or a signal ended the wait.
 */
struct demand_slice *iommufd_demand_slice_get(struct iommufd_demand *demand,
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

/**
 * iommufd_demand_slice_put() - drop the reference of iommufd_demand_slice_get()
 * @slice: the slice
 */
void iommufd_demand_slice_put(struct demand_slice *slice)
{
	demand_area_put(slice->area);
}
