// SPDX-License-Identifier: GPL-2.0-only
/*
 * generic_pt's second-stage format as generic_alt_ss_pt.c builds it.
 */

#define GENERIC_FMT	vtdss
#define GENERIC_INIT	bench_alt_ss_init
#define GENERIC_LOOKUP	bench_alt_ss_iova_to_phys
#define GENERIC_LIB	bench_generic_alt_ss
#define GENERIC_NAME	"generic-alt"
#define GENERIC_LEVEL	2

#include "generic.h"
