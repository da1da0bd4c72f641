// SPDX-License-Identifier: GPL-2.0
/*
 * DMA through the kernel's DMA API, without PASID, as in any driver.
 * Needs strict invalidation (iommu.strict=1).
 */
#include <linux/dma-mapping.h>
#include <linux/io-64-nonatomic-lo-hi.h>

#include "../dma_test.h"
#include "vtd_dma.h"

static int dma_api_init(struct kunit *test)
{
	test->priv = testdev_get(test);
	return 0;
}

/* The device can access a page while it is mapped, and not after it is unmapped. */
static void streaming(struct kunit *test, u32 how)
{
	struct testdev *dev = test->priv;
	u64 *page = testdev_page(test);
	struct device *device = &dev->pdev->dev;
	dma_addr_t addr = dma_map_single(device, page, PAGE_SIZE, DMA_BIDIRECTIONAL);

	KUNIT_ASSERT_EQ(test, 0, dma_mapping_error(device, addr));
	KUNIT_EXPECT_TRUE(test, testdev_reads(dev, how, RID, addr, page));
	KUNIT_EXPECT_TRUE(test, testdev_writes(dev, how, RID, addr + PAGE_SIZE - 8,
					       page + PAGE_SIZE / 8 - 1));
	dma_unmap_single(device, addr, PAGE_SIZE, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_FALSE(test, testdev_reads(dev, how, RID, addr, page));
	KUNIT_EXPECT_FALSE(test, testdev_writes(dev, how, RID, addr, page));
}

static void streaming_untranslated(struct kunit *test)
{
	streaming(test, PLAIN);
}

static void streaming_by_tlb(struct kunit *test)
{
	struct testdev *dev = test->priv;

	if (!dev->pdev->ats_enabled)
		kunit_skip(test, "no ATS here");
	streaming(test, BY_TLB);
	KUNIT_EXPECT_EQ(test, 0, readl(dev->regs + VTDT_TLB));
}

/* The device cannot write to a page that is mapped read-only. */
static void read_only(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct device *device = &dev->pdev->dev;
	u64 *page = testdev_page(test);
	dma_addr_t addr = dma_map_single(device, page, PAGE_SIZE, DMA_TO_DEVICE);

	KUNIT_ASSERT_EQ(test, 0, dma_mapping_error(device, addr));
	KUNIT_EXPECT_TRUE(test, testdev_reads(dev, PLAIN, RID, addr, page));
	KUNIT_EXPECT_FALSE(test, testdev_writes(dev, PLAIN, RID, addr, page));
	dma_unmap_single(device, addr, PAGE_SIZE, DMA_TO_DEVICE);
}

/* The device executes a list of 64 commands in memory, then raises an interrupt. */
static void command_list(struct kunit *test)
{
	struct testdev *dev = test->priv;
	struct device *device = &dev->pdev->dev;
	size_t size = VTDT_SLOTS * sizeof(struct vtdt_command);
	dma_addr_t addr, data_addr;
	struct vtdt_command *list;
	u64 *data;
	int i;

	list = dmam_alloc_coherent(device, size, &addr, GFP_KERNEL);
	data = dmam_alloc_coherent(device, PAGE_SIZE, &data_addr, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, list);
	KUNIT_ASSERT_NOT_NULL(test, data);
	for (i = 0; i < VTDT_SLOTS; i++) {
		list[i] = (struct vtdt_command) {
			.op = VTDT_WRITE | VTDT_IMMEDIATE, .addr = data_addr + 8 * i,
			.length = 8, .data = testdev_new_value(),
		};
	}

	reinit_completion(&dev->done);
	lo_hi_writeq(addr, dev->regs + VTDT_LIST_ADDR);
	writel(VTDT_SLOTS, dev->regs + VTDT_LIST_COUNT);
	writel(0, dev->regs + VTDT_LIST_PASID);
	writel(VTDT_GO_LIST, dev->regs + VTDT_GO);
	KUNIT_EXPECT_TRUE(test, wait_in_rounds(try_wait_for_completion(&dev->done)));
	KUNIT_EXPECT_EQ(test, VTDT_LIST_DONE, readl(dev->regs + VTDT_LIST_STATUS));
	for (i = 0; i < VTDT_SLOTS; i++) {
		KUNIT_EXPECT_EQ(test, VTDT_OK, list[i].status);
		KUNIT_EXPECT_EQ(test, list[i].data, data[i]);
	}
	dmam_free_coherent(device, size, list, addr);
	dmam_free_coherent(device, PAGE_SIZE, data, data_addr);
}

static struct kunit_case dma_api_cases[] = {
	KUNIT_CASE(streaming_untranslated),
	KUNIT_CASE(streaming_by_tlb),
	KUNIT_CASE(read_only),
	KUNIT_CASE(command_list),
	{ }
};

static struct kunit_suite dma_api_suite = {
	.name = "vtd_dma_api",
	.init = dma_api_init,
	.test_cases = dma_api_cases,
};
kunit_test_suite(dma_api_suite);
