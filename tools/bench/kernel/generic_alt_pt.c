// SPDX-License-Identifier: GPL-2.0-only
/*
 * generic_pt once more, under other names, from a copy of its headers in which
 * two members of a structure have another type; see kernels.sh.
 */

#define pt_iommu_x86_64_init			bench_alt_init
#define pt_iommu_x86_64_iova_to_phys		bench_alt_iova_to_phys
#define pt_iommu_x86_64_hw_info			bench_alt_hw_info
#define pt_iommu_x86_64_read_and_clear_dirty	bench_alt_read_and_clear_dirty

#include "../generic_alt/fmt/iommu_x86_64.c"
