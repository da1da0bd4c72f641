// SPDX-License-Identifier: GPL-2.0-only
/* KUnit suite of first-level page tables: pgtable_kunit.c for that format. */

#define VTD_PT_FMT	fl
#define SECOND_LEVEL	0
#define SUITE_PREFIX	"flpt"

#include "pgtable_ns.h"
#include "pgtable_kunit.c"
