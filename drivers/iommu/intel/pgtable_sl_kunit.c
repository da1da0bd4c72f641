// SPDX-License-Identifier: GPL-2.0-only
/* KUnit suite of second-level page tables: pgtable_kunit.c for that format. */

#define VTD_PT_FMT	sl
#define SECOND_LEVEL	1
#define SUITE_PREFIX	"slpt"

#include "pgtable_ns.h"
#include "pgtable_kunit.c"
