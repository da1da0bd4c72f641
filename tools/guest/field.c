// SPDX-License-Identifier: GPL-2.0
/*
 * Use of VFIO and iommufd in the field, checked by real DMA: limits of the address
 * space, very many mappings and address spaces, partial unmaps, DMA from device to
 * device, memory above 1 TiB.  Prints TAP.
 *
 * EDU and EDU2 name PCI functions that are bound to vfio-pci, by address.  WIDTH is
 * that of the IOMMU's addresses, in bits.
 */
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#include "vfio_edu.h"
#include "kselftest_harness.h"

/* The address range of interrupts */
#define MSI_FIRST	0xfee00000UL
#define MSI_LAST	0xfeefffffUL
#define SZ_1T		(1UL << 40)

FIXTURE(iommufd)
{
	int fd;
	struct edu edu;
	unsigned int ioas;
	char *memory;			/* two pages */
};

FIXTURE_SETUP(iommufd)
{
	self->fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	ASSERT_TRUE(edu_open(&self->edu, "EDU", self->fd));
	self->ioas = new_ioas(self->fd, &self->edu);
	ASSERT_NE(0, self->ioas);
	ASSERT_TRUE(attach(&self->edu, self->ioas));
	self->memory = new_memory(2 * PAGE, 0);
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(iommufd)
{
	close(self->edu.fd);
	close(self->fd);
}

/* Nothing can be mapped in the interrupt range, but next to it. */
TEST_F(iommufd, msi_window)
{
	const uint64_t beside[] = { MSI_FIRST - PAGE, MSI_LAST + 1 };
	unsigned int i, seed;

	EXPECT_GT(0, ioas_map(self->fd, self->ioas, self->memory, PAGE, MSI_FIRST, RW));
	EXPECT_GT(0, ioas_map(self->fd, self->ioas, self->memory, PAGE,
			      MSI_LAST + 1 - PAGE, RW));
	EXPECT_GT(0, ioas_map(self->fd, self->ioas, self->memory, 2 * PAGE,
			      MSI_FIRST - PAGE, RW));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->memory, PAGE, beside[i], RW));
		seed = fill_new(self->memory);
		EXPECT_TRUE(reads(&self->edu, beside[i], seed));
		EXPECT_TRUE(writes(&self->edu, beside[i], self->memory));
	}
}

/* Addresses have WIDTH bits: the last page can be mapped, and nothing after it. */
TEST_F(iommufd, last_page)
{
	const char *width = getenv("WIDTH");
	unsigned int seed;
	uint64_t last;

	ASSERT_NE(NULL, width);
	last = (1UL << atoi(width)) - PAGE;
	EXPECT_GT(0, ioas_map(self->fd, self->ioas, self->memory, 2 * PAGE, last, RW));
	EXPECT_GT(0, ioas_map(self->fd, self->ioas, self->memory, PAGE, last + PAGE, RW));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->memory, PAGE, last, RW));
	seed = fill_new(self->memory);
	EXPECT_TRUE(reads(&self->edu, last, seed));
	EXPECT_TRUE(writes(&self->edu, last, self->memory));
}

/* More mappings than 16 bits count, neighbours of two pages in turn. */
TEST_F(iommufd, mappings_65600)
{
	const unsigned int n = 65600, some[] = { 0, 1, 511, 32768, n - 2, n - 1 };
	unsigned int i, seed[2];

	for (i = 0; i < n; i++)
		ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->memory + i % 2 * PAGE,
				      PAGE, IOVA + i * PAGE, RW));
	seed[0] = fill_new(self->memory);
	seed[1] = fill_new(self->memory + PAGE);
	for (i = 0; i < ARRAY_SIZE(some); i++)
		EXPECT_TRUE(reads(&self->edu, IOVA + some[i] * PAGE, seed[some[i] % 2]));
	ASSERT_EQ(PAGE, ioas_unmap(self->fd, self->ioas, IOVA + 511 * PAGE, PAGE));
	EXPECT_TRUE(cannot_read(&self->edu, IOVA + 511 * PAGE, seed[1]));
	EXPECT_TRUE(reads(&self->edu, IOVA + 512 * PAGE, seed[0]));
	EXPECT_EQ((n - 1) * PAGE, ioas_unmap(self->fd, self->ioas, IOVA, n * PAGE));
	EXPECT_TRUE(cannot_read(&self->edu, IOVA + (n - 1) * PAGE, seed[1]));
}

