/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included before everything else in io-pgtable-arm.c, which writes entries back by the
 * DMA API. In user-mode Linux that does nothing. This flushes cache lines instead, as x86
 * would for a device that does not snoop.
 */
#ifndef _LPAE_COMPAT_H
#define _LPAE_COMPAT_H

#include <linux/dma-mapping.h>
#include <linux/io.h>

#include "clflush.h"

static inline dma_addr_t bench_dma_map(struct device *dev, void *addr,
				       size_t size,
				       enum dma_data_direction dir)
{
	clflush_cache_range(addr, size);

	return virt_to_phys(addr);
}

static inline void bench_dma_unmap(struct device *dev, dma_addr_t dma,
				   size_t size, enum dma_data_direction dir)
{
}

static inline int bench_dma_error(struct device *dev, dma_addr_t dma)
{
	return 0;
}

static inline void bench_dma_sync(struct device *dev, dma_addr_t dma,
				  size_t size, enum dma_data_direction dir)
{
	clflush_cache_range(phys_to_virt(dma), size);
}

#undef dma_map_single
#undef dma_unmap_single
#define dma_map_single			bench_dma_map
#define dma_unmap_single		bench_dma_unmap
#define dma_mapping_error		bench_dma_error
#define dma_sync_single_for_device	bench_dma_sync

/* the file has one of its own */
#undef pr_fmt

#endif /* _LPAE_COMPAT_H */
