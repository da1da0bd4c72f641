// SPDX-License-Identifier: GPL-2.0-only
/*
 * generic_pt as its kernel builds it.
 */

#define GENERIC_FMT	x86_64
#define GENERIC_INIT	pt_iommu_x86_64_init
#define GENERIC_LOOKUP	pt_iommu_x86_64_iova_to_phys
#define GENERIC_LIB	bench_generic
#define GENERIC_NAME	"generic"
#define GENERIC_LEVEL	1

#include "generic.h"
