/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names for files that are compiled once for each format: VTD_PT_FMT is fl or
 * sl, and vtd_pt_map() means vtd_pt_fl_map() or vtd_pt_sl_map().
 */
#ifndef _INTEL_IOMMU_PGTABLE_NS_H
#define _INTEL_IOMMU_PGTABLE_NS_H

#define __VTD_PT_CONCAT(fmt, name)	vtd_pt_##fmt##_##name
#define _VTD_PT_CONCAT(fmt, name)	__VTD_PT_CONCAT(fmt, name)
#define VTD_PT_NS(name)			_VTD_PT_CONCAT(VTD_PT_FMT, name)

#define vtd_pt_create			VTD_PT_NS(create)
#define vtd_pt_destroy			VTD_PT_NS(destroy)
#define vtd_pt_nr_tables		VTD_PT_NS(nr_tables)
#define vtd_pt_free_empty_tables	VTD_PT_NS(free_empty_tables)
#define vtd_pt_map			VTD_PT_NS(map)
#define vtd_pt_unmap			VTD_PT_NS(unmap)
#define vtd_pt_prealloc			VTD_PT_NS(prealloc)
#define vtd_pt_iova_to_phys		VTD_PT_NS(iova_to_phys)
#define vtd_pt_iova_to_phys_length	VTD_PT_NS(iova_to_phys_length)
#define vtd_pt_is_writable		VTD_PT_NS(is_writable)
#define vtd_pt_read_and_clear_dirty	VTD_PT_NS(read_and_clear_dirty)
#define vtd_pt_root			VTD_PT_NS(root)
#define vtd_pt_config			VTD_PT_NS(config)
#define vtd_pt_last_iova		VTD_PT_NS(last_iova)
#define vtd_pt_count_tables		VTD_PT_NS(count_tables)
#define vtd_pt_count_leaves		VTD_PT_NS(count_leaves)
#define vtd_pt_path			VTD_PT_NS(path)
#define vtd_pt_next_leaf		VTD_PT_NS(next_leaf)

/* Visible to tests; see pgtable_test.h. */
#define vtd_pt_alloc_page		VTD_PT_NS(alloc_page)
#define vtd_pt_split_depth		VTD_PT_NS(split_depth)
#define vtd_pt_split_ends		VTD_PT_NS(split_ends)

#endif /* _INTEL_IOMMU_PGTABLE_NS_H */
