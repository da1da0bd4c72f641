// SPDX-License-Identifier: GPL-2.0-only
/*
 * generic_pt as generic_alt_pt.c builds it.
 */

#define GENERIC_FMT	x86_64
#define GENERIC_INIT	bench_alt_init
#define GENERIC_LOOKUP	bench_alt_iova_to_phys
#define GENERIC_LIB	bench_generic_alt
#define GENERIC_NAME	"generic-alt"
#define GENERIC_LEVEL	1

#include "generic.h"
