// SPDX-License-Identifier: GPL-2.0
/*
 * Reset of a conventional bridge whose requester ID is also that of a device behind it:
 * the device's DMA goes on.
 */
#include <linux/iommu.h>

#include "edu_dma.h"

static void bridge_is_reset(struct kunit *test)
{
	int i, found = 0;

	for (i = 0; i < edu_count; i++) {
		struct edu *edu = &edu_devices[i];
		struct pci_dev *bridge = edu->pdev->bus->self;

		if (!bridge || edu->rid != pci_dev_id(bridge))
			continue;
		found++;
		edu_expect_both_ways(test, edu);
		iommu_dev_reset_prepare(&bridge->dev);
		edu_expect_both_ways(test, edu);
		iommu_dev_reset_done(&bridge->dev);
		edu_expect_both_ways(test, edu);
	}
	KUNIT_EXPECT_EQ(test, found, 1);
	KUNIT_EXPECT_EQ(test, edu_unexpected_faults(), 0);
}

static struct kunit_case bridge_reset_cases[] = {
	KUNIT_CASE(bridge_is_reset),
	{ }
};

static struct kunit_suite bridge_reset_suite = {
	.name = "edu_bridge_reset",
	.attr.speed = KUNIT_SPEED_SLOW,
	.test_cases = bridge_reset_cases,
};
kunit_test_suite(bridge_reset_suite);
