// SPDX-License-Identifier: GPL-2.0-only
/* First-level page tables: pgtable.c with the format of pgtable_fl.h. */

#define VTD_PT_FMT	fl

#include "pgtable_ns.h"
#include "pgtable_fl.h"
#include "pgtable.c"
