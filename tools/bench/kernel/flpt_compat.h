/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included before everything else in pgtable.c, which is built unmodified.
 *
 * Compile the hooks for KUnit out, as in a production kernel.
 */
#ifndef _FLPT_COMPAT_H
#define _FLPT_COMPAT_H

#undef CONFIG_KUNIT

#endif /* _FLPT_COMPAT_H */
