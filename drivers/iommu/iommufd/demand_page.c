// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fault in a page of the process, and map it in a demand-paged HWPT. See
 * demand_private.h.
 */

#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/iommu.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/userfaultfd_k.h>

#include "demand_private.h"
#include "io_pagetable.h"
#include "iommufd_private.h"

/* How much fresh memory is faulted in at once around a page */
#define DEMAND_AROUND		SZ_64K

/*
 * Only some of a device's workers may wait for userfaultfd, so that requests
 * for other pages are served meanwhile. Beyond that, the device repeats
 * requests for late pages.
 */
#define DEMAND_LATE_WORKERS	32

/*
 * May a device access this VMA? Memory only: faulting in a file may make its
 * file system wait for user space, and no signal can end that wait. Secret
 * memory, which not even the kernel may access, is a file, too.
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
 * Have a fault return instead of wait. Only a first try does so, and keeps
 * mmap_lock: a fault that was tried before would sleep, and drop the lock when
 * it is killed.
 */
static unsigned int demand_nowait(unsigned int flags)
{
	return (flags & ~FAULT_FLAG_TRIED) | FAULT_FLAG_RETRY_NOWAIT;
}

/*
 * Which of the @nr pages from @va on are present? For a @write, the zero page
 * does not count. A hint: they may be lost at any time.
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
 * Fault in pages around @va that are not present: otherwise, a device would
 * make a request for each page. Stop near a limit, and when time is up. Skipped
 * if userfaultfd may handle the fault, or if the process expects no accesses to
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
	if (!mem_cgroup_has_margin(DEMAND_AROUND / PAGE_SIZE, swapped))
		return;

	start = max3(start, vma->vm_start, slice->notifier.interval_tree.start);
	end = min3(end, vma->vm_end, slice->notifier.interval_tree.last + 1);
	nr = (end - start) >> PAGE_SHIFT;
	demand_present(fault, slice, start, nr, flags & FAULT_FLAG_WRITE, present);
	for_each_clear_bit(i, present, nr) {
		/* Other workers fault in pages, too. */
		if (fatal_signal_pending(current) ||
		    !mem_cgroup_has_margin(DEMAND_AROUND / PAGE_SIZE, swapped))
			return;
		if (handle_mm_fault(vma, start + i * PAGE_SIZE, demand_nowait(flags), NULL) &
		    (VM_FAULT_ERROR | VM_FAULT_RETRY))
			return;
	}
}

/*
 * May the worker wait for userfaultfd? Then it counts in @nr_late until it has
 * done so.
 */
static bool demand_late_begin(struct demand_fault *fault)
{
	return fault->patient &&
	       atomic_add_unless(&fault->queue->nr_late, 1, DEMAND_LATE_WORKERS);
}

/*
 * Fault in the page at @va, as an access by the CPU would. -EINTR if that takes
 * too long, -EBUSY if it would have to wait for userfaultfd, but must not. Sets
 * *@late, if not set, and counts the worker when userfaultfd may handle the
 * fault. fixup_user_fault() cannot be used: it takes mmap_lock again
 * uninterruptibly.
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
		/*
		 * A completed fault has dropped the lock, as faults of file
		 * pages may.
		 */
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
 * Set up a window: the part of the block around @iova that lies in one slice
 * and in one VMA, or with @alone only the page. -EFAULT if the device must not
 * access the VMA.
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
 * Look up the pages of @window. -EAGAIN if the requested page is not present,
 * or @write is set and it is not writable. Called with mmap_lock held.
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
 * CPUs do not notice a device's writes, so mark each page dirty that is mapped
 * writable. The notifier waits for slice::lock: nobody cleans or frees the page
 * before it is marked.
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
 * Pages that the process has marked by MADV_FREE are discarded if they are
 * clean. Map them read-only for a read. A write makes all pages of the window
 * dirty, or each page of a buffer would take a request; so does a read with
 * other pages, for a device that reads and then writes.
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
 * How a page may be mapped. 0 if not at all: a read-only page of a write-only
 * area, or a read-only page under a nest parent.
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
 * Map the run of pages from page @i of the window on that one call can map.
 * @empty: nothing is mapped in the window, except runs before this one. Returns
 * its number of pages, mapped or not, or a negative errno.
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
 * The process can write to a page that is mapped read-only, and no notifier was
 * called: unmap the window, so that all such pages are mapped writable, with
 * one invalidation. A device that uses one of them in between repeats its
 * access.
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
 * Map the page at @iova, which has been faulted in, and, unless @alone, present
 * pages around it. -ENOMEM if there is no free memory for a table: see
 * demand_make_room().
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
 * Reclaim memory for a table, within the process's limits, and leave it to the
 * next demand_map(). Do not wait for an OOM kill.
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
 * Does the process that has mapped the area still run on this memory? A process
 * that is being killed must not be kept alive by its device. After execve(),
 * the memory belongs to nobody: it would be charged to the root cgroup.
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

/**
 * iommufd_demand_page() - fault in and map a page
 * @fault: the page requests that are served
 * @slice: the slice of @iova
 * @iova: the page, aligned
 * @write: the page has to be writable
 * @alone: map no other pages
 * @reclaims: how often memory may be reclaimed for a table
 *
 * Acts as the user that has mapped the area, and charges the memory to the
 * process: without an active memcg, kernel memory that a worker allocates would
 * be charged to the root cgroup.
 *
 * Context: a worker; may sleep, and wait for user space until a signal ends the
 * wait.
 *
 * Return: 0; -EAGAIN if the page was lost meanwhile; -EBUSY if the page is late
 * and the worker must not wait for it; -EINTR if a signal ended the wait;
 * -ENOMEM; -EFAULT or another errno if the device must not access the page.
 */
int iommufd_demand_page(struct demand_fault *fault, struct demand_slice *slice,
			unsigned long iova, bool write, bool alone, unsigned int *reclaims)
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
		if (rc == -ENOMEM && *reclaims && demand_make_room()) {
			--*reclaims;
			rc = -EAGAIN;
		}
	}
	revert_creds(cred);
	mmput_async(mm);
	/*
	 * A worker does not return to user space, where a task is throttled for
	 * exceeding memory.high. Without this, it would be throttled during a
	 * later fault, with mmap_lock held, and perhaps for another process. (For
	 * a huge page, the charge itself throttles, as for the process.)
	 */
	mem_cgroup_handle_over_high(GFP_KERNEL);
	set_active_memcg(old);
	mem_cgroup_put(memcg);

	return rc;
}
