// SPDX-License-Identifier: GPL-2.0-only
/*
 * generic_pt's second-stage format once more, under other names, from a copy of its headers in which
 * two members of a structure have another type; see kernels.sh.
 */

#define pt_iommu_vtdss_init			bench_alt_ss_init
#define pt_iommu_vtdss_iova_to_phys		bench_alt_ss_iova_to_phys
#define pt_iommu_vtdss_hw_info			bench_alt_ss_hw_info
#define pt_iommu_vtdss_read_and_clear_dirty	bench_alt_ss_read_and_clear_dirty

#include "../generic_alt/fmt/iommu_vtdss.c"
