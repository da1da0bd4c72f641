// SPDX-License-Identifier: GPL-2.0
/*
 * DMA through the kernel's DMA API, as in any driver.  Run with iommu.strict=1
 * and 0: the device waits 100 ms before each copy, and a deferred flush takes
 * at most 10 ms.
 */
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/scatterlist.h>

#include "edu_dma.h"

static void *new_pages(struct kunit *test, int order)
{
	void *pages = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, order);

	KUNIT_ASSERT_NOT_NULL(test, pages);
	return pages;
}

static u64 map(struct kunit *test, struct edu *edu, void *buffer, size_t size,
	       enum dma_data_direction dir)
{
	dma_addr_t addr = dma_map_single(&edu->pdev->dev, buffer, size, dir);

	KUNIT_ASSERT_EQ(test, dma_mapping_error(&edu->pdev->dev, addr), 0);
	return addr;
}

static void unmap(struct edu *edu, u64 addr, size_t size,
		  enum dma_data_direction dir)
{
	dma_unmap_single(&edu->pdev->dev, addr, size, dir);
}

/* Every test finds the device's bounce page mapped. */
static int dma_api_init(struct kunit *test)
{
	struct edu *edu = edu_get(test, 0);

	edu->iova = map(test, edu, edu->page, PAGE_SIZE, DMA_BIDIRECTIONAL);
	test->priv = edu;
	return 0;
}

static void dma_api_exit(struct kunit *test)
{
	struct edu *edu = test->priv;

	if (edu)
		unmap(edu, edu->iova, PAGE_SIZE, DMA_BIDIRECTIONAL);
}

static void streaming_both_ways(struct kunit *test)
{
	struct edu *edu = test->priv;
	void *in = new_pages(test, 0), *out = new_pages(test, 0);
	u32 seed = edu_new_seed();
	u64 a, b;

	fill_page(in, seed);
	a = map(test, edu, in, PAGE_SIZE, DMA_TO_DEVICE);
	b = map(test, edu, out, PAGE_SIZE, DMA_FROM_DEVICE);
	edu_expect_reads(test, edu, a, seed);
	edu_expect_writes(test, edu, b, out);
	KUNIT_EXPECT_TRUE(test, page_holds(in, seed));
	unmap(edu, a, PAGE_SIZE, DMA_TO_DEVICE);
	unmap(edu, b, PAGE_SIZE, DMA_FROM_DEVICE);
	free_page((ulong)in);
	free_page((ulong)out);
}

static void coherent_both_ways(struct kunit *test)
{
	struct edu *edu = test->priv;
	struct device *dev = &edu->pdev->dev;
	u32 seed = edu_new_seed();
	dma_addr_t addr;
	void *buffer = dma_alloc_coherent(dev, SZ_64K, &addr, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buffer);
	fill_page(buffer + SZ_64K - PAGE_SIZE, seed);
	edu_expect_reads(test, edu, addr + SZ_64K - PAGE_SIZE, seed);
	edu_expect_writes(test, edu, addr + SZ_32K, buffer + SZ_32K);
	dma_free_coherent(dev, SZ_64K, buffer, addr);
}