/* The device visits each of many address spaces, which all stay. */
TEST_F(iommufd, address_spaces_3000)
{
	const unsigned int n = 3000, often = 500;
	unsigned int ioas[n], hwpt[n], i, seed[2];

	for (i = 0; i < n; i++) {
		ioas[i] = new_ioas(self->fd, &self->edu);
		ASSERT_NE(0, ioas[i]);
		ASSERT_EQ(0, ioas_map(self->fd, ioas[i], self->memory + i % 2 * PAGE, PAGE,
				      IOVA + i * PAGE, RW));
		hwpt[i] = hwpt_alloc(self->fd, &self->edu, ioas[i], 0);
		ASSERT_NE(0, hwpt[i]);
	}
	seed[0] = fill_new(self->memory);
	seed[1] = fill_new(self->memory + PAGE);
	for (i = 0; i < n; i++) {
		ASSERT_TRUE(attach(&self->edu, hwpt[i]));
		if (i % often == often - 1 || !i)
			EXPECT_TRUE(reads(&self->edu, IOVA + i * PAGE, seed[i % 2]));
	}
	/* in the last one, what is mapped in the one before is not */
	EXPECT_TRUE(cannot_read(&self->edu, IOVA + (n - 2) * PAGE, seed[0]));
	ASSERT_TRUE(detach(&self->edu));
	for (i = 0; i < n; i++) {
		ASSERT_TRUE(destroy(self->fd, hwpt[i]));
		ASSERT_TRUE(destroy(self->fd, ioas[i]));
	}
}

/* The physical address of a page, or 0 */
static uint64_t physical(const void *page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd >= 0) {
		if (pread(fd, &entry, sizeof(entry), (uintptr_t)page / PAGE * 8) != 8)
			entry = 0;
		close(fd);
	}
	return (entry & ((1UL << 55) - 1)) * PAGE;
}

/* NODE has memory above 1 TiB, and nothing else. */
TEST_F(iommufd, memory_above_1_tib)
{
	const char *node = getenv("NODE");
	unsigned long nodes = node ? 1UL << atoi(node) : 0;
	unsigned int seed;
	char *memory;

	if (!node)
		SKIP(return, "the machine has none");
	memory = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, syscall(SYS_mbind, memory, SZ_2M, MPOL_BIND, &nodes, 64UL, 0UL));
	memset(memory, 1, SZ_2M);
	EXPECT_LE(SZ_1T, physical(memory));
	EXPECT_LE(SZ_1T, physical(memory + SZ_2M - PAGE));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, SZ_2M, IOVA, RW));
	seed = fill_new(memory + SZ_2M - PAGE);
	EXPECT_TRUE(reads(&self->edu, IOVA + SZ_2M - PAGE, seed));
	EXPECT_TRUE(writes(&self->edu, IOVA, memory));
	EXPECT_EQ(SZ_2M, ioas_unmap(self->fd, self->ioas, IOVA, SZ_2M));
	seed = fill_new(memory);
	EXPECT_TRUE(cannot_read(&self->edu, IOVA, seed));
}

/* ---- the older interface ---- */

FIXTURE(type1)
{
	int fd;
	struct edu edu;
	char *memory;			/* 4 MiB */
};

FIXTURE_VARIANT(type1)
{
	unsigned int type;
	size_t huge;
};

FIXTURE_VARIANT_ADD(type1, v1) { .type = VFIO_TYPE1_IOMMU, .huge = 0 };
FIXTURE_VARIANT_ADD(type1, v1_2m) { .type = VFIO_TYPE1_IOMMU, .huge = SZ_2M };
FIXTURE_VARIANT_ADD(type1, v2) { .type = VFIO_TYPE1v2_IOMMU, .huge = 0 };
FIXTURE_VARIANT_ADD(type1, v2_2m) { .type = VFIO_TYPE1v2_IOMMU, .huge = SZ_2M };

FIXTURE_SETUP(type1)
{
	self->fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	ASSERT_TRUE(edu_join(&self->edu, "EDU", self->fd, variant->type, BOUNCE_IOVA));
	self->memory = new_memory(2 * SZ_2M, variant->huge);
	ASSERT_NE(NULL, self->memory);
}

FIXTURE_TEARDOWN(type1)
{
	close(self->edu.fd);
	close(self->edu.group);
	close(self->fd);
}

/*
 * Unmap a part of a mapping: version 2 refuses it.  Version 1 unmaps nothing if the part is
 * after the mapping's first page, and the whole mapping if it is that page.
 */
