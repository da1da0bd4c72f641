// SPDX-License-Identifier: GPL-2.0-only
/*
 * generic_pt's second-stage format as its kernel builds it.
 */

#define GENERIC_FMT	vtdss
#define GENERIC_INIT	pt_iommu_vtdss_init
#define GENERIC_LOOKUP	pt_iommu_vtdss_iova_to_phys
#define GENERIC_LIB	bench_generic_ss
#define GENERIC_NAME	"generic"
#define GENERIC_LEVEL	2

#include "generic.h"
