/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counts and dumps of pgtable.c's tables. They change nothing.
 */
#ifndef _INTEL_IOMMU_PGTABLE_INSPECT_H
#define _INTEL_IOMMU_PGTABLE_INSPECT_H

#include "pgtable_walk.h"

/**
 * vtd_pt_path() - walk a table as hardware would
 * @root: physical address of the topmost table
 * @levels: its level
 * @iova: I/O virtual address in bytes
 * @path: the entries of the walk, by level; 0 for levels that it did not reach
 *
 * Starts from the pointer in a PASID entry, so that fault dumps and debugfs
 * need no &struct vtd_pt. Only for tables of this library: others may be freed
 * at any time.
 *
 * Context: any; under rcu_read_lock() since before @root was read, or while the
 * table can neither be destroyed nor free tables.
 *
 * Return: the level at which the walk ended, at a leaf or an empty entry.
 */
unsigned int vtd_pt_path(phys_addr_t root, unsigned int levels, u64 iova,
			 u64 path[VTD_PT_MAX_LEVELS + 1])
{
	u64 *table = phys_to_virt(root);
	unsigned int level;

	memset(path, 0, sizeof(u64) * (VTD_PT_MAX_LEVELS + 1));
	for (level = levels; ; level--) {
		path[level] = vtd_pt_load(table + vtd_pt_index(iova, level));
		if (!fmt_is_table(path[level], level))
			return level;

		table = vtd_pt_table(path[level]);
	}
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_path);

/**
 * vtd_pt_next_leaf() - find the first leaf at or after an address
 * @root: physical address of the topmost table
 * @levels: its level
 * @iova: where to start, in bytes; set to the first address of the leaf
 * @path: the entries that lead to the leaf, by level
 * @level: the leaf's level: 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB
 *
 * Context: as vtd_pt_path().
 *
 * Return: false if there is no such leaf.
 */
bool vtd_pt_next_leaf(phys_addr_t root, unsigned int levels, u64 *iova,
		      u64 path[VTD_PT_MAX_LEVELS + 1], unsigned int *level)
{
	while (*iova < vtd_pt_size(levels + 1)) {
		u64 *slot;

		*level = vtd_pt_path(root, levels, *iova, path);
		*iova = ALIGN_DOWN(*iova, vtd_pt_size(*level));
		if (fmt_present(path[*level]))
			return true;

		/*
		 * Skip to the next present entry, or to the end of the table.
		 */
		slot = *level == levels ? phys_to_virt(root) :
					  vtd_pt_table(path[*level + 1]);
		slot += vtd_pt_index(*iova, *level);
		do {
			*iova += vtd_pt_size(*level);
		} while (vtd_pt_index(*iova, *level) && !fmt_present(vtd_pt_load(++slot)));
	}

	return false;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_next_leaf);

static void vtd_pt_count_table(u64 *table, unsigned int level, struct vtd_pt_stats *stats)
{
	unsigned int i;

	for (i = 0; i < VTD_PT_ENTRIES; i++) {
		u64 entry = vtd_pt_load(table + i);

		if (fmt_is_table(entry, level))
			vtd_pt_count_table(vtd_pt_table(entry), level - 1, stats);
		else if (fmt_present(entry))
			stats->leaves[level]++;
	}
}

/**
 * vtd_pt_count_leaves() - count the leaves of 1 GiB, or skip a larger empty
 * range
 * @pt: the table
 * @iova: where to start, a multiple of 1 GiB; set to the start of the next call
 * @stats: where to add the numbers
 *
 * Leaves are counted on request: a counter would cost every map a store to a
 * shared cache line. Concurrent operations may be counted in part.
 *
 * Context: any except concurrently with vtd_pt_destroy(). Bounded by 1 GiB, so
 * that the caller can reschedule between calls.
 *
 * Return: true if there is more to count.
 */
bool vtd_pt_count_leaves(struct vtd_pt *pt, u64 *iova, struct vtd_pt_stats *stats)
{
	unsigned int level = pt->cfg.levels;
	u64 *table = pt->root, entry;

	guard(rcu)();
	for (;; level--) {
		entry = vtd_pt_load(table + vtd_pt_index(*iova, level));
		if (level == VTD_PT_MAX_LEAF || !fmt_is_table(entry, level))
			break;
		table = vtd_pt_table(entry);
	}

	if (fmt_is_table(entry, level))
		vtd_pt_count_table(vtd_pt_table(entry), level - 1, stats);
	else if (fmt_present(entry))
		stats->leaves[level]++;
	*iova = ALIGN_DOWN(*iova, vtd_pt_size(level)) + vtd_pt_size(level);

	return *iova <= pt->last;
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_count_leaves);

/**
 * vtd_pt_count_tables() - count the tables by level
 * @pt: the table
 * @stats: set to the numbers of tables; no leaves
 *
 * Context: as vtd_pt_count_leaves().
 */
void vtd_pt_count_tables(struct vtd_pt *pt, struct vtd_pt_stats *stats)
{
	unsigned int level;

	memset(stats, 0, sizeof(*stats));
	for (level = 1; level <= VTD_PT_MAX_LEVELS; level++)
		stats->tables[level] = atomic_long_read(&pt->nr_tables[level]);
	stats->deposited = atomic_long_read(&pt->nr_deposited);
}
EXPORT_SYMBOL_IF_KUNIT(vtd_pt_count_tables);

#endif /* _INTEL_IOMMU_PGTABLE_INSPECT_H */
