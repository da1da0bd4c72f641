/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the KUnit suites of the vtd-testdev driver: the device, its
 * requests, and pages for them.
 */
#ifndef VTD_DMA_H
#define VTD_DMA_H

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/pci.h>

#include "../vtd_testdev.h"

#define RID	(~0u)		/* requests without PASID */
#define PLAIN	0		/* untranslated requests */
#define BY_TLB	VTDT_ATS	/* by the device's TLB */

struct testdev {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct completion done;		/* vector 0 */
};

extern bool vtd_strict;

struct testdev *testdev_find(void);
struct testdev *testdev_get(struct kunit *test);
struct testdev *testdev_second(struct kunit *test);
struct vtdt_command testdev_execute(struct testdev *dev, u32 op, u32 pasid, u64 addr,
				    u64 data);
u32 testdev_copies(struct testdev *dev, u32 op, u32 pasid, u64 addr);
u64 testdev_new_value(void);

bool testdev_reads(struct testdev *dev, u32 how, u32 pasid, u64 addr, u64 *where);
bool testdev_writes(struct testdev *dev, u32 how, u32 pasid, u64 addr, u64 *where);
bool testdev_refused(struct testdev *dev, u32 pasid, u64 addr);
int testdev_asks(struct testdev *dev, u32 wants, u32 pasid, u64 addr);

u64 *testdev_page(struct kunit *test);
struct iommu_domain *testdev_domain(struct testdev *dev, bool parent);

#endif
