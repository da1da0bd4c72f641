/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Comes before everything else in pgtable.c, which is built here as it is.
 *
 * Its tests' hooks are left out: a kernel that is not for testing has none.
 */
#ifndef _FLPT_COMPAT_H
#define _FLPT_COMPAT_H

#undef CONFIG_KUNIT

#endif /* _FLPT_COMPAT_H */
