// SPDX-License-Identifier: GPL-2.0
/*
 * Devices behind a PCIe-to-PCI bridge, which replaces their requester IDs by an alias:
 * that of slot 0 of its secondary bus, where there is no device.
 */
#include <linux/dma-mapping.h>

#include "edu_dma.h"

static int count = 2;
module_param_named(bridged, count, int, 0444);
MODULE_PARM_DESC(bridged, "number of edu devices behind a bridge");

static bool is_behind_bridge(struct edu *edu)
{
	return edu->rid == PCI_DEVID(edu->pdev->bus->number, 0) &&
	       edu->rid != pci_dev_id(edu->pdev);
}

static u64 map_page(struct kunit *test, struct edu *edu, void *page)
{
	u64 addr = dma_map_page(&edu->pdev->dev, virt_to_page(page), 0, PAGE_SIZE,
				DMA_BIDIRECTIONAL);

	KUNIT_ASSERT_EQ(test, dma_mapping_error(&edu->pdev->dev, addr), 0);
	return addr;
}

static void unmap_page(struct edu *edu, u64 addr)
{
	dma_unmap_page(&edu->pdev->dev, addr, PAGE_SIZE, DMA_BIDIRECTIONAL);
}

/* The device reads and writes a page while it is mapped, and does not read it afterwards. */
void edu_expect_both_ways(struct kunit *test, struct edu *edu)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);
	u32 seed = edu_new_seed();
	u64 addr;

	KUNIT_ASSERT_NOT_NULL(test, page);
	edu->iova = map_page(test, edu, edu->page);
	addr = map_page(test, edu, page);

	fill_page(page, seed);
	edu_expect_reads(test, edu, addr, seed);
	edu_expect_writes(test, edu, addr, page);

	fill_page(page, seed);
	unmap_page(edu, addr);
	edu_expect_no_read(test, edu, addr, seed);

	unmap_page(edu, edu->iova);
	free_page((unsigned long)page);
}

static void behind_a_bridge(struct kunit *test)
{
	int i, found = 0;

	for (i = 0; i < edu_count; i++) {
		if (!is_behind_bridge(&edu_devices[i]))
			continue;
		found++;
		edu_expect_both_ways(test, &edu_devices[i]);
	}
	KUNIT_EXPECT_EQ(test, found, count);
	KUNIT_EXPECT_EQ(test, edu_unexpected_faults(), 0);
}

static struct kunit_case bridge_cases[] = {
	KUNIT_CASE(behind_a_bridge),
	{ }
};

static struct kunit_suite bridge_suite = {
	.name = "edu_bridge",
	.attr.speed = KUNIT_SPEED_SLOW,
	.test_cases = bridge_cases,
};
kunit_test_suite(bridge_suite);