TEST_F(type1, unmap_of_a_part)
{
	const bool v2 = variant->type == VFIO_TYPE1v2_IOMMU;
	unsigned int seed;

	ASSERT_EQ(0, type1_map(self->fd, self->memory, 2 * SZ_2M, IOVA));
	EXPECT_EQ(v2 ? -EINVAL : 0, type1_unmap(self->fd, IOVA + SZ_2M, PAGE));
	if (v2)
		EXPECT_EQ(-EINVAL, type1_unmap(self->fd, IOVA, PAGE));
	seed = fill_new(self->memory + SZ_2M);
	EXPECT_TRUE(reads(&self->edu, IOVA + SZ_2M, seed));
	EXPECT_TRUE(writes(&self->edu, IOVA, self->memory));
	EXPECT_EQ(2 * SZ_2M, type1_unmap(self->fd, IOVA, v2 ? 2 * SZ_2M : PAGE));
	seed = fill_new(self->memory + 2 * SZ_2M - PAGE);
	EXPECT_TRUE(cannot_read(&self->edu, IOVA + 2 * SZ_2M - PAGE, seed));
}

/* The container has room for 65535 mappings; these keep working when it is full. */
TEST_F(type1, most_mappings)
{
	const unsigned int most = 65535 - 1;	/* and the bounce page */
	unsigned int i, seed;

	if (variant->huge)
		SKIP(return, "the mappings are of small pages");
	for (i = 0; i < most; i++)
		ASSERT_EQ(0, type1_map(self->fd, self->memory + i % 2 * PAGE, PAGE,
				       IOVA + i * PAGE));
	EXPECT_EQ(-ENOSPC, type1_map(self->fd, self->memory, PAGE, IOVA + most * PAGE));
	seed = fill_new(self->memory + PAGE);
	EXPECT_TRUE(reads(&self->edu, IOVA + (most - 1) * PAGE, seed));
	EXPECT_EQ(most * PAGE, type1_unmap(self->fd, IOVA, most * PAGE));
	EXPECT_EQ(0, type1_map(self->fd, self->memory, PAGE, IOVA + most * PAGE));
	seed = fill_new(self->memory);
	EXPECT_TRUE(reads(&self->edu, IOVA + most * PAGE, seed));
}

/* One device reads and writes registers of another, until they are unmapped. */
TEST_F(type1, device_to_device)
{
	const uint32_t value = 0x12345678;
	volatile uint32_t *liveness;
	struct edu other = {};
	uint64_t next;
	int log;

	ASSERT_TRUE(edu_join(&other, "EDU2", self->fd, 0, 2 * BOUNCE_IOVA));
	liveness = (void *)(other.regs + EDU_LIVENESS);
	ASSERT_EQ(0, type1_map(self->fd, (void *)other.regs, PAGE, IOVA));

	/* its ID arrives in memory */
	ASSERT_TRUE(dma(&self->edu, IOVA + EDU_ID, EDU_BUFFER, 4, 0));
	fill_new(self->edu.page);
	next = self->edu.page[0] >> 32;
	ASSERT_TRUE(dma(&self->edu, EDU_BUFFER, self->edu.iova, 4, EDU_DMA_TO_RAM));
	EXPECT_EQ(EDU_ID_VALUE, (uint32_t)self->edu.page[0]);
	EXPECT_EQ(next, self->edu.page[0] >> 32);

	/* and memory in its register, which reads inverted */
	*(volatile uint32_t *)self->edu.page = value;
	ASSERT_TRUE(dma(&self->edu, self->edu.iova, EDU_BUFFER, 4, 0));
	ASSERT_TRUE(dma(&self->edu, EDU_BUFFER, IOVA + EDU_LIVENESS, 4, EDU_DMA_TO_RAM));
	EXPECT_EQ(~value, *liveness);

	EXPECT_EQ(PAGE, type1_unmap(self->fd, IOVA, PAGE));
	*liveness = 0;
	log = log_open();
	ASSERT_TRUE(dma(&self->edu, EDU_BUFFER, IOVA + EDU_LIVENESS, 4, EDU_DMA_TO_RAM));
	EXPECT_TRUE(log_has_fault(log, &self->edu, IOVA, true));
	EXPECT_EQ(~0U, *liveness);
	close(other.fd);
	close(other.group);
}

TEST_HARNESS_MAIN