/* Eight pages in reverse order are mapped to one range of IOVAs. */
static void scatterlist(struct kunit *test)
{
	struct edu *edu = test->priv;
	struct device *dev = &edu->pdev->dev;
	struct scatterlist sgl[8];
	void *pages = new_pages(test, 3);
	u32 seed = edu_new_seed();
	u64 addr;
	int i;

	sg_init_table(sgl, ARRAY_SIZE(sgl));
	for (i = 0; i < ARRAY_SIZE(sgl); i++) {
		sg_set_buf(&sgl[i], pages + (7 - i) * PAGE_SIZE, PAGE_SIZE);
		fill_page(sg_virt(&sgl[i]), seed + i);
	}
	/* Later seeds must not repeat one of these. */
	while (edu_new_seed() < seed + ARRAY_SIZE(sgl))
		;
	KUNIT_ASSERT_EQ(test, dma_map_sg(dev, sgl, 8, DMA_BIDIRECTIONAL), 1);
	addr = sg_dma_address(sgl);
	KUNIT_EXPECT_EQ(test, sg_dma_len(sgl), 8 * PAGE_SIZE);
	edu_expect_reads(test, edu, addr, seed);
	edu_expect_reads(test, edu, addr + 7 * PAGE_SIZE, seed + 7);

	/* One copy across a page boundary: the halves come from two pages. */
	KUNIT_EXPECT_EQ(test, edu_copy_in(edu, addr + PAGE_SIZE / 2, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, edu_copy_out(edu, edu->iova, PAGE_SIZE), 0);
	KUNIT_EXPECT_MEMEQ(test, edu->page, sg_virt(&sgl[0]) + PAGE_SIZE / 2,
			   PAGE_SIZE / 2);
	KUNIT_EXPECT_MEMEQ(test, edu->page + PAGE_SIZE / 2, sg_virt(&sgl[1]),
			   PAGE_SIZE / 2);
	dma_unmap_sg(dev, sgl, 8, DMA_BIDIRECTIONAL);
	free_pages((ulong)pages, 3);
}

static void large_buffer(struct kunit *test)
{
	struct edu *edu = test->priv;
	void *buffer = new_pages(test, get_order(SZ_2M));
	u32 seed = edu_new_seed();
	u64 addr;

	fill_page(buffer + SZ_2M - PAGE_SIZE, seed);
	addr = map(test, edu, buffer, SZ_2M, DMA_BIDIRECTIONAL);
	edu_expect_reads(test, edu, addr + SZ_2M - PAGE_SIZE, seed);
	edu_expect_writes(test, edu, addr + SZ_1M, buffer + SZ_1M);
	unmap(edu, addr, SZ_2M, DMA_BIDIRECTIONAL);
	edu_expect_no_read(test, edu, addr + SZ_2M - PAGE_SIZE, seed);
	free_pages((ulong)buffer, get_order(SZ_2M));
}

static void direction_is_kept(struct kunit *test)
{
	struct edu *edu = test->priv;
	void *page = new_pages(test, 0);
	u32 seed = edu_new_seed();
	u64 addr;

	fill_page(page, seed);
	addr = map(test, edu, page, PAGE_SIZE, DMA_TO_DEVICE);
	/* In this order: QEMU reports no fault where its IOTLB has the entry. */
	edu_expect_no_write(test, edu, addr, page, seed);
	edu_expect_reads(test, edu, addr, seed);
	unmap(edu, addr, PAGE_SIZE, DMA_TO_DEVICE);
	free_page((ulong)page);
}

/* The translation is in the IOTLB when the page is unmapped. */
static void refused_after_unmap(struct kunit *test)
{
	struct edu *edu = test->priv;
	void *page = new_pages(test, 0);
	u32 seed = edu_new_seed();
	u64 addr;

	fill_page(page, seed);
	addr = map(test, edu, page, PAGE_SIZE, DMA_BIDIRECTIONAL);
	edu_expect_reads(test, edu, addr, seed);
	unmap(edu, addr, PAGE_SIZE, DMA_BIDIRECTIONAL);
	edu_expect_no_read(test, edu, addr, seed);
	edu_expect_no_write(test, edu, addr, page, seed);
	free_page((ulong)page);
}

/*
 * IOVAs are reused at once: a stale translation would be noticed.  Each CPU has a
 * cache of IOVAs, so the test stays on one CPU; a deferred flush may free an IOVA
 * on another CPU.
 */
static void addresses_are_reused(struct kunit *test)
{
	struct edu *edu = test->priv;
	struct iommu_domain *domain = iommu_get_domain_for_dev(&edu->pdev->dev);
	void *pages = new_pages(test, 3);
	u64 last = 0;
	int i, same = 0;

	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(0)), 0);
	for (i = 0; i < 8; i++) {
		void *page = pages + i * PAGE_SIZE;
		u32 seed = edu_new_seed();
		u64 addr;

		fill_page(page, seed);
		addr = map(test, edu, page, PAGE_SIZE, DMA_BIDIRECTIONAL);
		same += addr == last;
		last = addr;
		edu_expect_reads(test, edu, addr, seed);
		unmap(edu, addr, PAGE_SIZE, DMA_BIDIRECTIONAL);
	}
	if (domain->type == IOMMU_DOMAIN_DMA)
		KUNIT_EXPECT_EQ(test, same, 7);
	set_cpus_allowed_ptr(current, cpu_possible_mask);
	free_pages((ulong)pages, 3);
}

static void no_unexpected_fault(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, edu_unexpected_faults(), 0);
}

static struct kunit_case dma_api_cases[] = {
	KUNIT_CASE(streaming_both_ways),
	KUNIT_CASE(coherent_both_ways),
	KUNIT_CASE(scatterlist),
	KUNIT_CASE(large_buffer),
	KUNIT_CASE(direction_is_kept),
	KUNIT_CASE(refused_after_unmap),
	KUNIT_CASE(addresses_are_reused),
	KUNIT_CASE(no_unexpected_fault),
	{ }
};

static struct kunit_suite dma_api_suite = {
	.name = "edu_dma_api",
	.attr.speed = KUNIT_SPEED_SLOW,
	.init = dma_api_init,
	.exit = dma_api_exit,
	.test_cases = dma_api_cases,
};
kunit_test_suite(dma_api_suite);
