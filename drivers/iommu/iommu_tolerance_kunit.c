// SPDX-License-Identifier: GPL-2.0-only
/* KUnit suite: which devices are declared to survive page faults. */

#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/slab.h>

static void declared_by_driver(struct kunit *test)
{
	struct device *dev = kunit_device_register(test, "fault-tolerance");
	struct iommu_device *iommu = kunit_kzalloc(test, sizeof(*iommu), GFP_KERNEL);
	struct dev_iommu *param = kunit_kzalloc(test, sizeof(*param), GFP_KERNEL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	KUNIT_ASSERT_NOT_NULL(test, iommu);
	KUNIT_ASSERT_NOT_NULL(test, param);
	param->iommu_dev = iommu;
	dev->iommu = param;

	KUNIT_EXPECT_FALSE(test, iommu_dev_fault_tolerant(dev));
	iommu_dev_set_fault_tolerant(dev, true);
	KUNIT_EXPECT_TRUE(test, iommu_dev_fault_tolerant(dev));
	iommu_dev_set_fault_tolerant(dev, false);
	KUNIT_EXPECT_FALSE(test, iommu_dev_fault_tolerant(dev));

	dev->iommu = NULL;
}

/* Without an IOMMU there is nothing to declare, which is no error. */
static void no_iommu(struct kunit *test)
{
	struct device *dev = kunit_device_register(test, "no-iommu");

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	iommu_dev_set_fault_tolerant(dev, true);
	KUNIT_EXPECT_FALSE(test, iommu_dev_fault_tolerant(dev));
}

static struct kunit_case iommu_tolerance_cases[] = {
	KUNIT_CASE(declared_by_driver),
	KUNIT_CASE(no_iommu),
	{}
};

static struct kunit_suite iommu_tolerance_suite = {
	.name		= "iommu-fault-tolerance",
	.test_cases	= iommu_tolerance_cases,
};

kunit_test_suite(iommu_tolerance_suite);
