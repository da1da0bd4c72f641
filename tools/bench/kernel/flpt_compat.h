/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Comes before everything else in flpt.c, which is built here as it is.
 *
 * Its tests' hooks are left out: a kernel that is not for testing has none.
 *
 * On x86, storing to a per-CPU variable is one instruction. User-mode Linux
 * turns interrupts off and on around it, which costs more than all the rest of
 * a map; nothing here is called from an interrupt, so the plain store will do.
 */
#ifndef _FLPT_COMPAT_H
#define _FLPT_COMPAT_H

#undef CONFIG_KUNIT

#include <linux/percpu.h>

#undef this_cpu_read
#undef this_cpu_write
#define this_cpu_read(pcp)		raw_cpu_read(pcp)
#define this_cpu_write(pcp, val)	raw_cpu_write(pcp, val)

#endif /* _FLPT_COMPAT_H */
