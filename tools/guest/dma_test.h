/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the kernel modules that drive QEMU's test devices: starting a device, and
 * distinguishable pages.
 */
#ifndef DMA_TEST_H
#define DMA_TEST_H

#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/hash.h>
#include <linux/io.h>
#include <linux/pci.h>

/* Enable @pdev and DMA to all addresses. BAR 0 must read @id at @id_at. */
static inline int start_device(struct pci_dev *pdev, unsigned int id_at, u32 id,
			       void __iomem **regs)
{
	int ret = pcim_enable_device(pdev);

	if (ret)
		return ret;
	*regs = pcim_iomap_region(pdev, 0, KBUILD_MODNAME);
	if (IS_ERR(*regs))
		return PTR_ERR(*regs);
	if (readl(*regs + id_at) != id)
		return -ENODEV;

	return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

/*
 * Wait for events in rounds of a sleep, not by the clock, which advances while a busy host
 * does not run the guest.
 */
#define wait_in_rounds(condition) ({					\
	int rounds_left = 10000;					\
									\
	while (!(condition) && rounds_left-- > 0)			\
		usleep_range(500, 1000);				\
	rounds_left >= 0;						\
})

/* Patterns differ in every word, and from one seed to another. */
static inline u64 pattern(u32 seed, int word)
{
	return (((u64)seed << 32) + word + 1) * GOLDEN_RATIO_64;
}

static inline void fill_page(void *page, u32 seed)
{
	u64 *words = page;
	int i;

	for (i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		words[i] = pattern(seed, i);
}

static inline bool page_holds(const void *page, u32 seed)
{
	const u64 *words = page;
	int i;

	for (i = 0; i < PAGE_SIZE / sizeof(*words); i++) {
		if (READ_ONCE(words[i]) != pattern(seed, i))
			return false;
	}

	return true;
}

#endif
