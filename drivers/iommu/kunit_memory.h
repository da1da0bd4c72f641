/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory use of the IOMMU code, for tests of leaks, and failing
 * allocations.
 */

#ifndef __KUNIT_MEMORY_H
#define __KUNIT_MEMORY_H

#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/vmstat.h>

/* Includes what the CPUs have not added to the sum yet. */
static inline long kunit_node_pages(enum node_stat_item item)
{
	long pages = global_node_page_state_pages(item);
	int nid, cpu;

	for_each_online_node(nid) {
		struct per_cpu_nodestat __percpu *stat = NODE_DATA(nid)->per_cpu_nodestats;

		for_each_online_cpu(cpu)
			pages += per_cpu_ptr(stat, cpu)->vm_node_stat_diff[item];
	}

	return pages;
}

/**
 * kunit_iommu_memory() - memory in use for IOMMU tables and by the slab
 * allocator
 *
 * Unlike the number of free pages, this does not depend on per-CPU lists. It
 * does count slab allocations of others: only memory that grows by thousands of
 * operations, every time, is a leak.
 *
 * Context: may sleep; waits for an RCU barrier.
 * Return: the number of bytes.
 */
static inline long kunit_iommu_memory(void)
{
	rcu_barrier();
	kvfree_rcu_barrier();

	return (kunit_node_pages(NR_IOMMU_PAGES) +
		kunit_node_pages(NR_SLAB_UNRECLAIMABLE_B)) * (long)PAGE_SIZE;
}

#if defined(CONFIG_FAILSLAB) && defined(CONFIG_FAULT_INJECTION_DEBUG_FS)
static inline void *kunit_fault_attr(const char *attr, const char *name)
{
	struct dentry *dir = debugfs_lookup(attr, NULL), *file;
	void *value = NULL;

	if (IS_ERR_OR_NULL(dir))
		return NULL;
	file = debugfs_lookup(name, dir);
	if (!IS_ERR_OR_NULL(file)) {
		value = d_inode(file)->i_private;
		dput(file);
	}
	dput(dir);

	return value;
}

/* Can this kernel make allocations fail? */
static inline bool kunit_can_fail_allocations(void)
{
	return kunit_fault_attr("failslab", "ignore-gfp-wait");
}

/*
 * Fault injection spares allocations that may sleep, which are most, by
 * default. Pages do not fail here: KASAN's stack depot may take some at any
 * moment, and does not report a failure. Nor does kmemleak, for each object:
 * these tests need a kernel without it. Turning it off restores the user's
 * settings.
 */
static inline void kunit_inject(bool on)
{
	bool *spare_sleeping = kunit_fault_attr("failslab", "ignore-gfp-wait");
	u32 *min_order = kunit_fault_attr("fail_page_alloc", "min-order");
	static bool is_on, old_spare_sleeping;
	static u32 old_min_order;

	if (on == is_on)
		return;
	is_on = on;
	if (spare_sleeping && on)
		old_spare_sleeping = *spare_sleeping;
	if (spare_sleeping)
		*spare_sleeping = !on && old_spare_sleeping;
	if (min_order && on)
		old_min_order = *min_order;
	if (min_order)
		*min_order = on ? NR_PAGE_ORDERS : old_min_order;
}

/* Make the @nth allocation from now on fail. */
static inline void kunit_fail_allocation(unsigned int nth)
{
	kunit_inject(true);
	current->fail_nth = nth;
}

/* Whether the allocation that was to fail has been reached */
static inline bool kunit_allocation_failed(void)
{
	bool failed = !current->fail_nth;

	current->fail_nth = 0;
	kunit_inject(false);

	return failed;
}

/* All allocations of this task fail, from now on or no more. */
static inline void kunit_fail_allocations(bool on)
{
	unsigned long *probability = kunit_fault_attr("failslab", "probability");
	bool *filter = kunit_fault_attr("failslab", "task-filter");
	atomic_t *times = kunit_fault_attr("failslab", "times");
	static unsigned long old_probability;
	static bool is_on, old_filter;
	static int old_times;

	if (!probability || !filter || !times || on == is_on)
		return;

	is_on = on;
	if (on) {
		old_probability = *probability;
		old_filter = *filter;
		old_times = atomic_read(times);
	}
	kunit_inject(on);
	*probability = on ? 100 : old_probability;
	*filter = on || old_filter;
	atomic_set(times, on ? -1 : old_times);
	current->make_it_fail = on;
}
#else
static inline bool kunit_can_fail_allocations(void) { return false; }
static inline void kunit_fail_allocations(bool on) {}
static inline void kunit_fail_allocation(unsigned int nth) {}
static inline bool kunit_allocation_failed(void) { return false; }
#endif

#endif /* __KUNIT_MEMORY_H */
