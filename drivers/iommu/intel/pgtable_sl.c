// SPDX-License-Identifier: GPL-2.0-only
/* Second-level page tables: pgtable.c with the format of pgtable_sl.h. */

#define VTD_PT_FMT	sl

#include "pgtable_ns.h"
#include "pgtable_sl.h"
#include "pgtable.c"
#include "pgtable_dirty.h"
