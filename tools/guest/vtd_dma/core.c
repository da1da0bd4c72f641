// SPDX-License-Identifier: GPL-2.0
/*
 * Driver for the vtd-testdev device of tools/qemu (see its data sheet there):
 * this file binds the device and makes it issue requests. The KUnit suites are in
 * dma_api.c, pasid.c, gpasid.c and queue.c; vmm.c is for the guest of a VMM.
 */
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/gfp.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <uapi/linux/iommufd.h>

#include "../dma_test.h"
#include "vtd_dma.h"

bool vtd_strict;
module_param_named(strict, vtd_strict, bool, 0444);
MODULE_PARM_DESC(strict, "the IOMMU caches everything that it may cache: expect stale entries");

/* Most tests use only the first one. */
static struct testdev testdevs[2];

/* The device, or NULL if there is none */
struct testdev *testdev_find(void)
{
	return testdevs[0].pdev ? &testdevs[0] : NULL;
}

struct testdev *testdev_get(struct kunit *test)
{
	KUNIT_ASSERT_NOT_NULL_MSG(test, testdev_find(), "no vtd-testdev");
	return &testdevs[0];
}

struct testdev *testdev_second(struct kunit *test)
{
	KUNIT_ASSERT_NOT_NULL_MSG(test, testdevs[1].pdev, "no second vtd-testdev");
	return &testdevs[1];
}

u64 testdev_new_value(void)
{
	static atomic64_t value = ATOMIC64_INIT(0x5eed0000);

	return atomic64_inc_return(&value);
}

/* Execute a command, with PASID unless @pasid is RID. */
static void execute(struct testdev *dev, u32 pasid, struct vtdt_command *c)
{
	if (pasid != RID) {
		c->op |= VTDT_HAS_PASID;
		c->pasid = pasid;
	}
	__iowrite32_copy(dev->regs + VTDT_COMMAND, c, sizeof(*c) / 4);
	writel(VTDT_GO_COMMAND, dev->regs + VTDT_GO);
	wait_in_rounds(!readl(dev->regs + VTDT_BUSY));
	__ioread32_copy(c, dev->regs + VTDT_COMMAND, sizeof(*c) / 4);
}

/* Execute a command on eight bytes. */
struct vtdt_command testdev_execute(struct testdev *dev, u32 op, u32 pasid, u64 addr,
				    u64 data)
{
	struct vtdt_command c = {
		.op = op | VTDT_IMMEDIATE, .addr = addr, .length = sizeof(data),
		.data = data,
	};

	execute(dev, pasid, &c);
	return c;
}

/* Copy a page from memory to the device's buffer or back; returns the status. */
u32 testdev_copies(struct testdev *dev, u32 op, u32 pasid, u64 addr)
{
	struct vtdt_command c = { .op = op, .addr = addr, .length = PAGE_SIZE };

	execute(dev, pasid, &c);
	return c.status;
}

/* Write a new value to @where: does the device read it at @addr? */
bool testdev_reads(struct testdev *dev, u32 how, u32 pasid, u64 addr, u64 *where)
{
	u64 value = testdev_new_value();
	struct vtdt_command c;

	WRITE_ONCE(*where, value);
	c = testdev_execute(dev, VTDT_READ | how, pasid, addr, 0);
	return c.status == VTDT_OK && c.data == value;
}

bool testdev_writes(struct testdev *dev, u32 how, u32 pasid, u64 addr, u64 *where)
{
	u64 value = testdev_new_value();
	struct vtdt_command c;

	c = testdev_execute(dev, VTDT_WRITE | how, pasid, addr, value);
	return c.status == VTDT_OK && READ_ONCE(*where) == value;
}

/* Both a read and a write are refused. */
bool testdev_refused(struct testdev *dev, u32 pasid, u64 addr)
{
	return testdev_execute(dev, VTDT_READ, pasid, addr, 0).status == VTDT_REFUSED &&
	       testdev_execute(dev, VTDT_WRITE, pasid, addr, 0).status == VTDT_REFUSED;
}

/* Issue a page request, alone in its group; returns its response code, -1 if none came. */
int testdev_asks(struct testdev *dev, u32 wants, u32 pasid, u64 addr)
{
	struct vtdt_command c;

	c = testdev_execute(dev, VTDT_PAGE_REQUEST | VTDT_LAST | VTDT_GROUP(77) | wants,
			    pasid, addr, 0);
	return c.status == VTDT_OK ? (int)c.info : -1;
}

static void put_page_of(void *page)
{
	free_page((unsigned long)page);
}

/* A zeroed page, freed after the test's domains are detached */
u64 *testdev_page(struct kunit *test)
{
	u64 *page = (u64 *)get_zeroed_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_page_of, page));
	return page;
}

/* A paging domain, or with @parent a nest parent */
struct iommu_domain *testdev_domain(struct testdev *dev, bool parent)
{
	const struct iommu_ops *ops = dev->pdev->dev.iommu->iommu_dev->ops;
	struct iommu_domain *domain;

	if (!parent)
		return iommu_paging_domain_alloc(&dev->pdev->dev);

	domain = ops->domain_alloc_user(&dev->pdev->dev, IOMMU_HWPT_ALLOC_NEST_PARENT,
					NULL, NULL);
	if (!IS_ERR(domain))
		domain->owner = ops;
	return domain;
}

static irqreturn_t testdev_done(int irq, void *data)
{
	struct testdev *dev = data;

	complete(&dev->done);
	return IRQ_HANDLED;
}

static int testdev_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct testdev *dev = testdevs;
	int ret;

	while (dev->pdev)
		if (++dev == testdevs + ARRAY_SIZE(testdevs))
			return -EBUSY;

	ret = start_device(pdev, VTDT_ID, VTDT_ID_VALUE, &dev->regs);
	if (ret)
		return ret;
	init_completion(&dev->done);
	ret = pci_alloc_irq_vectors(pdev, 1, 2, PCI_IRQ_MSIX);
	if (ret < 0)
		return ret;
	ret = pci_request_irq(pdev, 0, testdev_done, NULL, dev, KBUILD_MODNAME);
	if (ret) {
		pci_free_irq_vectors(pdev);
		return ret;
	}
	pci_set_master(pdev);
	dev->pdev = pdev;
	pci_set_drvdata(pdev, dev);
	return 0;
}

static void testdev_remove(struct pci_dev *pdev)
{
	struct testdev *dev = pci_get_drvdata(pdev);

	dev->pdev = NULL;
	pci_clear_master(pdev);
	pci_free_irq(pdev, 0, dev);
	pci_free_irq_vectors(pdev);
}

static const struct pci_device_id testdev_ids[] = {
	{ PCI_DEVICE(VTDT_VENDOR, VTDT_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, testdev_ids);

static struct pci_driver testdev_driver = {
	.name = KBUILD_MODNAME,
	.id_table = testdev_ids,
	.probe = testdev_probe,
	.remove = testdev_remove,
	.driver.suppress_bind_attrs = true,
};
module_pci_driver(testdev_driver);

MODULE_DESCRIPTION("KUnit tests of PASIDs and nested translation with vtd-testdev");
MODULE_LICENSE("GPL");
