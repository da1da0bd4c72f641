// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that firmware reserves for a device (RMRR): DMA to it always works, at its physical
 * address, without a call of the DMA API.
 */
#include <linux/dma-mapping.h>
#include <linux/io.h>

#include "edu_dma.h"

static ulong region;
module_param_named(rmrr, region, ulong, 0444);
MODULE_PARM_DESC(rmrr, "first address of an RMRR of the first edu device, 64 KiB");

#define LAST_PAGE	(region + SZ_64K - PAGE_SIZE)

static void firmware_region(struct kunit *test)
{
	struct edu *edu = edu_get(test, 0);
	const u64 pages[] = { region, LAST_PAGE };
	unsigned int i;
	u32 seed;

	edu->iova = dma_map_page(&edu->pdev->dev, virt_to_page(edu->page), 0, PAGE_SIZE,
				 DMA_BIDIRECTIONAL);
	KUNIT_ASSERT_EQ(test, dma_mapping_error(&edu->pdev->dev, edu->iova), 0);

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		void *page = memremap(pages[i], PAGE_SIZE, MEMREMAP_WB);

		KUNIT_ASSERT_NOT_NULL(test, page);
		seed = edu_new_seed();
		fill_page(page, seed);
		edu_expect_reads(test, edu, pages[i], seed);
		edu_expect_writes(test, edu, pages[i], page);
		memunmap(page);
	}
	/* the pages next to it are not mapped */
	edu_expect_no_read(test, edu, LAST_PAGE + PAGE_SIZE, edu_new_seed());
	edu_expect_no_read(test, edu, region - PAGE_SIZE, edu_new_seed());

	dma_unmap_page(&edu->pdev->dev, edu->iova, PAGE_SIZE, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, edu_unexpected_faults(), 0);
}

static struct kunit_case rmrr_cases[] = {
	KUNIT_CASE(firmware_region),
	{ }
};

static struct kunit_suite rmrr_suite = {
	.name = "rmrr",
	.attr.speed = KUNIT_SPEED_SLOW,
	.test_cases = rmrr_cases,
};
kunit_test_suite(rmrr_suite);
