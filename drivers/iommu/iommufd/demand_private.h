/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Demand paging: HWPTs that pin nothing and follow the pages of the process.
 *
 * demand_area.c	areas, cut into slices, and their MMU notifiers
 * demand_page.c	faults in a page of the process and maps it
 * demand_fault.c	workers, which serve page requests
 * demand.c		HWPTs and devices
 *
 * The IOAS records what the user has mapped. A demand-paged HWPT starts empty.
 * When a device hits a hole it makes a page request; a worker faults the page
 * in and maps it. When the process loses a page (swap, migration, madvise,
 * munmap, fork, ...), an MMU notifier unmaps it.
 *
 * Each area of the IOAS is cut at every GiB of IOVA. Such a slice has an
 * interval notifier and a mutex, which orders its maps against its notifier. As
 * slices are disjoint and no large page crosses one, the holder of the mutex
 * also owns the range, as the page tables require.
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
 *   demand_mm::mutex
 *	The areas of a process. It may be taken with the locks of the IOAS held, and
 *	nothing is allocated under it.
 *   demand::mutex
 *	Page requests that are being served. Under it, nothing waits for memory or for
 *	user space.
 *
 * No stale translations: a worker maps a page that it has looked up only if no
 * notifier has run since; it checks that under slice::lock. A later notifier
 * waits for the mutex and unmaps; an earlier one has made the sequence number
 * stale. iommu_unmap() invalidates IOTLB and device TLBs and, on VT-d, waits
 * for software walks of a guest's tables through the second level, see
 * nested_walk_wait(). If a device does not answer an invalidation, the IOMMU
 * driver blocks it until its reset, if it can.
 *
 * A worker may have to wait for the process: for a page that userfaultfd has yet
 * to deliver, for mmap_lock, for pinning by another HWPT of the IOAS, for swap,
 * and for other notifiers to end. So no other code waits for a worker:
 *
 *  - While it waits, it holds none of the locks except demand::live, for which
 *    only destroying the HWPT waits, after the detach. It uses neither HWPT nor
 *    IOAS.
 *  - Detaching answers the request. A signal tells the worker.
 *  - After DEMAND_TIMEOUT, a signal ends the wait, and the worker answers. The
 *    device repeats its request.
 *  - No signal ends waits for swap or for other notifiers. After DEMAND_EXPIRY,
 *    the request is answered without the worker. Until that returns, requests
 *    for the same block get no other worker, and are repeated.
 *  - Closing a device leaves it to a work item to destroy its queue.
 *
 * Removing a notifier waits for all other notifiers of the process. Unmapping
 * an area and destroying a HWPT therefore drop the locks of the IOAS first. The
 * error paths of mapping and of HWPT allocation hold them. A process's first
 * notifier takes mmap_lock for writing, with the locks of the IOAS held.
 */
#ifndef __IOMMUFD_DEMAND_PRIVATE_H
#define __IOMMUFD_DEMAND_PRIVATE_H

#include <linux/bits.h>
#include <linux/interval_tree.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include "../iommu-priv.h"
#include "demand.h"

/*
 * An aligned block, the range of a page table: the most that is looked up and
 * mapped at once
 */
#define DEMAND_BLOCK_SHIFT	21
#define DEMAND_BLOCK_SIZE	BIT(DEMAND_BLOCK_SHIFT)
#define DEMAND_BLOCK_PAGES	(DEMAND_BLOCK_SIZE / PAGE_SIZE)

#define DEMAND_SLICE_SHIFT	30
#define DEMAND_SLICE_SIZE	BIT(DEMAND_SLICE_SHIFT)
#define DEMAND_SLICE_BLOCKS	BIT(DEMAND_SLICE_SHIFT - DEMAND_BLOCK_SHIFT)

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
	struct demand_mm *dmm;		/* that has @va */
	struct interval_tree_node va;
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
	struct device *dev;		/* freed before this, but after its detach */
	struct list_head node;		/* of demand_dying */
	struct work_struct free_work;
	atomic_t nr_faults;
	atomic_t nr_late;		/* workers that may wait for userfaultfd */
};

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

static inline unsigned long demand_slice_va(const struct demand_slice *slice,
					    unsigned long iova)
{
	return slice->notifier.interval_tree.start + (iova - slice->iova);
}

static inline unsigned long demand_slice_iova(const struct demand_slice *slice,
					      unsigned long va)
{
	return slice->iova + (va - slice->notifier.interval_tree.start);
}

static inline unsigned int demand_block(const struct demand_slice *slice,
					unsigned long iova)
{
	return (iova & (DEMAND_SLICE_SIZE - 1)) >> DEMAND_BLOCK_SHIFT;
}

/* demand_area.c */
struct demand_slice *iommufd_demand_slice_get(struct iommufd_demand *demand,
					      unsigned long iova, int prot);
void iommufd_demand_slice_put(struct demand_slice *slice);

/* demand_page.c */
int iommufd_demand_page(struct demand_fault *fault, struct demand_slice *slice,
			unsigned long iova, bool write, bool alone, unsigned int *reclaims);

/* demand_fault.c */
void iommufd_demand_put(struct iommufd_demand *demand);

#endif /* __IOMMUFD_DEMAND_PRIVATE_H */
