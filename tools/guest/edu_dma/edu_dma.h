/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the KUnit suites of the edu driver: the devices, some reserved
 * memory, DMA with checks, and the DMA faults that the kernel has reported.
 */
#ifndef EDU_DMA_H
#define EDU_DMA_H

#include <kunit/test.h>
#include <linux/pci.h>
#include <linux/sizes.h>

#include "../dma_test.h"
#include "../edu.h"

#define EDU_MAX		5

/**
 * struct edu - one device and the page through which its buffer is accessed
 * @pdev: the PCI device
 * @regs: BAR 0
 * @rid: the requester ID that its DMA reaches the IOMMU with: its own, or that of a
 *	bridge in front of it
 * @page: a page of RAM, bounce buffer between the CPU and the device's buffer
 * @iova: the IOVA of @page, valid only while a test maps it there
 */
struct edu {
	struct pci_dev *pdev;
	void __iomem *regs;
	u16 rid;
	void *page;
	u64 iova;
};

extern struct edu edu_devices[EDU_MAX];
extern int edu_count;
extern u64 edu_arena_phys;
extern void *edu_arena;

struct edu *edu_get(struct kunit *test, int index);
u32 edu_new_seed(void);

int edu_copy_in(struct edu *edu, u64 iova, u32 count);
int edu_copy_out(struct edu *edu, u64 iova, u32 count);

void edu_expect_reads(struct kunit *test, struct edu *edu, u64 iova, u32 seed);
void edu_expect_writes(struct kunit *test, struct edu *edu, u64 iova,
		       const void *page);
void edu_expect_no_read(struct kunit *test, struct edu *edu, u64 iova,
			u32 secret);
void edu_expect_no_write(struct kunit *test, struct edu *edu, u64 iova,
			 const void *page, u32 seed);
void edu_expect_both_ways(struct kunit *test, struct edu *edu);
int edu_unexpected_faults(void);

#endif
