// SPDX-License-Identifier: GPL-2.0
/*
 * Demand paging: a device works on memory that is not pinned, while the process loses
 * pages in every possible way.  CPU and device check each other's data.  Prints TAP.
 *
 * The suite "demand" prepares a swap device on zram, two nodes and huge pages.  TESTDEV is
 * a device that the administrator has named as fault tolerant, TESTDEV2 one that is not
 * named, TESTDEV3 one without page requests.
 */
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "../../../drivers/iommu/iommufd/iommufd_test.h"
#include "vtd_demand_machine.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

FIXTURE(demand)
{
	struct demand d;
};

FIXTURE_VARIANT(demand)
{
	unsigned int pasid;
	bool nested;
};

FIXTURE_VARIANT_ADD(demand, rid) { RID };
FIXTURE_VARIANT_ADD(demand, pasid) { 0x12345 };
FIXTURE_VARIANT_ADD(demand, nested) { RID, true };

FIXTURE_SETUP(demand)
{
	ASSERT_TRUE(open_demand(&self->d, variant->pasid, variant->nested));
}

FIXTURE_TEARDOWN(demand)
{
	EXPECT_EQ(0, status_kib("VmPin"));
	EXPECT_EQ(0, status_kib("VmLck"));
	close_demand(&self->d);
}

/* For tests to which a guest's tables make no difference, or that need a domain without */
FIXTURE(flat)
{
	struct demand d;
};

FIXTURE_VARIANT(flat)
{
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(flat, rid) { RID };
FIXTURE_VARIANT_ADD(flat, pasid) { 0x12345 };

FIXTURE_SETUP(flat)
{
	ASSERT_TRUE(open_demand(&self->d, variant->pasid, false));
}

FIXTURE_TEARDOWN(flat)
{
	EXPECT_EQ(0, status_kib("VmPin"));
	EXPECT_EQ(0, status_kib("VmLck"));
	close_demand(&self->d);
}

/* ---- resident memory and page requests ---- */

/* Memory becomes resident when the device accesses it, and not before. */
TEST_F(demand, resident_on_access)
{
	struct demand *d = &self->d;
	long before = status_kib("VmRSS");

	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + SZ_2M + 123, SZ_2M, 1));
	EXPECT_LE(SZ_2M / 1024, status_kib("VmRSS") - before);
	EXPECT_GE(2 * SZ_2M / 1024, status_kib("VmRSS") - before);
	EXPECT_TRUE(holds(d->memory + SZ_2M + 128, IOVA + SZ_2M + 128, SZ_2M - 128, 1));
	EXPECT_FALSE(present(d->memory));
}

/* The second time that the device accesses the memory, nothing is missing. */
TEST_F(demand, no_requests_for_present_pages)
{
	struct demand *d = &self->d;
	unsigned int requests;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 1));
	EXPECT_TRUE(holds(d->memory, IOVA, SIZE, 1));
	requests = page_requests(d);
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 2));
	ASSERT_EQ(VTDT_OK, device_reads(d, IOVA, SIZE, 2));
	EXPECT_EQ(requests, page_requests(d));
	EXPECT_TRUE(holds(d->memory, IOVA, SIZE, 2));
}

/*
 * A request maps up to 2 MiB of present pages, small or huge, and 64 KiB of missing ones.
 */
TEST_F(flat, few_requests)
{
	struct demand *d = &self->d;
	unsigned int requests = page_requests(d);

	fill(d->memory, IOVA, 2 * SZ_2M, 1);
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, 2 * SZ_2M, 1));
	EXPECT_GE(3, page_requests(d) - requests);

	ASSERT_EQ(0, madvise(d->memory + 2 * SZ_2M, 2 * SZ_2M, MADV_HUGEPAGE));
	requests = page_requests(d);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 2 * SZ_2M, 2 * SZ_2M, 2));
	EXPECT_GE(3, page_requests(d) - requests);
	requests = page_requests(d);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 4 * SZ_2M, SZ_2M, 3));
	EXPECT_GE(SZ_2M >> 16, page_requests(d) - requests);
	EXPECT_TRUE(holds(d->memory + 2 * SZ_2M, IOVA + 2 * SZ_2M, 2 * SZ_2M, 2));
}

static pid_t fork_sleeper(void)
{
	pid_t child = fork();

	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return child;
}

/* A device that reads and then writes makes a request for each 64 KiB at most. */
TEST_F(flat, few_requests_to_write_after_read)
{
	struct demand *d = &self->d;
	unsigned int requests = page_requests(d);
	pid_t child;
	int status;

	/* zero pages */
	EXPECT_EQ(VTDT_FAILED, device_reads(d, IOVA, SZ_2M, 1));
	EXPECT_GE(SZ_2M >> 16, page_requests(d) - requests);
	requests = page_requests(d);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	EXPECT_GE(SZ_2M >> 16, page_requests(d) - requests);
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 1));

	/* pages that were shared, and that the process has written to since */
	fill(d->memory + SZ_2M, IOVA + SZ_2M, SZ_2M, 2);
	child = fork_sleeper();
	ASSERT_LT(0, child);
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + SZ_2M, SZ_2M, 2));
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	fill(d->memory + SZ_2M, IOVA + SZ_2M, SZ_2M, 3);
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + SZ_2M, SZ_2M, 3));
	requests = page_requests(d);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + SZ_2M, SZ_2M, 4));
	EXPECT_GE(2, page_requests(d) - requests);
	EXPECT_TRUE(holds(d->memory + SZ_2M, IOVA + SZ_2M, SZ_2M, 4));
}

/* A number from the device's line in pgtable_stats; -1 if there is none */
static long table_has(struct demand *d, const char *what)
{
	FILE *file = fopen("/sys/kernel/debug/iommu/intel/pgtable_stats", "r");
	unsigned int pasid = d->pasid == RID ? 0 : d->pasid;
	char line[300], begin[80], *found;
	long value = -1;

	sprintf(begin, "dev=%s pasid=%u ", d->vmm.dev.name, pasid);
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, begin, strlen(begin)))
			continue;
		found = strstr(line, what);
		if (found)
			sscanf(found + strlen(what), "=%ld", &value);
	}
	if (file)
		fclose(file);
	return value;
}

/* Missing pages are mapped once, huge ones as such, and nothing is invalidated. */
TEST_F(flat, mapped_once)
{
	word *invalidations = reg(&self->d.vmm.dev, VTDT_INVALIDATIONS);
	struct demand *d = &self->d;
	uint32_t before = *invalidations;

	/* the first request of a group maps the pages of the others */
	*reg(&d->vmm.dev, VTDT_GROUP_SIZE) = 32;
	ASSERT_EQ(0, madvise(d->memory, 2 * SZ_2M, MADV_HUGEPAGE));
	fill(d->memory, IOVA, 2 * SZ_2M, 1);
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + 5 * PAGE, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 2 * SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 2 * SZ_2M, SZ_2M, 1));
	EXPECT_EQ(before, *invalidations);
	EXPECT_LE(2, table_has(d, "leaves_2m"));
}

/*
 * The first write of a group maps all pages around it, one of them read-only, as it is shared
 * with a child. The other writes of the group leave them mapped.
 */
TEST_F(flat, no_invalidation_beside_read_only_page)
{
	word *invalidations = reg(&self->d.vmm.dev, VTDT_INVALIDATIONS);
	struct demand *d = &self->d;
	uint32_t before;
	pid_t child;

	*reg(&d->vmm.dev, VTDT_GROUP_SIZE) = 32;
	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_NOHUGEPAGE));
	fill(d->memory, IOVA, SZ_2M, 1);
	child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	fill(d->memory, IOVA, 128 * PAGE, 1);
	fill(d->memory + 129 * PAGE, IOVA + 129 * PAGE, 383 * PAGE, 1);
	before = *invalidations;
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 64 * PAGE, 2));
	EXPECT_EQ(before, *invalidations);
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + 128 * PAGE, PAGE, 1));
	EXPECT_EQ(before, *invalidations);
	/* the child's page is copied, which unmaps it */
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 128 * PAGE, PAGE, 2));
	EXPECT_NE(before, *invalidations);
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
}

/* All pages of a group, here 128 KiB, are mapped before it is answered. */
TEST_F(demand, group_served_whole)
{
	struct demand *d = &self->d;
	unsigned int groups = *reg(&d->vmm.dev, VTDT_GROUPS);

	*reg(&d->vmm.dev, VTDT_GROUP_SIZE) = 32;
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 2 * SZ_2M, 1));
	EXPECT_GE(2 * SZ_2M / (32 * PAGE), *reg(&d->vmm.dev, VTDT_GROUPS) - groups);
	EXPECT_TRUE(holds(d->memory, IOVA, 2 * SZ_2M, 1));
}

/* ---- pages of the process change or go away ---- */

TEST_F(demand, dontneed)
{
	struct demand *d = &self->d;
	unsigned int i;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	for (i = 0; i < 512; i += 2)
		ASSERT_EQ(0, madvise(d->memory + i * PAGE, PAGE, MADV_DONTNEED));
	for (i = 0; i < 512; i++) {
		uint64_t iova = IOVA + i * PAGE;

		ASSERT_EQ(i % 2 ? VTDT_OK : VTDT_FAILED, device_reads(d, iova, PAGE, 1));
		ASSERT_EQ(VTDT_OK, device_writes(d, iova, PAGE, 2));
	}
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));

	/* Each 2 MiB can be discarded separately. */
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA + SZ_2M, PAGE, 2));
	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_DONTNEED));
	ASSERT_EQ(0, madvise(d->memory + SZ_2M, PAGE, MADV_DONTNEED));
	EXPECT_EQ(VTDT_FAILED, device_reads(d, IOVA + SZ_2M, PAGE, 2));
}

/*
 * One call discards pages in blocks of 2 MiB, whole ones and parts: exactly these, and what
 * is left of the blocks can be discarded later. The second block ends a GiB.
 */
TEST_F(demand, dontneed_across_blocks)
{
	static const unsigned int ranges[][2] = {
		{ 5, 511 }, { 5, 512 }, { 5, 1023 }, { 5, 1029 }, { 511, 512 }, { 512, 1023 },
		{ 512, 1028 }, { 1000, 1024 }, { 1000, 1530 }, { 1023, 1530 }, { 1, 1534 },
	};
	unsigned char *memory = self->d.memory + 2 * SZ_2M;
	uint64_t iova = IOVA + 2 * SZ_2M;
	struct demand *d = &self->d;
	unsigned int i, j;

	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		unsigned int first = ranges[i][0], last = ranges[i][1];
		unsigned int pages[] = { first - 1, first, last, last + 1 };

		fill(memory, iova, 3 * SZ_2M, i);
		for (j = 0; j < 3; j++)
			ASSERT_EQ(VTDT_OK, device_reads(d, iova + j * SZ_2M, PAGE, i));
		ASSERT_EQ(0, madvise(memory + first * PAGE, (last - first + 1) * PAGE,
				     MADV_DONTNEED));
		EXPECT_EQ(VTDT_OK, device_reads(d, iova + (first - 1) * PAGE, PAGE, i));
		EXPECT_EQ(VTDT_OK, device_reads(d, iova + (last + 1) * PAGE, PAGE, i));
		ASSERT_EQ(0, madvise(memory + (first - 1) * PAGE, PAGE, MADV_DONTNEED));
		ASSERT_EQ(0, madvise(memory + (last + 1) * PAGE, PAGE, MADV_DONTNEED));
		for (j = 0; j < 4; j++)
			EXPECT_EQ(VTDT_FAILED,
				  device_reads(d, iova + pages[j] * PAGE, PAGE, i));
	}
}

/*
 * One call that discards pages invalidates the device's TLB once in each GiB of the IOAS;
 * so does reclaim, for each page. IOMMU_IOAS_UNMAP invalidates once in all.
 */
TEST_F(demand, one_invalidation_per_call)
{
	word *invalidations = reg(&self->d.vmm.dev, VTDT_INVALIDATIONS);
	struct demand *d = &self->d;
	uint32_t before, one;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 1));
	before = *invalidations;
	ASSERT_EQ(0, madvise(d->memory, PAGE, MADV_DONTNEED));
	one = *invalidations - before;
	EXPECT_LE(1, one);

	before = *invalidations;
	ASSERT_EQ(0, madvise(d->memory + PAGE, SZ_2M, MADV_DONTNEED));
	EXPECT_EQ(one, *invalidations - before);

	/* reclaim: at most one for each page */
	before = *invalidations;
	ASSERT_EQ(0, madvise(d->memory + 2 * SZ_2M, 16 * PAGE, MADV_PAGEOUT));
	EXPECT_GE(16 * one, *invalidations - before);

	/* an area that crosses a GiB */
	before = *invalidations;
	ASSERT_TRUE(unmap_area(&d->vmm, IOVA, SIZE));
	EXPECT_EQ(one, *invalidations - before);
	EXPECT_NE(VTDT_OK, device_reads(d, IOVA + SIZE - PAGE, PAGE, 1));
}

/* Discarding pages that are not mapped for the device invalidates nothing. */
TEST_F(demand, no_invalidation_of_unused_pages)
{
	word *invalidations = reg(&self->d.vmm.dev, VTDT_INVALIDATIONS);
	unsigned char *memory = self->d.memory + SZ_2M;
	uint64_t iova = ELSEWHERE + 5 * PAGE;
	struct demand *d = &self->d;
	uint32_t before;

	ASSERT_TRUE(map_area(&d->vmm, iova, memory, 3 * PAGE));
	fill(memory, iova, SZ_2M, 1);
	before = *invalidations;
	ASSERT_EQ(0, madvise(memory, SZ_2M, MADV_DONTNEED));
	EXPECT_EQ(before, *invalidations);

	fill(memory, iova, 3 * PAGE, 1);
	EXPECT_EQ(VTDT_OK, device_reads(d, iova, 3 * PAGE, 1));
	before = *invalidations;
	ASSERT_EQ(0, madvise(memory, SZ_2M, MADV_DONTNEED));
	EXPECT_NE(before, *invalidations);
	fill(memory, iova, 3 * PAGE, 2);
	before = *invalidations;
	ASSERT_EQ(0, madvise(memory, SZ_2M, MADV_DONTNEED));
	EXPECT_EQ(before, *invalidations);
}

/* A part of a huge page is discarded; the rest stays mapped. */
TEST_F(demand, part_of_huge_page)
{
	struct demand *d = &self->d;
	unsigned int requests;
	long start;

	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_HUGEPAGE));
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	ASSERT_EQ(0, madvise(d->memory + 7 * PAGE, PAGE, MADV_DONTNEED));
	requests = page_requests(d);
	start = now_ms();
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + 8 * PAGE, SZ_2M - 8 * PAGE, 1));
	/* One for all. If it takes a second, the kernel has the device repeat it. */
	EXPECT_GE(now_ms() - start < 1000 ? 1 : 3, page_requests(d) - requests);
	EXPECT_EQ(VTDT_FAILED, device_reads(d, IOVA + 7 * PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 7 * PAGE, PAGE, 1));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 1));
}

/* Of small pages, exactly the one that is discarded is unmapped. */
TEST_F(demand, rest_stays_mapped)
{
	struct demand *d = &self->d;
	unsigned int requests;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	ASSERT_EQ(0, madvise(d->memory + 7 * PAGE, PAGE, MADV_DONTNEED));
	requests = page_requests(d);
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, 7 * PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + 8 * PAGE, SZ_2M - 8 * PAGE, 1));
	EXPECT_EQ(requests, page_requests(d));
}

TEST_F(demand, swapped_out)
{
	struct demand *d = &self->d;
	unsigned int i, gone, tries, requests;

	for (tries = 1; tries <= 3; tries++) {
		ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, 2 * SZ_2M, tries));
		ASSERT_EQ(0, madvise(d->memory, 2 * SZ_2M, MADV_PAGEOUT));
		for (i = gone = 0; i < 1024; i++)
			gone += !present(d->memory + i * PAGE);
		EXPECT_LT(900, gone);
		requests = page_requests(d);
		EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, 2 * SZ_2M, tries));
		EXPECT_GE(2 * SZ_2M >> 16, page_requests(d) - requests);
		EXPECT_TRUE(holds(d->memory, IOVA, 2 * SZ_2M, tries));
	}
}

/* Data that only a device has written is not discarded as clean. */
TEST_F(demand, madv_free)
{
	struct demand *d = &self->d;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_FREE));
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_PAGEOUT));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));
}

/* A read does not keep the pages beside it from being discarded as clean. */
TEST_F(flat, madv_free_beside_read)
{
	struct demand *d = &self->d;
	unsigned int i, discarded = 0;

	fill(d->memory, IOVA, SZ_2M, 1);
	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_FREE));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + 7 * PAGE, PAGE, 1));
	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_PAGEOUT));
	for (i = 0; i < 512; i++)
		discarded += !*(volatile uint64_t *)(d->memory + i * PAGE);
	/* a few are still about to be marked */
	EXPECT_LT(400, discarded);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));
}

/* The child keeps the old data while the device writes the parent's. */
TEST_F(demand, forked)
{
	struct demand *d = &self->d;
	int go[2], status = -1;
	char byte;
	pid_t child;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	child = fork();
	if (!child) {
		if (read(go[0], &byte, 1) != 1)
			_exit(2);
		_exit(!holds(d->memory, IOVA, SZ_2M, 1));
	}
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));

	/* Shared pages become exclusive to the process again without a notification. */
	child = fork();
	if (!child)
		_exit(read(go[0], &byte, 1) != 1);
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SZ_2M, 2));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 3));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 3));
}

/* Only the page that the device writes is copied; its neighbours stay shared. */
TEST_F(demand, fork_keeps_neighbours_shared)
{
	struct demand *d = &self->d;
	unsigned long before[16], i;
	int go[2], status = -1;
	char byte;
	pid_t child;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_NOHUGEPAGE));
	fill(d->memory, IOVA, SZ_2M, 1);
	child = fork();
	if (!child)
		_exit(read(go[0], &byte, 1) != 1 || !holds(d->memory, IOVA, SZ_2M, 1));
	for (i = 0; i < 16; i++)
		before[i] = pfn_of(d->memory + i * PAGE);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 5 * PAGE, PAGE, 2));
	for (i = 0; i < 16; i++) {
		bool same = pfn_of(d->memory + i * PAGE) == before[i];

		EXPECT_EQ(i != 5, same);
	}
	EXPECT_TRUE(holds(d->memory + 5 * PAGE, IOVA + 5 * PAGE, PAGE, 2));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(demand, mprotect)
{
	struct demand *d = &self->d;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, 16 * PAGE, 1));
	ASSERT_EQ(0, mprotect(d->memory, 16 * PAGE, PROT_READ));
	EXPECT_EQ(VTDT_DENIED, device_writes(d, IOVA, PAGE, 2));
	/* A nest parent maps nothing that must not be written to. */
	EXPECT_EQ(d->nested ? VTDT_DENIED : VTDT_OK, device_reads(d, IOVA, 16 * PAGE, 1));
	ASSERT_EQ(0, mprotect(d->memory, 16 * PAGE, PROT_NONE));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA, PAGE, 1));
	/* Nothing is allocated where the process has no access. */
	ASSERT_EQ(0, mprotect(d->memory + SZ_2M, PAGE, PROT_NONE));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA + SZ_2M, PAGE, 1));
	EXPECT_FALSE(present(d->memory + SZ_2M));
	ASSERT_EQ(0, mprotect(d->memory, 16 * PAGE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 16 * PAGE, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, 16 * PAGE, 2));
}

/* A page that is only read is mapped read-only; a write then gets a copy. */
TEST_F(demand, read_before_write)
{
	struct demand *d = &self->d;
	unsigned int i;

	/* zeroes */
	EXPECT_EQ(VTDT_FAILED, device_reads(d, IOVA, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SZ_2M, 1));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 1));
	for (i = 0; i < 512; i++)
		EXPECT_EQ(0, d->memory[SZ_2M + i * PAGE]);
}

TEST_F(demand, mremap)
{
	struct demand *d = &self->d;
	unsigned char *to = new_memory(SZ_2M, MADV_NOHUGEPAGE);

	ASSERT_NE(NULL, to);
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	ASSERT_EQ(to, mremap(d->memory, SZ_2M, SZ_2M, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(VTDT_DENIED, device_writes(d, IOVA, PAGE, 2));
	EXPECT_TRUE(holds(to, IOVA, SZ_2M, 1));

	/* then other memory is mapped at the old address */
	ASSERT_EQ(d->memory, mmap(d->memory, SZ_2M, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 3));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 3));
	EXPECT_TRUE(holds(to, IOVA, SZ_2M, 1));
	munmap(to, SZ_2M);
}

/* Pages are migrated to the other node and back. */
TEST_F(demand, migrated)
{
	struct demand *d = &self->d;
	int to[16], status[16], round, i;
	unsigned long pfn;
	void *pages[16];

	for (i = 0; i < 16; i++)
		pages[i] = d->memory + i * PAGE;
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, 16 * PAGE, 1));
	for (round = 0; round < 4; round++) {
		for (i = 0; i < 16; i++)
			to[i] = round & 1;
		pfn = pfn_of(pages[0]);
		ASSERT_EQ(0, syscall(SYS_move_pages, 0, 16UL, pages, to, status,
				     MPOL_MF_MOVE));
		if (round)
			EXPECT_NE(pfn, pfn_of(pages[0]));
		for (i = 0; i < 16; i++)
			EXPECT_EQ(round & 1, status[i]);
		EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, 16 * PAGE, round + 1));
		EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 16 * PAGE, round + 2));
		EXPECT_TRUE(holds(d->memory, IOVA, 16 * PAGE, round + 2));
	}
}

static int map_with(struct vmm *vmm, uint64_t iova, unsigned long va, size_t length,
		    unsigned int flags)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map), .ioas_id = vmm->ioas, .iova = iova,
		.flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.length = length, .user_va = va,
	};

	return ioctl(vmm->iommufd, IOMMU_IOAS_MAP, &map) ? errno : 0;
}

/* Two pages are merged; a write of the device to one does not change the other. */
TEST_F(demand, merged_by_ksm)
{
	struct demand *d = &self->d;
	unsigned char *other = d->memory + SZ_2M;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, PAGE, 1));
	memcpy(other, d->memory, PAGE);
	/* It skips pages, each in its own rounds: two equal pages may never meet. */
	ASSERT_TRUE(write_file("/sys/kernel/mm/ksm/smart_scan", "0"));
	ASSERT_TRUE(write_file("/sys/kernel/mm/ksm/sleep_millisecs", "10"));
	ASSERT_TRUE(write_file("/sys/kernel/mm/ksm/run", "1"));
	ASSERT_EQ(0, madvise(d->memory, PAGE, MADV_MERGEABLE));
	ASSERT_EQ(0, madvise(other, PAGE, MADV_MERGEABLE));
	EXPECT_TRUE(wait_until(pfn_of(d->memory) == pfn_of(other)));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, PAGE, 2));
	EXPECT_NE(pfn_of(d->memory), pfn_of(other));
	EXPECT_TRUE(holds(d->memory, IOVA, PAGE, 2));
	EXPECT_TRUE(holds(other, IOVA, PAGE, 1));

	/* merged again, and each gets its own page back */
	memcpy(other, d->memory, PAGE);
	EXPECT_TRUE(wait_until(pfn_of(d->memory) == pfn_of(other)));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, PAGE, 2));
	ASSERT_EQ(0, madvise(d->memory, PAGE, MADV_UNMERGEABLE));
	EXPECT_NE(pfn_of(d->memory), pfn_of(other));
	memset(other, 0, PAGE);
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, PAGE, 2));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, PAGE, 3));
	EXPECT_TRUE(holds(d->memory, IOVA, PAGE, 3));
	write_file("/sys/kernel/mm/ksm/run", "0");
}

/*
 * The scheduler takes access from pages, to learn which node uses them, while the device
 * writes them.
 */
TEST_F(demand, numa_balancing)
{
	struct demand *d = &self->d;
	unsigned int seed, before = 0;

	/* Nothing else takes pages from the device. */
	for (seed = 1; seed <= 3; seed++) {
		ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, seed));
		before = seed == 1 ? page_requests(d) : before;
	}
	ASSERT_EQ(before, page_requests(d));
	ASSERT_TRUE(write_file("/proc/sys/kernel/numa_balancing", "1"));
	EXPECT_TRUE(wait_until(({
		seed++;
		EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, seed));
		EXPECT_TRUE(holds(d->memory, IOVA, SIZE, seed));
		page_requests(d) - before > 2 * SIZE / SZ_2M;
	})));
	write_file("/proc/sys/kernel/numa_balancing", "0");
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SIZE, seed));
}

TEST_F(demand, hugetlb)
{
	struct demand *d = &self->d;
	unsigned int requests;

	ASSERT_EQ(d->memory, mmap(d->memory, SZ_2M, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED,
				  -1, 0));
	requests = page_requests(d);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	EXPECT_EQ(1, page_requests(d) - requests);
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 1));
	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_DONTNEED));
	EXPECT_EQ(VTDT_FAILED, device_reads(d, IOVA, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));
}

/* Shared memory, as VMMs use it; punching a hole unmaps it from the device, too. */
TEST_F(demand, memfd)
{
	struct demand *d = &self->d;
	int fd = memfd_create("guest", MFD_CLOEXEC);
	unsigned int requests;
	unsigned char *other;

	ASSERT_EQ(0, ftruncate(fd, SZ_2M));
	ASSERT_EQ(d->memory, mmap(d->memory, SZ_2M, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, 0));
	other = mmap(NULL, SZ_2M, PROT_READ, MAP_SHARED, fd, 0);
	requests = page_requests(d);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	EXPECT_GE(SZ_2M >> 16, page_requests(d) - requests);
	EXPECT_TRUE(holds(other, IOVA, SZ_2M, 1));
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       4 * PAGE, PAGE));
	EXPECT_EQ(VTDT_FAILED, device_reads(d, IOVA + 4 * PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 4 * PAGE, PAGE, 1));
	EXPECT_TRUE(holds(other, IOVA, SZ_2M, 1));
	/* beyond the end of the file */
	ASSERT_EQ(0, ftruncate(fd, SZ_2M / 2));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA + SZ_2M - PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SZ_2M / 2, 1));
	munmap(other, SZ_2M);
	close(fd);
}

/* ---- huge pages are collapsed and split ---- */

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

/* MADV_COLLAPSE: the huge page is mapped as such, and split later. */
TEST_F(demand, collapsed)
{
	struct demand *d = &self->d;
	unsigned int i, round;

	for (round = 1; round <= 3; round++) {
		ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_NOHUGEPAGE));
		ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_DONTNEED));
		ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, round));
		ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_HUGEPAGE));
		ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_COLLAPSE));
		EXPECT_LT(0, number_in("/proc/self/smaps_rollup", "AnonHugePages:"));
		EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SZ_2M, round));
		EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, round + 10));
		if (!d->nested)
			EXPECT_EQ(1, table_has(d, "leaves_2m"));

		/* one page changes its protection, which splits the huge page */
		ASSERT_EQ(0, mprotect(d->memory + 9 * PAGE, PAGE, PROT_READ));
		EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 10 * PAGE, PAGE, round + 10));
		ASSERT_EQ(0, mprotect(d->memory + 9 * PAGE, PAGE, PROT_READ | PROT_WRITE));
		ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_PAGEOUT));
		for (i = 0; i < 512; i += 3)
			EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + i * PAGE, PAGE, round + 10));
		EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, round + 10));
	}
}

/* The folio of a huge page that is mapped as such is split. */
TEST_F(demand, split_folio)
{
	struct demand *d = &self->d;
	char range[80];

	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_HUGEPAGE));
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	if (!d->nested)
		EXPECT_EQ(1, table_has(d, "leaves_2m"));
	snprintf(range, sizeof(range), "%d,%p,%p", getpid(), d->memory, d->memory + SZ_2M);
	ASSERT_TRUE(write_file("/sys/kernel/debug/split_huge_pages", range));
	if (!d->nested)
		EXPECT_EQ(0, table_has(d, "leaves_2m"));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));
}

/* khugepaged collapses pages while the device writes them. */
TEST_F(demand, khugepaged)
{
	struct demand *d = &self->d;
	unsigned int seed = 0;

	ASSERT_TRUE(write_file(KHUGEPAGED "scan_sleep_millisecs", "10"));
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, seed));
	ASSERT_EQ(0, madvise(d->memory, SIZE, MADV_HUGEPAGE));
	EXPECT_TRUE(wait_until(({
		seed++;
		EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, seed));
		EXPECT_TRUE(holds(d->memory, IOVA, SIZE, seed));
		number_in("/proc/self/smaps_rollup", "AnonHugePages:") >= (long)SIZE / 1024;
	})));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SIZE, seed));
	write_file(KHUGEPAGED "scan_sleep_millisecs", "86400000");
}

/* ---- mappings of other kinds ---- */

/* One area covers mappings of different kinds and protections. */
TEST_F(demand, several_mappings)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	unsigned char *shared = self->d.memory + SZ_2M + 17 * PAGE;
	struct demand *d = &self->d;

	ASSERT_EQ(0, ftruncate(fd, 100 * PAGE));
	ASSERT_EQ(shared, mmap(shared, 100 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED, fd, 0));
	ASSERT_EQ(0, mprotect(d->memory + SZ_2M + 300 * PAGE, PAGE, PROT_NONE));
	ASSERT_EQ(0, munmap(d->memory + SZ_2M + 301 * PAGE, PAGE));
	ASSERT_EQ(d->memory + 3 * SZ_2M, mmap(d->memory + 3 * SZ_2M, SZ_2M,
					      PROT_READ | PROT_WRITE, MAP_PRIVATE |
					      MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED, -1, 0));

	/* across three mappings */
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + SZ_2M, 300 * PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_writes(d, IOVA + SZ_2M + 300 * PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA + SZ_2M + 301 * PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + SZ_2M + 302 * PAGE,
					 2 * SZ_2M - 302 * PAGE + SZ_2M, 1));
	EXPECT_TRUE(holds(d->memory + SZ_2M, IOVA + SZ_2M, 300 * PAGE, 1));
	EXPECT_TRUE(holds(d->memory + SZ_2M + 302 * PAGE, IOVA + SZ_2M + 302 * PAGE,
			  2 * SZ_2M - 302 * PAGE + SZ_2M, 1));
	/* truncating the file affects only its own mapping */
	ASSERT_EQ(0, ftruncate(fd, 0));
	ASSERT_EQ(0, ftruncate(fd, 100 * PAGE));
	EXPECT_EQ(VTDT_FAILED, device_reads(d, IOVA + SZ_2M + 17 * PAGE, 100 * PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + SZ_2M, 17 * PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + 3 * SZ_2M, SZ_2M, 1));
	close(fd);
}

static void ignore_signal(int signal)
{
}

/* A poisoned page is refused; the page that replaces it is not. */
TEST_F(demand, poisoned)
{
	struct demand *d = &self->d;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, 3 * PAGE, 1));
	signal(SIGBUS, ignore_signal);
	ASSERT_EQ(0, madvise(d->memory + PAGE, PAGE, MADV_HWPOISON));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA + PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_writes(d, IOVA + PAGE, PAGE, 2));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 2 * PAGE, PAGE, 2));
	ASSERT_EQ(0, madvise(d->memory + PAGE, PAGE, MADV_DONTNEED));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + PAGE, PAGE, 2));
	EXPECT_TRUE(holds(d->memory + PAGE, IOVA + PAGE, 2 * PAGE, 2));
}

/* ---- memory hotplug ---- */

/* A memory block with the device's pages can go offline, as nothing is pinned. */
TEST_F(demand, block_goes_offline)
{
	unsigned long first, pages, node1 = 1 << 1;
	struct demand *d = &self->d;
	char state[80];

	ASSERT_TRUE(find_block(state, sizeof(state), &first, &pages));
	ASSERT_TRUE(write_file(state, "online_movable"));
	ASSERT_EQ(0, syscall(SYS_mbind, d->memory, SZ_2M, MPOL_BIND, &node1, 3UL, 0UL));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	EXPECT_GT(pages, pfn_of(d->memory) - first);
	EXPECT_GT(pages, pfn_of(d->memory + SZ_2M - PAGE) - first);
	EXPECT_TRUE(write_file(state, "offline"));
	EXPECT_LE(pages, pfn_of(d->memory) - first);
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));
}

/* ---- refused memory and addresses ---- */

/* A file system may wait for user space, which nothing could interrupt. */
TEST_F(flat, file_mappings_are_refused)
{
	struct demand *d = &self->d;
	int fd = open("/ramfs/file", O_RDWR | O_CREAT, 0600);

	ASSERT_EQ(0, ftruncate(fd, PAGE));
	ASSERT_EQ(d->memory, mmap(d->memory, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, 0));
	*d->memory = 1;
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA, PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_writes(d, IOVA, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA, PAGE, 1));
	close(fd);
}

TEST_F(demand, secretmem_is_refused)
{
	struct demand *d = &self->d;
	int fd = syscall(SYS_memfd_secret, 0);
	unsigned char *secret;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 16 * PAGE));
	secret = mmap(d->memory + PAGE, 16 * PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED, fd, 0);
	ASSERT_EQ(d->memory + PAGE, secret);
	memset(secret, 1, 16 * PAGE);
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA + PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_writes(d, IOVA + PAGE, PAGE, 1));
	/* nor is it mapped with the pages beside it, after it and before it */
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 17 * PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA + PAGE, PAGE, 1));
	ASSERT_EQ(0, madvise(d->memory + 17 * PAGE, PAGE, MADV_DONTNEED));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA + PAGE, PAGE, 1));
	close(fd);
}

TEST_F(flat, device_registers_are_refused)
{
	struct demand *d = &self->d;
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX,
	};

	ASSERT_EQ(0, ioctl(d->vmm.dev.fd, VFIO_DEVICE_GET_REGION_INFO, &info));
	ASSERT_EQ(d->memory, mmap(d->memory, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, d->vmm.dev.fd, info.offset));
	EXPECT_EQ(VTDT_DENIED, device_writes(d, IOVA, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + PAGE, PAGE, 1));
}

TEST_F(demand, outside_all_areas)
{
	struct demand *d = &self->d;

	EXPECT_EQ(VTDT_DENIED, device_writes(d, ELSEWHERE, PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA + SIZE, PAGE, 1));
	ASSERT_TRUE(map_area(&d->vmm, ELSEWHERE, d->memory + SZ_2M, SZ_2M));
	EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	EXPECT_TRUE(holds(d->memory + SZ_2M, ELSEWHERE, SZ_2M, 1));
	ASSERT_TRUE(unmap_area(&d->vmm, ELSEWHERE, SZ_2M));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, ELSEWHERE, PAGE, 1));
	EXPECT_TRUE(holds(d->memory + SZ_2M, ELSEWHERE, SZ_2M, 1));
}

TEST_F(flat, read_only_area)
{
	struct demand *d = &self->d;

	ASSERT_EQ(0, map_with(&d->vmm, ELSEWHERE, (uintptr_t)d->memory + SZ_2M, SZ_2M,
			      IOMMU_IOAS_MAP_READABLE));
	fill(d->memory + SZ_2M, ELSEWHERE, SZ_2M, 1);
	EXPECT_EQ(VTDT_OK, device_reads(d, ELSEWHERE, SZ_2M, 1));
	EXPECT_EQ(VTDT_DENIED, device_writes(d, ELSEWHERE, PAGE, 2));
	EXPECT_TRUE(holds(d->memory + SZ_2M, ELSEWHERE, SZ_2M, 1));
}

/* Read-only pages, like the zero page, are not mapped for a write beside them. */
TEST_F(flat, write_only_area)
{
	struct demand *d = &self->d;
	unsigned char *memory = d->memory + SZ_2M;
	unsigned int i;

	ASSERT_EQ(0, map_with(&d->vmm, ELSEWHERE, (uintptr_t)memory, SZ_2M,
			      IOMMU_IOAS_MAP_WRITEABLE));
	for (i = 0; i < 512; i += 2)
		EXPECT_EQ(0, memory[i * PAGE]);		/* the zero page */
	EXPECT_EQ(VTDT_DENIED, device_reads(d, ELSEWHERE + PAGE, PAGE, 1));
	for (i = 1; i < 512; i += 64)
		EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE + i * PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE, SZ_2M, 1));
	EXPECT_TRUE(holds(memory, ELSEWHERE, SZ_2M, 1));
}

/* A small area: what the process has beside it is not mapped. */
TEST_F(demand, memory_beside_area)
{
	unsigned char *memory = self->d.memory + SZ_2M;
	uint64_t iova = ELSEWHERE + 5 * PAGE;
	struct demand *d = &self->d;

	ASSERT_TRUE(map_area(&d->vmm, iova, memory + 5 * PAGE, 3 * PAGE));
	fill(memory, ELSEWHERE, SZ_2M, 1);
	EXPECT_EQ(VTDT_OK, device_writes(d, iova, 3 * PAGE, 2));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, iova - PAGE, PAGE, 1));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, iova + 3 * PAGE, PAGE, 1));
	ASSERT_EQ(0, madvise(memory, SZ_2M, MADV_DONTNEED));
	/* nor is it faulted in */
	EXPECT_EQ(VTDT_OK, device_writes(d, iova, 3 * PAGE, 2));
	EXPECT_FALSE(present(memory + 4 * PAGE));
	EXPECT_FALSE(present(memory + 8 * PAGE));
}

static bool large_pages_off(struct vmm *vmm)
{
	struct iommu_option option = {
		.size = sizeof(option), .option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET, .object_id = vmm->ioas,
	};

	return !ioctl(vmm->iommufd, IOMMU_OPTION, &option);
}

/*
 * The user wants no large pages, which can only be changed while there are no areas. VFIO's
 * call could then unmap a part of an area, but not of one that is paged on demand.
 */
TEST_F(flat, no_large_pages)
{
	struct demand *d = &self->d;
	struct iommu_vfio_ioas ioas = {
		.size = sizeof(ioas), .ioas_id = d->vmm.ioas, .op = IOMMU_VFIO_IOAS_SET,
	};
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = IOVA + SZ_2M, .size = SZ_2M,
	};

	EXPECT_FALSE(large_pages_off(&d->vmm));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_TRUE(unmap_area(&d->vmm, IOVA, SIZE));
	ASSERT_TRUE(large_pages_off(&d->vmm));
	ASSERT_TRUE(map_area(&d->vmm, IOVA, d->memory, SIZE));
	ASSERT_EQ(0, madvise(d->memory, SIZE, MADV_HUGEPAGE));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 2 * SZ_2M, 1));
	EXPECT_LT(0, number_in("/proc/self/smaps_rollup", "AnonHugePages:"));
	EXPECT_EQ(0, table_has(d, "leaves_2m"));

	ASSERT_EQ(0, ioctl(d->vmm.iommufd, IOMMU_VFIO_IOAS, &ioas));
	EXPECT_NE(0, ioctl(d->vmm.iommufd, VFIO_IOMMU_UNMAP_DMA, &unmap));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, madvise(d->memory, SIZE, MADV_DONTNEED));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SIZE, 2));
}

/* Addresses outside of user space */
TEST_F(flat, beyond_user_space)
{
	EXPECT_EQ(EFAULT, map_with(&self->d.vmm, ELSEWHERE, 1UL << 62, PAGE, RW));
}

/* The number of areas is limited. A page may be in all of them, and is unmapped from each. */
TEST_F(flat, too_many_areas)
{
	struct demand *d = &self->d;
	unsigned int i, n;
	int error = 0;

	for (i = 0; i < 31; i++)
		ASSERT_NE(0, new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0));
	/* The first page is in 64 of them; one that is refused for this does not count. */
	ASSERT_EQ(0, map_with(&d->vmm, ELSEWHERE, (uintptr_t)d->memory, PAGE, RW));
	for (i = 0; i < 32; i++)
		EXPECT_EQ(ENOSPC, map_with(&d->vmm, 2 * ELSEWHERE, (uintptr_t)d->memory, PAGE,
					   RW));
	for (n = 1; !error && n < 2000; n++)
		error = map_with(&d->vmm, ELSEWHERE + n * PAGE,
				 (uintptr_t)d->memory + n * PAGE, PAGE, RW);
	EXPECT_EQ(ENOSPC, error);
	EXPECT_EQ(32768 / 32, n);
	EXPECT_EQ(0, new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE + PAGE, PAGE, 1));
	ASSERT_EQ(0, madvise(d->memory + PAGE, PAGE, MADV_DONTNEED));
	EXPECT_EQ(VTDT_FAILED, device_reads(d, ELSEWHERE + PAGE, PAGE, 1));
	ASSERT_TRUE(unmap_area(&d->vmm, ELSEWHERE, n * PAGE));
	EXPECT_EQ(0, map_with(&d->vmm, ELSEWHERE, (uintptr_t)d->memory, PAGE, RW));
}

#define INVALIDATION	60	/* ms; if it took 100 ms, the device would be blocked */

/* Unmap the area whenever told to. */
static void unmap_when_told(struct demand *d, int go, int done)
{
	char byte;

	while (read(go, &byte, 1) == 1)
		if (!unmap_area(&d->vmm, IOVA, SIZE) || write(done, "", 1) != 1)
			_exit(1);
	_exit(0);
}

/*
 * Another process unmaps an area, and the device takes long to invalidate its TLB. If this
 * process discards a page of the area meanwhile, it waits for that invalidation, too. (If it
 * unmapped the area itself, the two calls could wait for each other's CPU.)
 */
TEST_F(flat, lost_during_unmap)
{
	struct demand *d = &self->d;
	word *delay = reg(&d->vmm.dev, VTDT_ATC_DELAY);
	int go[2], done[2], status;
	unsigned int i;
	pid_t child;
	long start;
	char byte;

	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(done));
	child = fork();
	if (!child) {
		close(go[1]);
		unmap_when_told(d, go[0], done[1]);
	}
	close(go[0]);
	close(done[1]);
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, PAGE, i));
		*delay = INVALIDATION * 1000000;
		start = now_ms();
		ASSERT_EQ(1, write(go[1], "", 1));
		sleep_ms(20);
		ASSERT_EQ(0, madvise(d->memory, PAGE, MADV_DONTNEED));
		EXPECT_LT(INVALIDATION - 2, now_ms() - start);
		ASSERT_EQ(1, read(done[0], &byte, 1));
		*delay = 0;
		ASSERT_TRUE(map_area(&d->vmm, IOVA, d->memory, SIZE));
	}
	close(go[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	close(done[0]);
}

#define RACERS		4

/* A thread that maps and unmaps areas of few pages */
struct racer {
	struct demand *d;
	unsigned int number;
	pthread_t thread;
	volatile bool stop;
};

static void *race(void *data)
{
	struct racer *racer = data;
	uint64_t base = ELSEWHERE + racer->number * SZ_1G;
	struct vmm *vmm = &racer->d->vmm;
	unsigned int i, hwpt;
	pid_t child;

	for (i = 0; !racer->stop; i++) {
		uintptr_t page = (uintptr_t)racer->d->memory + i % 5 * PAGE;

		map_with(vmm, base + i % 64 * PAGE, page, (1 + i % 2) * PAGE, RW);
		if (i % 3)
			unmap_area(vmm, base + (i + 7) % 64 * PAGE, PAGE);
		if (i % 64 == 63)
			unmap_area(vmm, base, SZ_1G);
		if (racer->number == 0 && i % 16 == 0) {
			hwpt = new_paging(vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
			if (hwpt)
				destroy(vmm, hwpt);
		}
		if (racer->number != 1 || i % 32)
			continue;
		/* a process that does not live longer than its areas, or is killed */
		child = fork();
		if (!child) {
			for (i = 0; i < 80; i++)
				map_with(vmm, base + i * PAGE, page, PAGE, RW);
			_exit(0);
		}
		if (i % 64)
			kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	return NULL;
}

/* Threads map, unmap, and fork, and HWPTs come and go: areas are counted right nevertheless. */
TEST_F(flat, areas_counted_in_races)
{
	struct racer racers[RACERS] = {};
	struct demand *d = &self->d;
	unsigned int i, n;

	if (d->pasid != RID)
		return;
	for (i = 0; i < RACERS; i++) {
		racers[i].d = d;
		racers[i].number = i;
		ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, race, &racers[i]));
	}
	sleep_ms(5000);
	for (i = 0; i < RACERS; i++)
		racers[i].stop = true;
	for (i = 0; i < RACERS; i++)
		pthread_join(racers[i].thread, NULL);
	ASSERT_TRUE(unmap_area(&d->vmm, ELSEWHERE, RACERS * SZ_1G));
	for (n = 1; !map_with(&d->vmm, ELSEWHERE + n * PAGE, (uintptr_t)d->memory, PAGE, RW);)
		n++;
	EXPECT_EQ(64, n);
	ASSERT_TRUE(unmap_area(&d->vmm, ELSEWHERE, SZ_1G));
	for (i = 0; i < 31; i++)
		ASSERT_NE(0, new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0));
	for (n = 1; !map_with(&d->vmm, ELSEWHERE + n * PAGE,
			      (uintptr_t)d->memory + n * PAGE, PAGE, RW);)
		n++;
	EXPECT_EQ(32768 / 32, n);
}

/* A page in as many areas as possible: the device loses it in all of them. */
TEST_F(flat, too_many_areas_of_a_page)
{
	struct demand *d = &self->d;
	unsigned int i, n;
	int error = 0;

	for (n = 1; !error && n < 100; n++)
		error = map_with(&d->vmm, ELSEWHERE + n * PAGE, (uintptr_t)d->memory, PAGE,
				 RW);
	EXPECT_EQ(ENOSPC, error);
	EXPECT_EQ(64, --n);
	EXPECT_EQ(0, map_with(&d->vmm, ELSEWHERE, (uintptr_t)d->memory + PAGE, PAGE, RW));
	EXPECT_EQ(0, new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0));
	EXPECT_EQ(ENOSPC, errno);
	for (i = 1; i < n; i++)
		EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE + i * PAGE, PAGE, i));
	ASSERT_EQ(0, madvise(d->memory, PAGE, MADV_DONTNEED));
	for (i = 1; i < n; i++)
		EXPECT_EQ(VTDT_FAILED, device_reads(d, ELSEWHERE + i * PAGE, PAGE, n - 1));
	ASSERT_TRUE(unmap_area(&d->vmm, ELSEWHERE, n * PAGE));

	/* Areas of different pages do not add up. */
	for (i = 0; i < 100; i++)
		EXPECT_EQ(0, map_with(&d->vmm, ELSEWHERE + i * PAGE,
				      (uintptr_t)d->memory + i * PAGE, PAGE, RW));
	EXPECT_EQ(0, map_with(&d->vmm, 2 * ELSEWHERE, (uintptr_t)d->memory, SIZE, RW));
}

static volatile sig_atomic_t alarms;

static void count_alarm(int signal)
{
	alarms++;
}

/*
 * Map memory of a process with many VMAs, which has no notifier yet, with an alarm after
 * @delay microseconds.  Returns how long it takes, or the errno as a negative number.
 */
static long map_with_alarm(struct demand *d, long delay)
{
	const struct itimerval timer = { .it_value.tv_usec = delay };
	struct sigaction action = { .sa_handler = count_alarm };
	unsigned char *memory = new_memory(8192 * PAGE, MADV_NOHUGEPAGE);
	struct timespec start, end;
	unsigned int i;
	int error;

	for (i = 0; i < 8192; i += 2)
		mprotect(memory + i * PAGE, PAGE, PROT_READ);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	clock_gettime(CLOCK_MONOTONIC, &start);
	error = map_with(&d->vmm, ELSEWHERE, (uintptr_t)memory + PAGE, PAGE, RW);
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (!error && delay)
		error = !wait_until(alarms == 1) * ETIME;
	if (!error && !unmap_area(&d->vmm, ELSEWHERE, PAGE))
		error = ENOENT;
	return error ? -error : (end.tv_sec - start.tv_sec) * 1000000 +
			       (end.tv_nsec - start.tv_nsec) / 1000;
}

/* A signal that interrupts the kernel while it inserts a notifier does not fail the call. */
TEST_F(flat, mapping_interrupted_by_signal)
{
	struct demand *d = &self->d;
	long *result = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	long usual = 0;
	unsigned int i;

	ASSERT_NE(MAP_FAILED, result);
	for (i = 0; i <= 20; i++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			*result = map_with_alarm(d, i ? usual * i / 20 + 1 : 0);
			_exit(0);
		}
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		EXPECT_LT(0, *result);
		if (!i)
			usual = *result;
	}
	note("%ld us without a signal\n", usual);
	munmap(result, PAGE);
}

#define TO_PIN	(64 * SZ_2M)

/*
 * Beside a HWPT that pins: a timer that fires meanwhile does not make the call begin again
 * each time.
 */
TEST_F(flat, mapping_and_pinning_with_timer)
{
	const struct itimerval timer = { { 0, 5000 }, { 0, 5000 } };
	struct sigaction action = { .sa_handler = count_alarm };
	struct demand *d = &self->d;
	unsigned int pinning = new_paging(&d->vmm, 0, 0);
	int status = -1, error;
	pid_t child;

	ASSERT_NE(0, pinning);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		unsigned char *memory = new_memory(TO_PIN, MADV_NOHUGEPAGE);

		sigaction(SIGALRM, &action, NULL);
		setitimer(ITIMER_REAL, &timer, NULL);
		error = map_with(&d->vmm, ELSEWHERE, (uintptr_t)memory, TO_PIN, RW);
		_exit(error ?: !alarms);
	}
	EXPECT_TRUE(wait_until(waitpid(child, &status, WNOHANG) == child));
	EXPECT_EQ(0, status);
	if (status == -1) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	} else {
		EXPECT_TRUE(unmap_area(&d->vmm, ELSEWHERE, TO_PIN));
	}
	EXPECT_TRUE(destroy(&d->vmm, pinning));
}

/* Copy memory of two processes, the first of which is this one, with that timer. */
static int copy_with_timer(struct vmm *vmm, unsigned int from)
{
	const struct itimerval timer = { { 0, 5000 }, { 0, 5000 } };
	struct sigaction action = { .sa_handler = count_alarm };
	unsigned char *memory = new_memory(TO_PIN, MADV_NOHUGEPAGE);
	struct vmm source = *vmm;
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy), .flags = RW | IOMMU_IOAS_MAP_FIXED_IOVA,
		.src_ioas_id = from, .dst_ioas_id = vmm->ioas,
		.length = TO_PIN + PAGE, .dst_iova = ELSEWHERE, .src_iova = ELSEWHERE,
	};

	source.ioas = from;
	if (!map_area(&source, ELSEWHERE, memory, TO_PIN))
		return 1;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	return ioctl(vmm->iommufd, IOMMU_IOAS_COPY, &copy) ? 2 : alarms ? 0 : 3;
}

/* The same if a call copies several areas: no process gets its first notifier after pinning. */
TEST_F(flat, copying_and_pinning_with_timer)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct demand *d = &self->d;
	unsigned int pinning = new_paging(&d->vmm, 0, 0);
	int status = -1, to_parent[2], i;
	struct vmm source = d->vmm;
	pid_t child[2];
	char byte;

	ASSERT_NE(0, pinning);
	ASSERT_EQ(0, ioctl(d->vmm.iommufd, IOMMU_IOAS_ALLOC, &alloc));
	source.ioas = alloc.out_ioas_id;
	ASSERT_EQ(0, pipe(to_parent));
	child[1] = fork();
	if (!child[1]) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!map_area(&source, ELSEWHERE + TO_PIN, d->memory, PAGE) ||
		    write(to_parent[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ASSERT_EQ(1, read(to_parent[0], &byte, 1));
	child[0] = fork();
	if (!child[0])
		_exit(copy_with_timer(&d->vmm, source.ioas));
	EXPECT_TRUE(wait_until(waitpid(child[0], &status, WNOHANG) == child[0]));
	EXPECT_EQ(0, status);
	kill(child[1], SIGKILL);
	if (status == -1)
		kill(child[0], SIGKILL);
	for (i = 0; i < 2; i++)
		waitpid(child[i], NULL, 0);
	if (!status)
		EXPECT_TRUE(unmap_area(&d->vmm, ELSEWHERE, TO_PIN + PAGE));
	EXPECT_TRUE(destroy(&d->vmm, pinning));
	close(to_parent[0]);
	close(to_parent[1]);
}

/* ---- late pages ---- */

#define MANY	40
#define MOST_LATE	32	/* DEMAND_LATE_WORKERS */

/* More pages come late, one after the other, than workers may wait for at a time. */
TEST_F(demand, post_copy)
{
	unsigned char *from = new_memory(MANY * PAGE, MADV_NOHUGEPAGE);
	struct demand *d = &self->d;
	unsigned long address;
	struct late late;
	int i;

	ASSERT_NE(NULL, from);
	fill(from, IOVA, MANY * PAGE, 5);
	ASSERT_TRUE(catch_faults(&late, d->memory, MANY * PAGE));
	start_transfer(d, VTDT_READ, IOVA, MANY * PAGE, 5);
	for (i = 0; i < MANY; i++) {
		ASSERT_TRUE(wait_for_fault(&late, &address));
		EXPECT_EQ((unsigned long)d->memory + i * PAGE, address);
		sleep_ms(5);
		EXPECT_NE(0, *reg(&d->vmm.dev, VTDT_BUSY));
		ASSERT_TRUE(deliver_page(&late, address, from + i * PAGE));
	}
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	close(late.fd);
	munmap(from, MANY * PAGE);
}

/*
 * Detach, unmap and destroy do not wait for a page that userfaultfd does not deliver, and the
 * worker that waits is ended.
 */
TEST_F(demand, late_page_delays_no_call)
{
	struct demand *d = &self->d;
	unsigned long address;
	struct late late;
	long start;

	ASSERT_TRUE(catch_faults(&late, d->memory, 16 * PAGE));
	start_transfer(d, VTDT_WRITE, IOVA, PAGE, 1);
	ASSERT_TRUE(wait_for_fault(&late, &address));
	start = now_ms();
	ASSERT_TRUE(detach(&d->vmm, d->pasid));
	EXPECT_NE(VTDT_OK, finish_transfer(d));
	EXPECT_TRUE(wait_until(!busy_workers()));
	EXPECT_GT(800, now_ms() - start);

	ASSERT_TRUE(attach(&d->vmm, d->pasid, d->hwpt));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + SZ_2M, PAGE, 1));
	start_transfer(d, VTDT_WRITE, IOVA, PAGE, 1);
	ASSERT_TRUE(wait_for_fault(&late, &address));
	start = now_ms();
	ASSERT_TRUE(unmap_area(&d->vmm, IOVA, SIZE));
	EXPECT_GT(800, now_ms() - start);
	ASSERT_TRUE(detach(&d->vmm, d->pasid));
	start = now_ms();
	ASSERT_TRUE(destroy(&d->vmm, d->hwpt));
	EXPECT_GT(800, now_ms() - start);
	close(late.fd);
}

/* A page comes after its area was unmapped: the device does not get it. */
TEST_F(demand, late_page_of_unmapped_area)
{
	unsigned char *from = new_memory(PAGE, MADV_NOHUGEPAGE);
	struct demand *d = &self->d;
	unsigned long address;
	struct late late;

	fill(from, IOVA, PAGE, 1);
	ASSERT_TRUE(catch_faults(&late, d->memory, PAGE));
	start_transfer(d, VTDT_WRITE, IOVA, PAGE, 2);
	ASSERT_TRUE(wait_for_fault(&late, &address));
	ASSERT_TRUE(unmap_area(&d->vmm, IOVA, SIZE));
	ASSERT_TRUE(deliver_page(&late, address, from));
	EXPECT_EQ(VTDT_DENIED, finish_transfer(d));
	EXPECT_TRUE(holds(d->memory, IOVA, PAGE, 1));
	close(late.fd);
	munmap(from, PAGE);
}

/* The device repeats its request until the page is there, however late. */
TEST_F(demand, very_late_page)
{
	unsigned char *from = new_memory(PAGE, MADV_NOHUGEPAGE);
	struct demand *d = &self->d;
	unsigned long address;
	struct late late;

	fill(from, IOVA, PAGE, 3);
	ASSERT_TRUE(catch_faults(&late, d->memory, 16 * PAGE));
	start_transfer(d, VTDT_READ, IOVA, PAGE, 3);
	ASSERT_TRUE(wait_for_fault(&late, &address));
	sleep_ms(2500);
	EXPECT_NE(0, *reg(&d->vmm.dev, VTDT_BUSY));
	ASSERT_TRUE(deliver_page(&late, address, from));
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	close(late.fd);
	munmap(from, PAGE);
}

/* A group waits for one second, not for one second per page. */
TEST_F(demand, late_group)
{
	struct demand *d = &self->d;
	unsigned int groups = *reg(&d->vmm.dev, VTDT_GROUPS);
	struct late late;

	*reg(&d->vmm.dev, VTDT_GROUP_SIZE) = 32;
	ASSERT_TRUE(catch_faults(&late, d->memory, 32 * PAGE));
	start_transfer(d, VTDT_WRITE, IOVA, 32 * PAGE, 1);
	sleep_ms(5000);
	EXPECT_LE(3, *reg(&d->vmm.dev, VTDT_GROUPS) - groups);
	ASSERT_TRUE(detach(&d->vmm, d->pasid));
	finish_transfer(d);
	close(late.fd);
}

/*
 * Late pages of a group delay neither its other pages nor each other: userfaultfd learns of
 * all of them.
 */
TEST_F(demand, present_pages_before_late_ones)
{
	struct demand *d = &self->d;
	unsigned int seen = 0, faults;
	unsigned long address;
	struct late late;

	*reg(&d->vmm.dev, VTDT_GROUP_SIZE) = 32;
	ASSERT_TRUE(catch_faults(&late, d->memory, 16 * PAGE));
	start_transfer(d, VTDT_WRITE, IOVA, 32 * PAGE, 1);
	for (faults = 0; seen != 0xffff && faults < 64; faults++) {
		ASSERT_TRUE(wait_for_fault(&late, &address));
		if (!faults)
			EXPECT_TRUE(present(d->memory + 31 * PAGE));
		seen |= 1U << (address - (unsigned long)d->memory) / PAGE;
	}
	EXPECT_EQ(0xffff, seen);
	ASSERT_TRUE(detach(&d->vmm, d->pasid));
	finish_transfer(d);
	close(late.fd);
}

/* How many threads wait for the userfaultfd */
static long late_faults(struct late *late)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", late->fd);
	return number_in(path, "total");
}

/*
 * More pages are late than workers may wait for: pages that are there are served at once,
 * and the device does not repeat requests as fast as it can.
 */
TEST_F(demand, many_late_pages)
{
	unsigned char *from = new_memory(PAGE, MADV_NOHUGEPAGE);
	struct demand *d = &self->d;
	unsigned int i, requests;
	struct late late;
	long start, took;

	for (i = 1; i < 6; i++)
		fill(d->memory + i * SZ_2M, IOVA + i * SZ_2M, PAGE, 1);
	ASSERT_TRUE(catch_faults(&late, d->memory, MANY * PAGE));
	for (i = 0; i < MANY; i++)
		start_transfer(d, VTDT_WRITE, IOVA + i * PAGE, PAGE, 2);
	ASSERT_TRUE(wait_until(*reg(&d->vmm.dev, VTDT_GROUPS) >= MANY));
	EXPECT_TRUE(wait_until(late_faults(&late) >= MOST_LATE));
	/* late ones take a second; on a busy host, an attempt may take as long */
	for (i = 1, took = 600; i < 6 && took >= 600; i++) {
		start = now_ms();
		start_transfer(d, VTDT_WRITE, IOVA + i * SZ_2M, PAGE, 3);
		EXPECT_TRUE(wait_until(*(volatile uint64_t *)(d->memory + i * SZ_2M) ==
				       pattern_at(3, IOVA + i * SZ_2M)));
		took = now_ms() - start;
	}
	EXPECT_GT(600, took);
	for (i = 0; i < 100; i++) {
		EXPECT_GE(MOST_LATE, late_faults(&late));
		sleep_ms(2);
	}
	requests = page_requests(d);
	sleep_ms(500);
	EXPECT_GT(600, page_requests(d) - requests);
	EXPECT_EQ(MANY, *reg(&d->vmm.dev, VTDT_BUSY));
	for (i = 0; i < MANY; i++)
		ASSERT_TRUE(deliver_page(&late, (unsigned long)d->memory + i * PAGE, from));
	EXPECT_TRUE(wait_until(!*reg(&d->vmm.dev, VTDT_BUSY)));
	EXPECT_TRUE(holds(d->memory, IOVA, MANY * PAGE, 2));
	close(late.fd);
	munmap(from, PAGE);
}

/* userfaultfd is closed while a page is late: the device gets an empty page. */
TEST_F(demand, userfaultfd_closed)
{
	struct demand *d = &self->d;
	unsigned long address;
	struct late late;

	ASSERT_TRUE(catch_faults(&late, d->memory, 16 * PAGE));
	start_transfer(d, VTDT_WRITE, IOVA, 16 * PAGE, 1);
	ASSERT_TRUE(wait_for_fault(&late, &address));
	close(late.fd);
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	EXPECT_TRUE(holds(d->memory, IOVA, 16 * PAGE, 1));
}

/* Destroying a HWPT ends its waits: each would otherwise last a second. */
TEST_F(flat, destroy_ends_waits)
{
	struct demand *d = &self->d;
	unsigned long address;
	struct late late;
	long waited = 0;
	int i;

	ASSERT_TRUE(catch_faults(&late, d->memory, 16 * PAGE));
	for (i = 0; i < 10; i++) {
		start_transfer(d, VTDT_WRITE, IOVA, PAGE, 1);
		ASSERT_TRUE(wait_for_fault(&late, &address));
		ASSERT_TRUE(detach(&d->vmm, d->pasid));
		waited -= now_ms();
		ASSERT_TRUE(destroy(&d->vmm, d->hwpt));
		waited += now_ms();
		finish_transfer(d);
		d->hwpt = new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
		ASSERT_TRUE(attach(&d->vmm, d->pasid, d->hwpt));
	}
	EXPECT_GT(800, waited / 10);
	close(late.fd);
}

/* Hold, lock or unlock a page, in the words of page_lock. */
static bool tell_page_lock(const char *what, unsigned long pfn)
{
	char path[100], number[30];

	snprintf(path, sizeof(path), "/sys/module/page_lock/parameters/%s", what);
	snprintf(number, sizeof(number), "%lu", pfn);
	return write_file(path, number);
}

/* Its entry is one of swap. */
static bool swapped(const void *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	if (pread(fd, &entry, sizeof(entry), (uintptr_t)page / PAGE * sizeof(entry)) < 0)
		entry = 0;
	close(fd);
	return entry >> 62 & 1;
}

/*
 * A page is locked, as by I/O, and so is its neighbour, for longer: nobody waits for the
 * neighbour, which the device has not asked for.
 */
TEST_F(flat, locked_neighbour)
{
	struct demand *d = &self->d;
	unsigned long pfn[2];
	long start;
	int i;

	fill(d->memory, IOVA, 2 * PAGE, 1);
	for (i = 0; i < 2; i++) {
		pfn[i] = pfn_of(d->memory + i * PAGE);
		ASSERT_TRUE(tell_page_lock("hold", pfn[i]));
	}
	/* they are held, and so stay in the swap cache */
	ASSERT_EQ(0, madvise(d->memory, 2 * PAGE, MADV_PAGEOUT));
	for (i = 0; i < 2; i++) {
		EXPECT_TRUE(swapped(d->memory + i * PAGE));
		ASSERT_TRUE(tell_page_lock("lock", pfn[i]));
	}
	start = now_ms();
	start_transfer(d, VTDT_READ, IOVA, PAGE, 1);
	sleep_ms(200);
	EXPECT_NE(0, *reg(&d->vmm.dev, VTDT_BUSY));
	ASSERT_TRUE(tell_page_lock("unlock", pfn[0]));
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	EXPECT_GT(800, now_ms() - start);
	/* by now a worker that waited would have been killed */
	sleep_ms(1500);
	ASSERT_TRUE(tell_page_lock("unlock", pfn[1]));
	for (i = 0; i < 2; i++)
		ASSERT_TRUE(tell_page_lock("drop", pfn[i]));
	EXPECT_TRUE(holds(d->memory, IOVA, 2 * PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 2 * PAGE, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, 2 * PAGE, 2));
}

/*
 * A page of a memfd is locked, as by I/O, and no signal ends the wait for it. The request is
 * answered nevertheless, and the device repeats it.
 */
TEST_F(flat, answered_while_page_is_locked)
{
	struct demand *d = &self->d;
	int fd = memfd_create("guest", MFD_CLOEXEC);
	unsigned int groups = *reg(&d->vmm.dev, VTDT_GROUPS);
	unsigned long pfn;

	ASSERT_EQ(0, ftruncate(fd, PAGE));
	ASSERT_EQ(d->memory, mmap(d->memory, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, 0));
	fill(d->memory, IOVA, PAGE, 1);
	pfn = pfn_of(d->memory);
	ASSERT_EQ(0, madvise(d->memory, PAGE, MADV_DONTNEED));
	ASSERT_TRUE(tell_page_lock("lock", pfn));
	start_transfer(d, VTDT_READ, IOVA, PAGE, 1);
	EXPECT_TRUE(wait_until(*reg(&d->vmm.dev, VTDT_GROUPS) - groups >= 6));
	EXPECT_NE(0, *reg(&d->vmm.dev, VTDT_BUSY));
	/*
	 * The one that is stuck, one that has just answered, and one for the request that
	 * the device has repeated
	 */
	EXPECT_GE(3, busy_workers());
	/* not as fast as it can */
	groups = *reg(&d->vmm.dev, VTDT_GROUPS);
	sleep_ms(500);
	EXPECT_GT(100, *reg(&d->vmm.dev, VTDT_GROUPS) - groups);
	ASSERT_TRUE(tell_page_lock("unlock", pfn));
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	close(fd);
}

/* A page of a memfd that is locked, at @at; it is not mapped by the process. */
static unsigned long map_locked_page(unsigned char *at, int fd)
{
	unsigned long pfn;

	if (mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != at)
		return 0;
	*at = 1;
	pfn = pfn_of(at);
	return !madvise(at, PAGE, MADV_DONTNEED) && tell_page_lock("lock", pfn) ? pfn : 0;
}

#define LOCKED_AT	(ELSEWHERE + 31 * PAGE)

/*
 * Have a worker put aside 16 late pages of a group and 15 that are not mapped, and wait for
 * the last page, which is locked. Detach the device, and let the worker end.
 */
static bool detach_from_group(struct demand *d, unsigned char *page, int fd)
{
	unsigned long pfn = map_locked_page(page, fd);
	bool ok;

	start_transfer(d, VTDT_WRITE, ELSEWHERE, 32 * PAGE, 1);
	ok = pfn && wait_until(workers_below(FOR_PAGE_LOCK)) && detach(&d->vmm, d->pasid);
	finish_transfer(d);
	return tell_page_lock("unlock", pfn) && wait_until(!busy_workers()) &&
	       attach(&d->vmm, d->pasid, d->hwpt) && ok;
}

/* Requests of a group that were put aside are freed when the device is detached. */
TEST_F(flat, detached_with_requests_put_aside)
{
	unsigned char *page = new_memory(SZ_2M, MADV_NOHUGEPAGE);
	int fd = memfd_create("guest", MFD_CLOEXEC);
	struct demand *d = &self->d;
	struct pollfd queue;
	struct late late;
	unsigned int i, id;
	long before = 0, leaked;

	ASSERT_EQ(0, ftruncate(fd, PAGE));
	ASSERT_TRUE(catch_faults(&late, d->memory, 16 * PAGE));
	ASSERT_TRUE(map_area(&d->vmm, ELSEWHERE, d->memory, 16 * PAGE));
	ASSERT_TRUE(map_area(&d->vmm, LOCKED_AT, page, PAGE));
	ASSERT_TRUE(new_queue(&d->vmm, &queue, &id));
	d->hwpt = new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, id);
	ASSERT_NE(0, d->hwpt);
	ASSERT_TRUE(attach(&d->vmm, d->pasid, d->hwpt));
	*reg(&d->vmm.dev, VTDT_GROUP_SIZE) = 32;
	for (i = 0; i < 220; i++) {
		if (i == 20)
			before = number_in("/proc/meminfo", "SUnreclaim");
		ASSERT_TRUE(detach_from_group(d, page, fd));
	}
	leaked = number_in("/proc/meminfo", "SUnreclaim") - before;
	note("%ld KiB leaked\n", leaked);
	EXPECT_GT(128, leaked);
	EXPECT_EQ(0, poll(&queue, 1, 0));
	close(late.fd);
	close(queue.fd);
	close(fd);
	munmap(page, SZ_2M);
}

#define ADDRESSES	8	/* of a page: it may be in 64 areas by each */
#define IN_FLIGHT	64	/* transfers of the device at a time */

/* Requests that have reached demand paging, or a fault queue */
static unsigned long requests_taken(void)
{
	FILE *file = fopen("/sys/kernel/debug/iommu/intel/page_requests", "r");
	unsigned long taken = 0, value;
	char line[200], word[100];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " %99s %lu", word, &value) == 2 && !strcmp(word, "flat"))
			taken += value;
	if (file)
		fclose(file);
	return taken;
}

/*
 * Make requests of many blocks, as many as possible at a time. When @nr workers wait for the
 * page, or after a while, detach the device. Returns how many wait, -1 if something fails.
 */
static int make_and_detach(struct demand *d, unsigned int round, int nr)
{
	unsigned long before = requests_taken();
	int i, waiting;
	long start;

	for (i = 0; i < IN_FLIGHT; i++)
		start_transfer(d, VTDT_READ, ELSEWHERE + (round * IN_FLIGHT + i) %
			       (ADDRESSES * 64) * SZ_2M, PAGE, 1);
	if (!wait_until(requests_taken() - before >= IN_FLIGHT))
		return -1;
	/* By the clock: requests that are answered meanwhile are repeated, and count, too. */
	start = now_ms();
	waiting = workers_below(FOR_PAGE_LOCK);
	while (waiting < nr && now_ms() - start < 500) {
		sleep_ms(10);
		waiting = workers_below(FOR_PAGE_LOCK);
	}
	return detach(&d->vmm, d->pasid) && wait_until(!*reg(&d->vmm.dev, VTDT_BUSY)) &&
	       attach(&d->vmm, d->pasid, d->hwpt) ? waiting : -1;
}

/* A device whose request is answered at once repeats it at once. */
static bool answered_at_once(struct demand *d)
{
	unsigned int groups = *reg(&d->vmm.dev, VTDT_GROUPS);
	bool at_once;

	start_transfer(d, VTDT_READ, ELSEWHERE, PAGE, 1);
	sleep_ms(100);
	at_once = *reg(&d->vmm.dev, VTDT_GROUPS) - groups > 20;
	detach(&d->vmm, d->pasid);
	finish_transfer(d);
	return attach(&d->vmm, d->pasid, d->hwpt) && at_once;
}

/*
 * All workers wait for a locked page, and requests wait for workers, although detaching has
 * answered them. There is a limit to that: then, requests are answered without a worker.
 */
TEST_F(flat, too_many_answered_requests)
{
	unsigned char *memory = new_memory(SZ_2M, MADV_NOHUGEPAGE);
	int fd = memfd_create("guest", MFD_CLOEXEC);
	struct demand *d = &self->d;
	int waiting = 0, nr;
	unsigned int i;
	unsigned long pfn;

	if (d->pasid != RID)
		return;
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	for (i = 0; i < ADDRESSES; i++)
		ASSERT_EQ(memory + i * PAGE,
			  mmap(memory + i * PAGE, PAGE, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED, fd, 0));
	for (i = 0; i < ADDRESSES * 64; i++)
		ASSERT_TRUE(map_area(&d->vmm, ELSEWHERE + i * SZ_2M,
				     memory + i % ADDRESSES * PAGE, PAGE));
	pfn = map_locked_page(memory, fd);
	ASSERT_NE(0, pfn);
	i = 0;
	do {
		nr = waiting + IN_FLIGHT;
		waiting = make_and_detach(d, i++, nr);
	} while (waiting >= nr);
	note("%d workers wait\n", waiting);
	EXPECT_LE(IN_FLIGHT, waiting);
	EXPECT_FALSE(answered_at_once(d));
	for (i = 0; i <= 1024 / IN_FLIGHT; i++)
		ASSERT_LT(0, make_and_detach(d, i, 0));
	EXPECT_TRUE(answered_at_once(d));
	ASSERT_TRUE(tell_page_lock("unlock", pfn));
	EXPECT_TRUE(wait_until(!busy_workers()));
	EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE, PAGE, 2));
	EXPECT_TRUE(holds(memory, ELSEWHERE, PAGE, 2));
	close(fd);
	munmap(memory, SZ_2M);
}

#define FAULT_CREDS	"/sys/module/fault_creds/parameters/"
#define USER		1234

/* Faults are those of the user that has mapped the area, not of the worker: quotas. */
TEST_F(flat, credentials)
{
	struct demand *d = &self->d;
	char uid[20];

	sprintf(uid, "%u", USER);
	ASSERT_TRUE(write_file(FAULT_CREDS "uid", uid));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	EXPECT_EQ(0, number_in(FAULT_CREDS "pages", ""));

	ASSERT_EQ(0, seteuid(USER));
	EXPECT_TRUE(map_area(&d->vmm, ELSEWHERE, d->memory + SZ_2M, SZ_2M));
	ASSERT_EQ(0, seteuid(0));
	EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE, SZ_2M, 1));
	EXPECT_LE((long)(SZ_2M / PAGE), number_in(FAULT_CREDS "pages", ""));
	EXPECT_TRUE(holds(d->memory + SZ_2M, ELSEWHERE, SZ_2M, 1));
}

/* Pages are write-protected by userfaultfd: reads succeed, a write waits. */
TEST_F(demand, write_protected)
{
	struct uffdio_writeprotect protect = { };
	struct demand *d = &self->d;
	unsigned long address;
	struct late late;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, 16 * PAGE, 1));
	ASSERT_TRUE(catch_faults_of(&late, d->memory, 16 * PAGE, UFFDIO_REGISTER_MODE_WP));
	protect.range = (struct uffdio_range) { (unsigned long)d->memory, 16 * PAGE };
	protect.mode = UFFDIO_WRITEPROTECT_MODE_WP;
	ASSERT_EQ(0, ioctl(late.fd, UFFDIO_WRITEPROTECT, &protect));

	/* A nest parent maps nothing that must not be written to. */
	if (!d->nested)
		EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, 16 * PAGE, 1));
	start_transfer(d, VTDT_WRITE, IOVA + 5 * PAGE, PAGE, 2);
	ASSERT_TRUE(wait_for_fault(&late, &address));
	EXPECT_EQ((unsigned long)d->memory + 5 * PAGE, address);
	sleep_ms(20);
	EXPECT_NE(0, *reg(&d->vmm.dev, VTDT_BUSY));
	EXPECT_TRUE(holds(d->memory, IOVA, 16 * PAGE, 1));
	protect.range.len = 16 * PAGE;
	protect.mode = 0;
	ASSERT_EQ(0, ioctl(late.fd, UFFDIO_WRITEPROTECT, &protect));
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	EXPECT_TRUE(holds(d->memory + 5 * PAGE, IOVA + 5 * PAGE, PAGE, 2));
	EXPECT_TRUE(holds(d->memory + 6 * PAGE, IOVA + 6 * PAGE, 10 * PAGE, 1));
	close(late.fd);
}

/* A few pages of a huge page are write-protected: a write there waits. */
TEST_F(demand, huge_page_write_protected_in_part)
{
	struct uffdio_writeprotect protect = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct demand *d = &self->d;
	unsigned long address;
	struct late late;

	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_HUGEPAGE));
	fill(d->memory, IOVA, SZ_2M, 1);
	ASSERT_TRUE(catch_faults_of(&late, d->memory, SZ_2M, UFFDIO_REGISTER_MODE_WP));
	protect.range = (struct uffdio_range) { (unsigned long)d->memory + 8 * PAGE, 8 * PAGE };
	ASSERT_EQ(0, ioctl(late.fd, UFFDIO_WRITEPROTECT, &protect));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 8 * PAGE, 2));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA + 16 * PAGE, PAGE, 2));
	start_transfer(d, VTDT_WRITE, IOVA + 8 * PAGE, 8 * PAGE, 2);
	ASSERT_TRUE(wait_for_fault(&late, &address));
	EXPECT_EQ((unsigned long)d->memory + 8 * PAGE, address);
	protect.mode = 0;
	ASSERT_EQ(0, ioctl(late.fd, UFFDIO_WRITEPROTECT, &protect));
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	EXPECT_TRUE(holds(d->memory, IOVA, 17 * PAGE, 2));
	close(late.fd);
}

/* Minor faults: the file has the pages, and userfaultfd maps them one by one. */
TEST_F(demand, minor_faults)
{
	int fd = memfd_create("guest", MFD_CLOEXEC), i;
	struct demand *d = &self->d;
	struct uffdio_continue go_on;
	unsigned long address;
	unsigned char *other;
	struct late late;

	ASSERT_EQ(0, ftruncate(fd, 16 * PAGE));
	ASSERT_EQ(d->memory, mmap(d->memory, 16 * PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, 0));
	other = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fill(other, IOVA, 16 * PAGE, 1);
	ASSERT_TRUE(catch_faults_of(&late, d->memory, 16 * PAGE, UFFDIO_REGISTER_MODE_MINOR));
	start_transfer(d, VTDT_READ, IOVA, 16 * PAGE, 1);
	for (i = 0; i < 16; i++) {
		ASSERT_TRUE(wait_for_fault(&late, &address));
		EXPECT_EQ((unsigned long)d->memory + i * PAGE, address);
		go_on = (struct uffdio_continue) { .range = { address, PAGE } };
		ASSERT_EQ(0, ioctl(late.fd, UFFDIO_CONTINUE, &go_on));
	}
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 16 * PAGE, 2));
	EXPECT_TRUE(holds(other, IOVA, 16 * PAGE, 2));
	close(late.fd);
	munmap(other, 16 * PAGE);
	close(fd);
}

/* ---- with other users of the IOAS ---- */

/* A pinned HWPT of the same IOAS does not disturb the demand-paged one. */
TEST_F(flat, beside_pinned_hwpt)
{
	struct demand *d = &self->d;
	unsigned int pinned;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	pinned = new_paging(&d->vmm, 0, 0);
	ASSERT_NE(0, pinned);
	EXPECT_NE(0, status_kib("VmPin"));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));
	ASSERT_TRUE(destroy(&d->vmm, pinned));
	EXPECT_EQ(0, status_kib("VmPin"));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 3));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 3));
}

/* A thread that allocates a HWPT which pins */
struct pinning {
	struct demand *d;
	pthread_t thread;
	unsigned int hwpt;
};

static void *allocate_pinned(void *data)
{
	struct pinning *pinning = data;
	struct vmm *vmm = &pinning->d->vmm;

	pinning->hwpt = pinning->d->nested ? new_parent(vmm, 0) : new_paging(vmm, 0, 0);
	return NULL;
}

static bool start_pinning(struct pinning *pinning, struct demand *d)
{
	*pinning = (struct pinning) { d };
	return !pthread_create(&pinning->thread, NULL, allocate_pinned, pinning);
}

/*
 * A HWPT of the same IOAS pins late pages, and holds locks of the IOAS meanwhile: requests
 * for other pages are answered in time, and their worker can be ended.
 */
TEST_F(flat, answered_while_another_hwpt_pins)
{
	struct demand *d = &self->d;
	struct pinning pinning;
	unsigned int answers;
	struct late late;
	unsigned long address;
	long start;

	ASSERT_TRUE(catch_faults(&late, d->memory + SZ_2M, 16 * PAGE));
	ASSERT_TRUE(start_pinning(&pinning, d));
	ASSERT_TRUE(wait_for_fault(&late, &address));
	answers = *reg(&d->vmm.dev, VTDT_SUCCESSES);
	start_transfer(d, VTDT_WRITE, IOVA, PAGE, 1);
	EXPECT_TRUE(wait_until(*reg(&d->vmm.dev, VTDT_SUCCESSES) - answers >= 3));
	EXPECT_TRUE(wait_until(busy_workers() == 1));
	/* To detach the device itself takes the lock that is held. */
	if (d->pasid != RID) {
		start = now_ms();
		ASSERT_TRUE(detach(&d->vmm, d->pasid));
		EXPECT_NE(VTDT_OK, finish_transfer(d));
		EXPECT_GT(800, now_ms() - start);
	}
	close(late.fd);
	pthread_join(pinning.thread, NULL);
	ASSERT_NE(0, pinning.hwpt);
	if (d->pasid == RID) {
		EXPECT_EQ(VTDT_OK, finish_transfer(d));
		EXPECT_TRUE(holds(d->memory, IOVA, PAGE, 1));
	}
	ASSERT_TRUE(destroy(&d->vmm, pinning.hwpt));
}

/*
 * The device waits for late pages while another HWPT pins them; then that HWPT, or one nested
 * on it, replaces the demand-paged one.
 */
TEST_F(demand, replaced_by_pinned_hwpt)
{
	unsigned char *from = new_memory(PAGE, MADV_NOHUGEPAGE);
	struct demand *d = &self->d;
	unsigned int requests, hwpt, i;
	struct vmm pinned = d->vmm;
	struct pinning pinning;
	unsigned long address;
	struct late late;

	ASSERT_TRUE(catch_faults(&late, d->memory, 16 * PAGE));
	start_transfer(d, VTDT_WRITE, IOVA, 16 * PAGE, 1);
	ASSERT_TRUE(wait_for_fault(&late, &address));
	ASSERT_TRUE(start_pinning(&pinning, d));
	ASSERT_TRUE(wait_for_fault(&late, &address));
	for (i = 0; i < 16; i++)
		ASSERT_TRUE(deliver_page(&late, (unsigned long)d->memory + i * PAGE, from));
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	pthread_join(pinning.thread, NULL);
	ASSERT_NE(0, pinning.hwpt);
	EXPECT_TRUE(holds(d->memory, IOVA, 16 * PAGE, 1));

	pinned.parent = hwpt = pinning.hwpt;
	if (d->nested)
		hwpt = nest(&pinned, d->root, 0);
	ASSERT_TRUE(attach(&d->vmm, d->pasid, hwpt));
	requests = page_requests(d);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 2));
	EXPECT_EQ(requests, page_requests(d));
	EXPECT_TRUE(holds(d->memory, IOVA, SIZE, 2));

	ASSERT_TRUE(attach(&d->vmm, d->pasid, d->hwpt));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SIZE, 2));
	if (d->nested)
		ASSERT_TRUE(destroy(&d->vmm, hwpt));
	ASSERT_TRUE(destroy(&d->vmm, pinning.hwpt));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 3));
	EXPECT_TRUE(holds(d->memory, IOVA, SIZE, 3));
	close(late.fd);
	munmap(from, PAGE);
}

/* A request that is being served when the HWPT is replaced is repeated for the new one. */
TEST_F(demand, replaced_during_request)
{
	unsigned char *from = new_memory(PAGE, MADV_NOHUGEPAGE);
	struct demand *d = &self->d;
	struct vmm other = d->vmm;
	unsigned long address;
	unsigned int hwpt;
	struct late late;

	if (d->nested) {
		other.parent = new_parent(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND);
		hwpt = nest(&other, d->root, 0);
	} else {
		hwpt = new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
	}
	ASSERT_NE(0, hwpt);
	ASSERT_TRUE(catch_faults(&late, d->memory, PAGE));
	start_transfer(d, VTDT_WRITE, IOVA, PAGE, 1);
	ASSERT_TRUE(wait_for_fault(&late, &address));
	ASSERT_TRUE(attach(&d->vmm, d->pasid, hwpt));
	sleep_ms(200);
	EXPECT_NE(0, *reg(&d->vmm.dev, VTDT_BUSY));
	ASSERT_TRUE(deliver_page(&late, address, from));
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	EXPECT_TRUE(holds(d->memory, IOVA, PAGE, 1));
	ASSERT_TRUE(attach(&d->vmm, d->pasid, d->hwpt));
	ASSERT_TRUE(destroy(&d->vmm, hwpt));
	if (d->nested)
		ASSERT_TRUE(destroy(&d->vmm, other.parent));
	close(late.fd);
	munmap(from, PAGE);
}

/*
 * A HWPT that pins is replaced by an empty one during DMA, which does not stop. @fault: its
 * queue, which nobody reads.
 */
static bool replaced_during_transfer(struct demand *d, unsigned int fault)
{
	struct vmm pinned = d->vmm, empty = d->vmm;
	unsigned int pinned_hwpt, hwpt, i;
	bool ok = true;

	pinned_hwpt = pinned.parent = d->nested ? new_parent(&d->vmm, 0) :
						  new_paging(&d->vmm, 0, fault);
	if (d->nested)
		pinned_hwpt = nest_faulting(&pinned, d->root, 0, fault);
	for (i = 0; pinned_hwpt && ok && i < 20; i++) {
		hwpt = empty.parent = d->nested ?
			new_parent(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND) :
			new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
		if (d->nested)
			hwpt = nest(&empty, d->root, 0);
		ok = hwpt && attach(&d->vmm, d->pasid, pinned_hwpt);
		start_transfer(d, VTDT_WRITE, IOVA, SIZE, i);
		ok = ok && attach(&d->vmm, d->pasid, hwpt);
		ok = finish_transfer(d) == VTDT_OK && ok;
		ok = holds(d->memory, IOVA, SIZE, i) && ok;
		ok = attach(&d->vmm, d->pasid, d->hwpt) && ok;
		ok = destroy(&d->vmm, hwpt) && ok;
		if (d->nested)
			ok = destroy(&d->vmm, empty.parent) && ok;
	}
	if (d->nested)
		ok = destroy(&d->vmm, pinned_hwpt) && ok;
	return destroy(&d->vmm, pinned.parent) && ok;
}

TEST_F(demand, pinned_hwpt_replaced_during_transfer)
{
	EXPECT_TRUE(replaced_during_transfer(&self->d, 0));
}

TEST_F(demand, pinned_hwpt_with_queue_replaced)
{
	struct pollfd queue;
	unsigned int id;

	ASSERT_TRUE(new_queue(&self->d.vmm, &queue, &id));
	EXPECT_TRUE(replaced_during_transfer(&self->d, id));
	close(queue.fd);
	EXPECT_TRUE(destroy(&self->d.vmm, id));
}

/* IOMMU_IOAS_COPY within the IOAS, and to one whose HWPT pins */
TEST_F(demand, copied_area)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct demand *d = &self->d;
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy), .flags = RW | IOMMU_IOAS_MAP_FIXED_IOVA,
		.src_ioas_id = d->vmm.ioas, .dst_ioas_id = d->vmm.ioas,
		.length = SZ_2M, .dst_iova = ELSEWHERE, .src_iova = IOVA,
	};
	struct vmm other = d->vmm;
	unsigned int pinned;

	/* two IOVAs of one IOAS, nothing pinned */
	ASSERT_EQ(0, ioctl(d->vmm.iommufd, IOMMU_IOAS_COPY, &copy));
	EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE, SZ_2M, 1));
	EXPECT_TRUE(holds(d->memory, ELSEWHERE, SZ_2M, 1));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));
	EXPECT_EQ(0, status_kib("VmPin"));
	ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_DONTNEED));
	EXPECT_EQ(VTDT_FAILED, device_reads(d, ELSEWHERE, PAGE, 2));
	EXPECT_EQ(VTDT_FAILED, device_reads(d, IOVA, PAGE, 2));

	/* to another IOAS, which pins */
	ASSERT_EQ(0, ioctl(d->vmm.iommufd, IOMMU_IOAS_ALLOC, &alloc));
	copy.dst_ioas_id = other.ioas = alloc.out_ioas_id;
	ASSERT_EQ(0, ioctl(d->vmm.iommufd, IOMMU_IOAS_COPY, &copy));
	pinned = new_paging(&other, 0, 0);
	ASSERT_NE(0, pinned);
	EXPECT_EQ(SZ_2M / 1024, status_kib("VmPin"));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 3));

	/* the original is unmapped, its copies stay */
	ASSERT_TRUE(unmap_area(&d->vmm, IOVA, SIZE));
	EXPECT_EQ(VTDT_DENIED, device_reads(d, IOVA, PAGE, 3));
	EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE, SZ_2M, 4));
	EXPECT_TRUE(holds(d->memory, ELSEWHERE, SZ_2M, 4));
	ASSERT_TRUE(attach(&d->vmm, d->pasid, pinned));
	EXPECT_EQ(VTDT_OK, device_reads(d, ELSEWHERE, PAGE, 4));
	ASSERT_TRUE(attach(&d->vmm, d->pasid, d->hwpt));
	ASSERT_TRUE(destroy(&d->vmm, pinned));
	EXPECT_EQ(0, status_kib("VmPin"));
}

/* A driver of the kernel that accesses the IOAS, as those of mediated devices do */
static int access_command(struct demand *d, struct iommu_test_cmd *cmd)
{
	cmd->size = sizeof(*cmd);
	return ioctl(d->vmm.iommufd, IOMMU_TEST_CMD, cmd);
}

TEST_F(demand, access_by_another_driver)
{
	struct demand *d = &self->d;
	unsigned char buffer[2 * PAGE];
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_CREATE_ACCESS, .id = d->vmm.ioas,
		.create_access.flags = MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES,
	};
	int user;

	ASSERT_EQ(0, access_command(d, &cmd));
	user = cmd.create_access.out_access_fd;

	/* it reads the device's data, and the device reads its data */
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 4 * PAGE, 1));
	cmd = (struct iommu_test_cmd) {
		.op = IOMMU_TEST_OP_ACCESS_RW, .id = user,
		.access_rw = { IOVA + PAGE, sizeof(buffer), (uintptr_t)buffer, 0 },
	};
	EXPECT_EQ(0, access_command(d, &cmd));
	EXPECT_TRUE(holds(buffer, IOVA + PAGE, sizeof(buffer), 1));
	fill(buffer, IOVA + PAGE, sizeof(buffer), 2);
	cmd.access_rw.flags = MOCK_ACCESS_RW_WRITE;
	EXPECT_EQ(0, access_command(d, &cmd));
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + PAGE, 2 * PAGE, 2));

	/* it keeps the pages that it pins; the device follows the process */
	cmd = (struct iommu_test_cmd) {
		.op = IOMMU_TEST_OP_ACCESS_PAGES, .id = user,
		.access_pages = { .flags = MOCK_FLAGS_ACCESS_WRITE, .iova = IOVA,
				  .length = 4 * PAGE, .uptr = (uintptr_t)d->memory },
	};
	EXPECT_EQ(0, access_command(d, &cmd));
	EXPECT_EQ(4 * PAGE / 1024, status_kib("VmPin"));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 4 * PAGE, 3));
	EXPECT_TRUE(holds(d->memory, IOVA, 4 * PAGE, 3));
	ASSERT_EQ(0, madvise(d->memory, 4 * PAGE, MADV_DONTNEED));
	EXPECT_EQ(VTDT_FAILED, device_reads(d, IOVA, PAGE, 3));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 4 * PAGE, 4));
	EXPECT_TRUE(holds(d->memory, IOVA, 4 * PAGE, 4));
	cmd = (struct iommu_test_cmd) {
		.op = IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, .id = user,
		.destroy_access_pages.access_pages_id =
			cmd.access_pages.out_access_pages_id,
	};
	EXPECT_EQ(0, access_command(d, &cmd));
	EXPECT_EQ(0, status_kib("VmPin"));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, 4 * PAGE, 5));
	EXPECT_TRUE(holds(d->memory, IOVA, 4 * PAGE, 5));
	close(user);
}

/* Requests for unmapped IOVAs go to the fault queue. */
TEST_F(flat, fault_queue_for_unmapped_iova)
{
	struct demand *d = &self->d;
	struct iommu_hwpt_pgfault record;
	unsigned int id, hwpt;
	struct pollfd queue;

	ASSERT_TRUE(new_queue(&d->vmm, &queue, &id));
	hwpt = new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, id);
	ASSERT_NE(0, hwpt);
	ASSERT_TRUE(attach(&d->vmm, d->pasid == RID ? 0x777 : RID, hwpt));
	ASSERT_TRUE(detach(&d->vmm, d->pasid));
	ASSERT_TRUE(attach(&d->vmm, d->pasid, hwpt));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 1));
	EXPECT_EQ(0, poll(&queue, 1, 0));
	start_transfer(d, VTDT_WRITE, ELSEWHERE, PAGE, 1);
	ASSERT_TRUE(comes(&queue, 1));
	ASSERT_EQ(sizeof(record), read(queue.fd, &record, sizeof(record)));
	EXPECT_EQ(ELSEWHERE, record.addr);
	ASSERT_TRUE(map_area(&d->vmm, ELSEWHERE, d->memory + SZ_2M, SZ_2M));
	ASSERT_TRUE(respond(&queue, record.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	EXPECT_TRUE(holds(d->memory + SZ_2M, ELSEWHERE, PAGE, 1));
	close(queue.fd);
}

/*
 * Of a group, the first page is not mapped in the IOAS, and the process must not access the
 * second. The user gets one request, the last of its group, and the group is refused.
 */
TEST_F(flat, fault_queue_gets_a_part_of_a_group)
{
	struct demand *d = &self->d;
	unsigned int id, hwpt, groups, refused;
	struct iommu_hwpt_pgfault record;
	struct pollfd queue;

	ASSERT_TRUE(new_queue(&d->vmm, &queue, &id));
	hwpt = new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, id);
	ASSERT_NE(0, hwpt);
	ASSERT_TRUE(attach(&d->vmm, d->pasid, hwpt));
	ASSERT_TRUE(map_area(&d->vmm, ELSEWHERE + PAGE, d->memory, PAGE));
	ASSERT_EQ(0, mprotect(d->memory, PAGE, PROT_NONE));
	*reg(&d->vmm.dev, VTDT_GROUP_SIZE) = 32;
	groups = *reg(&d->vmm.dev, VTDT_GROUPS);
	refused = *reg(&d->vmm.dev, VTDT_INVALIDS);
	start_transfer(d, VTDT_WRITE, ELSEWHERE, 2 * PAGE, 1);
	ASSERT_TRUE(comes(&queue, 1));
	ASSERT_EQ(sizeof(record), read(queue.fd, &record, sizeof(record)));
	EXPECT_EQ(ELSEWHERE, record.addr);
	EXPECT_NE(0, record.flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE);
	ASSERT_TRUE(map_area(&d->vmm, ELSEWHERE, d->memory + SZ_2M, PAGE));
	ASSERT_TRUE(respond(&queue, record.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_EQ(VTDT_DENIED, finish_transfer(d));
	EXPECT_EQ(1, *reg(&d->vmm.dev, VTDT_GROUPS) - groups);
	EXPECT_EQ(1, *reg(&d->vmm.dev, VTDT_INVALIDS) - refused);
	close(queue.fd);
}

/* ---- below a guest's tables ---- */

#define GVA		0x7f0000000000UL

/* A guest whose memory is paged on demand, including its tables; eight pages */
FIXTURE(nested)
{
	struct demand d;
	unsigned int root, pages[8];
};

FIXTURE_VARIANT(nested)
{
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(nested, rid) { RID };
FIXTURE_VARIANT_ADD(nested, pasid) { 0x12345 };

FIXTURE_SETUP(nested)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct demand *d = &self->d;
	struct vmm *vmm = &d->vmm;
	unsigned int i;

	d->pasid = variant->pasid;
	vmm->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_TRUE(open_device(&vmm->dev, getenv("TESTDEV"), vmm->iommufd));
	ASSERT_EQ(0, ioctl(vmm->iommufd, IOMMU_IOAS_ALLOC, &alloc));
	vmm->ioas = alloc.out_ioas_id;
	d->memory = new_memory(SIZE, MADV_NOHUGEPAGE);
	vmm->guest = (void *)d->memory;
	ASSERT_TRUE(map_area(vmm, 0, d->memory, SIZE));
	vmm->parent = new_parent(vmm, IOMMU_HWPT_ALLOC_DEMAND);
	ASSERT_NE(0, vmm->parent);

	self->root = new_page(vmm);
	for (i = 0; i < 8; i++) {
		/* far apart: each needs a request of its own */
		self->pages[i] = GUEST_PAGES * (i % 4 + 2) + i * 32;
		*entry(vmm, self->root, GVA + i * PAGE, 1, TABLE) = self->pages[i] * PAGE | LEAF;
	}
	d->hwpt = nest(vmm, self->root, 0);
	ASSERT_NE(0, d->hwpt);
	ASSERT_TRUE(attach(vmm, d->pasid, d->hwpt));
}

FIXTURE_TEARDOWN(nested)
{
	EXPECT_EQ(0, status_kib("VmPin"));
	close_demand(&self->d);
}

/* Where the guest's @i-th page is in the program's memory */
#define guest_page(i)	(self->d.memory + self->pages[i] * PAGE)

/* One request pages in everything that is missing: four tables and the page. */
TEST_F(nested, one_request_for_tables_and_page)
{
	unsigned int requests = page_requests(&self->d), i;

	for (i = 0; i < 8; i++) {
		EXPECT_EQ(VTDT_OK, device_writes(&self->d, GVA + i * PAGE, PAGE, 1));
		EXPECT_TRUE(holds(guest_page(i), GVA + i * PAGE, PAGE, 1));
	}
	EXPECT_EQ(8, page_requests(&self->d) - requests);
	EXPECT_EQ(VTDT_OK, device_reads(&self->d, GVA, 8 * PAGE, 1));
	EXPECT_EQ(8, page_requests(&self->d) - requests);
}

/* The same if each is in a block of 2 MiB that has not been mapped yet */
TEST_F(nested, one_request_for_tables_far_apart)
{
	const uint64_t iova = 0x123456789000;
	unsigned int table = self->root, level, next, requests;
	struct demand *d = &self->d;
	struct vmm *vmm = &d->vmm;

	for (level = 4; level; level--, table = next) {
		next = GUEST_PAGES * (7 - level) + 300;
		vmm->guest[table][index_at(iova, level)] =
			next * PAGE | (level > 1 ? TABLE : LEAF);
	}
	requests = page_requests(d);
	EXPECT_EQ(VTDT_OK, device_writes(d, iova, PAGE, 1));
	EXPECT_EQ(1, page_requests(d) - requests);
	EXPECT_TRUE(holds(d->memory + table * PAGE, iova, PAGE, 1));
}

/* Pages and tables are discarded, together and separately. */
TEST_F(nested, tables_and_pages_discarded)
{
	unsigned int i, round;

	for (round = 1; round <= 4; round++) {
		EXPECT_EQ(VTDT_OK, device_writes(&self->d, GVA, 8 * PAGE, round));
		for (i = 0; i < 8; i++)
			EXPECT_TRUE(holds(guest_page(i), GVA + i * PAGE, PAGE, round));
		if (round & 1)
			ASSERT_EQ(0, madvise(self->d.memory, SZ_2M, MADV_PAGEOUT));
		if (round & 2)
			ASSERT_EQ(0, madvise(self->d.memory + SZ_2M, 6 * SZ_2M,
					     MADV_PAGEOUT));
		EXPECT_EQ(VTDT_OK, device_reads(&self->d, GVA, 8 * PAGE, round));
	}
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, madvise(guest_page(i), PAGE, MADV_DONTNEED));
	EXPECT_EQ(VTDT_FAILED, device_reads(&self->d, GVA, PAGE, 4));
	EXPECT_EQ(VTDT_OK, device_writes(&self->d, GVA, 8 * PAGE, 5));
	for (i = 0; i < 8; i++)
		EXPECT_TRUE(holds(guest_page(i), GVA + i * PAGE, PAGE, 5));
}

/* Requests that the guest's own tables stop still go to the guest. */
TEST_F(nested, not_mapped_by_the_guest)
{
	EXPECT_EQ(VTDT_DENIED, device_writes(&self->d, GVA + SZ_1G, PAGE, 1));
	EXPECT_EQ(VTDT_OK, device_writes(&self->d, GVA, PAGE, 1));
	/* mapped by the guest, but not by the host */
	*entry(&self->d.vmm, self->root, GVA + 9 * PAGE, 1, TABLE) = 1UL << 40 | LEAF;
	EXPECT_EQ(VTDT_DENIED, device_writes(&self->d, GVA + 9 * PAGE, PAGE, 1));
}

/*
 * The guest's tables are missing at first, and are served. Then the nest parent's queue gets
 * what the IOAS does not map: a guest-physical address that the device wants to write to.
 */
TEST_F(nested, fault_queue_for_unmapped_gpa)
{
	const uint64_t gpa = ELSEWHERE + 3 * PAGE, iova = GVA + 9 * PAGE;
	struct demand *d = &self->d;
	struct iommu_hwpt_pgfault record;
	struct vmm *vmm = &d->vmm;
	struct pollfd queue;
	unsigned int id;

	ASSERT_TRUE(new_queue(vmm, &queue, &id));
	vmm->parent = new_paging(vmm, IOMMU_HWPT_ALLOC_DEMAND | IOMMU_HWPT_ALLOC_NEST_PARENT,
				 id);
	ASSERT_NE(0, vmm->parent);
	d->hwpt = nest(vmm, self->root, 0);
	ASSERT_TRUE(attach(vmm, d->pasid, d->hwpt));
	*entry(vmm, self->root, iova, 1, TABLE) = gpa | LEAF;
	start_transfer(d, VTDT_WRITE, iova, PAGE, 1);
	ASSERT_TRUE(comes(&queue, 1));
	ASSERT_EQ(sizeof(record), read(queue.fd, &record, sizeof(record)));
	EXPECT_EQ(gpa, record.addr);
	EXPECT_EQ(IOMMU_PGFAULT_PERM_WRITE, record.perm & ~IOMMU_PGFAULT_PERM_PRIV);
	ASSERT_TRUE(map_area(vmm, gpa, d->memory + SZ_2M, PAGE));
	ASSERT_TRUE(respond(&queue, record.cookie, IOMMUFD_PAGE_RESP_SUCCESS));
	EXPECT_EQ(VTDT_OK, finish_transfer(d));
	EXPECT_TRUE(holds(d->memory + SZ_2M, iova, PAGE, 1));
	close(queue.fd);
}

/* Such a HWPT has its requests reported without a walk of the guest's tables. */
TEST_F(nested, unwalked_requests_are_refused)
{
	struct demand *d = &self->d;
	struct pollfd queue;
	unsigned int id;

	ASSERT_TRUE(new_queue(&d->vmm, &queue, &id));
	EXPECT_EQ(0, nest_with(&d->vmm, self->root, 0, IOMMU_HWPT_FAULT_PINNED, id));
	EXPECT_EQ(EINVAL, errno);
	close(queue.fd);
}

TEST_F(nested, read_only_is_refused)
{
	EXPECT_EQ(EINVAL, map_with(&self->d.vmm, ELSEWHERE, (uintptr_t)self->d.memory,
				   SZ_2M, IOMMU_IOAS_MAP_READABLE));
}

/* ---- permissions ---- */

static uint64_t capabilities(struct vmm *vmm, unsigned int dev_id)
{
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = dev_id };

	return ioctl(vmm->iommufd, IOMMU_GET_HW_INFO, &info) ? 0 : info.out_capabilities;
}

/* Neither attach nor replace, on the RID or a PASID; what is attached stays so. */
static bool is_refused(struct vmm *other, unsigned int hwpt, unsigned int pinned, int error)
{
	const unsigned int pasids[] = { RID, 5 };
	bool refused = true;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		refused &= !attach(other, pasids[i], hwpt) && errno == error;
		refused &= attach(other, pasids[i], pinned);
		refused &= !attach(other, pasids[i], hwpt) && errno == error;
		refused &= detach(other, pasids[i]);
	}
	return refused;
}

/* With a guest's tables, the memory below them is paged on demand. */
TEST_F(demand, attach_needs_fault_tolerance)
{
	struct demand *d = &self->d;
	struct vmm other = d->vmm;
	unsigned int pinned;

	EXPECT_NE(0, capabilities(&d->vmm, d->vmm.dev.dev_id) & IOMMU_HW_CAP_DEMAND);
	pinned = new_paging(&d->vmm, 0, 0);
	ASSERT_NE(0, pinned);
	ASSERT_TRUE(open_device(&other.dev, getenv("TESTDEV2"), other.iommufd));
	EXPECT_EQ(0, capabilities(&other, other.dev.dev_id) & IOMMU_HW_CAP_DEMAND);
	EXPECT_TRUE(is_refused(&other, d->hwpt, pinned, EPERM));
	if (d->nested)
		EXPECT_TRUE(is_refused(&other, d->vmm.parent, pinned, EPERM));
	close(other.dev.fd);

	/* one without PRI, and without PASIDs */
	ASSERT_TRUE(open_device(&other.dev, getenv("TESTDEV3"), other.iommufd));
	EXPECT_EQ(0, capabilities(&other, other.dev.dev_id) & IOMMU_HW_CAP_DEMAND);
	EXPECT_FALSE(attach(&other, RID, d->hwpt));
	EXPECT_EQ(EOPNOTSUPP, errno);
	close(other.dev.fd);
	ASSERT_TRUE(destroy(&d->vmm, pinned));
}

static bool bind_driver(const char *device, const char *driver)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", device);
	if (!write_file(path, driver))
		return false;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", device);
	return write_file(path, device) &&
	       write_file("/sys/bus/pci/drivers_probe", device);
}

/* Try to attach TESTDEV2, which only a driver declares to be fault tolerant. */
static int attach_by_driver(const char *driver, bool *announced)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	const char *device = getenv("TESTDEV2");
	struct demand d = { .pasid = RID };
	int ret = -ENODEV;

	if (!bind_driver(device, driver))
		return ret;
	d.vmm.iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	d.memory = new_memory(SIZE, MADV_NOHUGEPAGE);
	if (open_device(&d.vmm.dev, device, d.vmm.iommufd) &&
	    !ioctl(d.vmm.iommufd, IOMMU_IOAS_ALLOC, &alloc)) {
		d.vmm.ioas = alloc.out_ioas_id;
		*announced = capabilities(&d.vmm, d.vmm.dev.dev_id) & IOMMU_HW_CAP_DEMAND;
		d.hwpt = new_paging(&d.vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
		map_area(&d.vmm, IOVA, d.memory, SIZE);
		ret = attach(&d.vmm, RID, d.hwpt) ? 0 : -errno;
		if (!ret && (device_writes(&d, IOVA, SZ_2M, 1) != VTDT_OK ||
			     !holds(d.memory, IOVA, SZ_2M, 1)))
			ret = -EIO;
	}
	close_demand(&d);
	return ret;
}

/* The device's own driver declares it to be fault tolerant; vfio-pci does not. */
TEST(driver_declares_fault_tolerance)
{
	bool announced = true;

	EXPECT_EQ(-EPERM, attach_by_driver("vfio-pci", &announced));
	EXPECT_FALSE(announced);
	EXPECT_EQ(0, attach_by_driver("vtd_vfio", &announced));
	EXPECT_TRUE(announced);
	EXPECT_EQ(-EPERM, attach_by_driver("vfio-pci", &announced));
	EXPECT_FALSE(announced);
}

TEST_F(flat, dirty_tracking_is_refused)
{
	struct demand *d = &self->d;

	EXPECT_EQ(0, new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND |
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
}

/*
 * The domain has as many tables as it may have: a request that needs more is refused, not
 * repeated for ever. Only zero pages are used, one in each 2 MiB.
 */
TEST_F_TIMEOUT(flat, too_many_tables, 300)
{
	unsigned long size = 128 * SZ_1G, offset = 0;
	struct demand *d = &self->d;
	unsigned char *memory;

	if (d->pasid != RID)
		return;
	memory = new_memory(size, MADV_NOHUGEPAGE);
	ASSERT_NE(NULL, memory);
	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 1));
	ASSERT_TRUE(map_area(&d->vmm, ELSEWHERE, memory, size));
	while (offset < size) {
		start_transfer(d, VTDT_READ, ELSEWHERE + offset, 8, 0);
		ASSERT_TRUE(wait_until(!*reg(&d->vmm.dev, VTDT_BUSY)));
		if (*reg(&d->vmm.dev, VTDT_STATUS) == VTDT_DENIED)
			break;
		offset += SZ_2M;
	}
	note("%lu MiB have tables\n", offset >> 20);
	EXPECT_GT(size, offset);
	/* what has tables works, and with all areas unmapped, everything */
	ASSERT_EQ(0, madvise(d->memory, SIZE, MADV_DONTNEED));
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SIZE, 2));
	ASSERT_TRUE(unmap_area(&d->vmm, 0, ALL));
	ASSERT_TRUE(map_area(&d->vmm, 2 * ELSEWHERE, d->memory, SIZE));
	EXPECT_EQ(VTDT_OK, device_writes(d, 2 * ELSEWHERE, SIZE, 3));
	munmap(memory, size);
}

static void *reclaim_pages(void *data)
{
	struct demand *d = data;
	unsigned int i;

	for (i = 0; *reg(&d->vmm.dev, VTDT_BUSY); i++) {
		unsigned char *at = d->memory + (i * 7919 % (SIZE / PAGE - 64)) * PAGE;

		madvise(at, 64 * PAGE, i % 3 ? MADV_PAGEOUT : MADV_COLD);
		if (i % 5 == 0)
			madvise(at, SZ_2M, i % 2 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	}
	return NULL;
}

/* ---- memory cgroups ---- */

#define CGROUP	"/sys/fs/cgroup/device"

/*
 * A cgroup with less memory than the working set: the device makes progress, no data is
 * lost, and page tables are charged.
 */
FIXTURE(cgroup)
{
};

FIXTURE_VARIANT(cgroup)
{
	bool nested;
};

FIXTURE_VARIANT_ADD(cgroup, flat) { false };
FIXTURE_VARIANT_ADD(cgroup, nested) { true };

FIXTURE_SETUP(cgroup)
{
}

FIXTURE_TEARDOWN(cgroup)
{
}

TEST_F(cgroup, memory_limit)
{
	struct demand d;
	unsigned int i;
	char pid[20];
	long before;

	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	sprintf(pid, "%d", getpid());
	ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", pid));
	ASSERT_TRUE(open_demand(&d, RID, variant->nested));
	/* bytes of page tables for devices */
	before = number_in(CGROUP "/memory.stat", "sec_pagetables");
	ASSERT_TRUE(write_file(CGROUP "/memory.max", "12M"));
	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(VTDT_OK, device_writes(&d, IOVA, SIZE, i));
		EXPECT_EQ(VTDT_OK, device_reads(&d, IOVA, SIZE, i));
	}
	EXPECT_TRUE(holds(d.memory, IOVA, SIZE, 3));
	/* one for each 2 MiB; CPUs add to memory.stat in batches, or every two seconds */
	EXPECT_TRUE(wait_until(number_in(CGROUP "/memory.stat", "sec_pagetables") - before >=
			       (long)(SIZE / SZ_2M * PAGE)));
	close_demand(&d);
	ASSERT_TRUE(write_file("/sys/fs/cgroup/cgroup.procs", pid));
	EXPECT_EQ(0, rmdir(CGROUP));
}

#define BLOCKS_AT_LIMIT	128

/*
 * The cgroup is at its limit, and the device needs tables for pages that are there: others
 * are reclaimed for them.
 */
TEST_F(flat, tables_at_limit)
{
	struct demand *d = &self->d;
	unsigned int i, requests;
	char limit[30];

	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", "0"));
	fill(d->memory, IOVA, SIZE / 2, 1);
	for (i = 0; i < BLOCKS_AT_LIMIT; i++)
		ASSERT_TRUE(map_area(&d->vmm, ELSEWHERE + i * SZ_2M,
				     d->memory + i % 8 * PAGE, PAGE));
	sprintf(limit, "%ld", number_in(CGROUP "/memory.current", "") - (long)SZ_2M / 2);
	ASSERT_TRUE(write_file(CGROUP "/memory.max", limit));
	requests = page_requests(d);
	for (i = 0; i < BLOCKS_AT_LIMIT; i++)
		EXPECT_EQ(VTDT_FAILED, device_reads(d, ELSEWHERE + i * SZ_2M, 8, 2));
	EXPECT_GE(2 * BLOCKS_AT_LIMIT, page_requests(d) - requests);
	ASSERT_TRUE(write_file("/sys/fs/cgroup/cgroup.procs", "0"));
	EXPECT_EQ(0, rmdir(CGROUP));
}

/* The threshold is exceeded by far: an allocation waits for up to two seconds. */
TEST_F(cgroup, throttled_at_high)
{
	struct demand d;
	char pid[20];
	long start, took;

	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	sprintf(pid, "%d", getpid());
	ASSERT_TRUE(write_file(CGROUP "/memory.swap.max", "0"));
	ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", pid));
	ASSERT_TRUE(open_demand(&d, RID, variant->nested));
	ASSERT_EQ(0, madvise(d.memory, SIZE, MADV_HUGEPAGE));
	EXPECT_EQ(VTDT_OK, device_writes(&d, IOVA, SIZE / 2, 1));
	ASSERT_TRUE(write_file(CGROUP "/memory.high", "1M"));
	start = now_ms();
	EXPECT_EQ(VTDT_OK, device_writes(&d, IOVA + SIZE / 2, PAGE, 2));
	took = now_ms() - start;
	note("%ld ms\n", took);
	/* a worker waits for one second at most */
	EXPECT_LT(500, took);
	EXPECT_GT(1600, took);
	ASSERT_TRUE(write_file(CGROUP "/memory.high", "max"));
	EXPECT_TRUE(holds(d.memory + SIZE / 2, IOVA + SIZE / 2, PAGE, 2));
	close_demand(&d);
	ASSERT_TRUE(write_file("/sys/fs/cgroup/cgroup.procs", pid));
	EXPECT_EQ(0, rmdir(CGROUP));
}

/* A worker that is throttled does not hold up the process. */
TEST_F(cgroup, throttled_without_mmap_lock)
{
	/* Changing its protection needs mmap_lock, but no memory. */
	void *other = mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long start, longest = 0;
	struct demand d;
	char pid[20];

	ASSERT_NE(MAP_FAILED, other);
	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	sprintf(pid, "%d", getpid());
	ASSERT_TRUE(write_file(CGROUP "/memory.swap.max", "0"));
	ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", pid));
	ASSERT_TRUE(open_demand(&d, RID, variant->nested));
	ASSERT_EQ(0, madvise(d.memory, SIZE, MADV_NOHUGEPAGE));
	EXPECT_EQ(VTDT_OK, device_writes(&d, IOVA, SIZE / 2, 1));
	ASSERT_TRUE(write_file(CGROUP "/memory.high", "1M"));
	start_transfer(&d, VTDT_WRITE, IOVA + SIZE / 2, SIZE / 2, 2);
	for (start = now_ms(); now_ms() - start < 6000;) {
		long begin = now_ms();

		ASSERT_EQ(0, mprotect(other, PAGE, PROT_READ | PROT_WRITE));
		ASSERT_EQ(0, mprotect(other, PAGE, PROT_READ));
		if (now_ms() - begin > longest)
			longest = now_ms() - begin;
		sleep_ms(5);
	}
	/* it was throttled all the time */
	EXPECT_NE(0, *reg(&d.vmm.dev, VTDT_BUSY));
	note("%ld ms\n", longest);
	EXPECT_GT(250, longest);
	ASSERT_TRUE(write_file(CGROUP "/memory.high", "max"));
	EXPECT_EQ(VTDT_OK, finish_transfer(&d));
	EXPECT_TRUE(holds(d.memory + SIZE / 2, IOVA + SIZE / 2, SIZE / 2, 2));
	close_demand(&d);
	munmap(other, PAGE);
	ASSERT_TRUE(write_file("/sys/fs/cgroup/cgroup.procs", pid));
	EXPECT_EQ(0, rmdir(CGROUP));
}

static unsigned int nr_present(const unsigned char *memory, unsigned int nr)
{
	unsigned int i, n = 0;

	for (i = 0; i < nr; i++)
		n += present(memory + i * PAGE);
	return n;
}

/* Reclaim skips pages that are on their way to a list of the LRU. */
static bool page_out(unsigned char *memory, unsigned int nr)
{
	unsigned int tries;

	for (tries = 0; tries < 10; tries++) {
		if (madvise(memory, nr * PAGE, MADV_PAGEOUT))
			return false;
		if (!nr_present(memory, nr))
			return true;
	}
	return false;
}

/*
 * At the limit, pages next to one that is swapped in come with it, but only while there is
 * swap space for the pages that they evict.
 */
TEST_F(cgroup, swaps_in_neighbours_at_limit)
{
	char pid[20], limit[20];
	struct demand d;

	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	sprintf(pid, "%d", getpid());
	ASSERT_TRUE(write_file(CGROUP "/cgroup.procs", pid));
	ASSERT_TRUE(open_demand(&d, RID, variant->nested));
	fill(d.memory, IOVA, SZ_2M, 1);
	ASSERT_TRUE(page_out(d.memory, 32));
	sprintf(limit, "%ld", number_in(CGROUP "/memory.current", "") + 8 * PAGE);
	ASSERT_TRUE(write_file(CGROUP "/memory.max", limit));
	sprintf(limit, "%ld", number_in(CGROUP "/memory.swap.current", ""));
	ASSERT_TRUE(write_file(CGROUP "/memory.swap.max", limit));
	EXPECT_EQ(VTDT_OK, device_reads(&d, IOVA + 5 * PAGE, PAGE, 1));
	EXPECT_EQ(1, nr_present(d.memory, 16));

	ASSERT_TRUE(write_file(CGROUP "/memory.swap.max", "max"));
	EXPECT_EQ(VTDT_OK, device_reads(&d, IOVA + 21 * PAGE, PAGE, 1));
	EXPECT_LT(1, nr_present(d.memory + 16 * PAGE, 16));
	ASSERT_TRUE(write_file(CGROUP "/memory.max", "max"));
	EXPECT_EQ(VTDT_OK, device_reads(&d, IOVA, SZ_2M, 1));
	close_demand(&d);
	ASSERT_TRUE(write_file("/sys/fs/cgroup/cgroup.procs", pid));
	EXPECT_EQ(0, rmdir(CGROUP));
}

#define INNER	CGROUP "/inner"

/* Near a limit of the cgroup or of its parent, a request takes no memory but its own page. */
TEST_F(cgroup, no_neighbours_near_limit)
{
	static const char *const cgroups[] = { CGROUP, INNER };
	char pid[20], limit[30], current[60], file[60];
	struct demand d;
	unsigned int i;

	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	ASSERT_TRUE(write_file(CGROUP "/cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(INNER, 0755));
	sprintf(pid, "%d", getpid());
	ASSERT_TRUE(write_file(INNER "/cgroup.procs", pid));
	ASSERT_TRUE(open_demand(&d, RID, variant->nested));
	for (i = 0; i < 4; i++) {
		uint64_t iova = IOVA + i * SZ_2M;

		sprintf(current, "%s/memory.current", cgroups[i % 2]);
		sprintf(file, "%s/memory.%s", cgroups[i % 2], i < 2 ? "max" : "high");
		sprintf(limit, "%ld", number_in(current, "") + 10 * PAGE);
		ASSERT_TRUE(write_file(file, limit));
		EXPECT_EQ(VTDT_OK, device_writes(&d, iova + 5 * PAGE, PAGE, 1));
		EXPECT_EQ(1, nr_present(d.memory + i * SZ_2M, 16));
		ASSERT_TRUE(write_file(file, "max"));
		EXPECT_EQ(VTDT_OK, device_writes(&d, iova + 21 * PAGE, PAGE, 1));
		EXPECT_EQ(16, nr_present(d.memory + i * SZ_2M + 16 * PAGE, 16));
	}
	close_demand(&d);
	ASSERT_TRUE(write_file("/sys/fs/cgroup/cgroup.procs", pid));
	EXPECT_EQ(0, rmdir(INNER));
	EXPECT_EQ(0, rmdir(CGROUP));
}

/* The child of "out_of_memory": has the device use more than its cgroup's memory, no swap */
static void use_too_much(bool nested)
{
	struct demand d;

	if (!write_file(CGROUP "/cgroup.procs", "0") || !open_demand(&d, RID, nested))
		_exit(1);
	if (!write_file(CGROUP "/memory.max", "8M"))
		_exit(2);
	_exit(device_writes(&d, IOVA, SIZE, 1) == VTDT_OK ? 3 : 4);
}

/* The process is OOM-killed for its device's page faults, which frees the device. */
TEST_F(cgroup, out_of_memory)
{
	struct demand d;
	int status = 0;
	pid_t child;

	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	ASSERT_TRUE(write_file(CGROUP "/memory.swap.max", "0"));
	child = fork();
	if (!child)
		use_too_much(variant->nested);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_LE(1, number_in(CGROUP "/memory.events", "oom_kill"));
	ASSERT_TRUE(open_demand_when_free(&d, RID, variant->nested));
	EXPECT_EQ(VTDT_OK, device_writes(&d, IOVA, SZ_2M, 1));
	EXPECT_TRUE(holds(d.memory, IOVA, SZ_2M, 1));
	close_demand(&d);
	EXPECT_TRUE(wait_until(!rmdir(CGROUP)));
}

/* No data is lost while pages are reclaimed. */
TEST_F(demand, pages_reclaimed_during_transfers)
{
	struct demand *d = &self->d;
	pthread_t thread;
	unsigned int i;

	for (i = 1; i <= 8; i++) {
		start_transfer(d, VTDT_WRITE, IOVA, SIZE, i);
		ASSERT_EQ(0, pthread_create(&thread, NULL, reclaim_pages, d));
		EXPECT_EQ(VTDT_OK, finish_transfer(d));
		pthread_join(thread, NULL);
		EXPECT_TRUE(holds(d->memory, IOVA, SIZE, i));
		start_transfer(d, VTDT_READ, IOVA, SIZE, i);
		ASSERT_EQ(0, pthread_create(&thread, NULL, reclaim_pages, d));
		EXPECT_EQ(VTDT_OK, finish_transfer(d));
		pthread_join(thread, NULL);
	}
}

/*
 * A page is discarded between lookup and mapping. To look up the pages beside it takes most
 * of that time, so these are there, but all areas are unmapped in each round. The moment of
 * the discard is spread over the time that a request takes.
 */
TEST_F_TIMEOUT(demand, page_discarded_during_request, 300)
{
	struct demand *d = &self->d;
	unsigned int round, i, seed = 0;
	long takes = 0, start;

	fill(d->memory, IOVA, SIZE, 0);
	for (round = 0; round < 50; round++) {
		for (i = 0; i < SIZE / SZ_2M; i++) {
			unsigned char *page = d->memory + i * SZ_2M;
			uint64_t iova = IOVA + i * SZ_2M;

			start = now_us();
			start_transfer(d, VTDT_WRITE, iova, PAGE, ++seed);
			if (round)
				spin_us(seed * 7919 % (unsigned long)takes);
			ASSERT_EQ(0, madvise(page, PAGE, MADV_DONTNEED));
			ASSERT_EQ(VTDT_OK, finish_transfer(d));
			takes = round ? takes : now_us() - start + 1;
			ASSERT_EQ(VTDT_OK, device_writes(d, iova, PAGE, ++seed));
			ASSERT_TRUE(holds(page, iova, PAGE, seed));
		}
		ASSERT_TRUE(unmap_area(&d->vmm, IOVA, SIZE));
		ASSERT_TRUE(map_area(&d->vmm, IOVA, d->memory, SIZE));
	}
}

/* The child of "during_transfer" writes the descriptor of its userfaultfd. */
static void transfer_until_killed(int number, bool nested, int to_parent)
{
	unsigned long address;
	struct late late;
	struct demand d;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!open_demand_when_free(&d, number % 2 ? RID : 5, nested))
		_exit(1);
	if (number >= 5 && !catch_faults(&late, d.memory + SZ_2M, SZ_2M))
		_exit(2);
	start_transfer(&d, VTDT_WRITE, IOVA, SIZE, 1);
	if (number >= 5 && !wait_for_fault(&late, &address))
		_exit(3);
	if (write(to_parent, &late.fd, sizeof(int)) != sizeof(int))
		_exit(4);
	for (;;)
		pause();
}

FIXTURE(killed)
{
};

FIXTURE_VARIANT(killed)
{
	bool nested;
};

FIXTURE_VARIANT_ADD(killed, flat) { false };
FIXTURE_VARIANT_ADD(killed, nested) { true };

FIXTURE_SETUP(killed)
{
}

FIXTURE_TEARDOWN(killed)
{
}

/*
 * A process is killed while its device works or waits for a late page: the device and the
 * memory are released, even if another process still holds the userfaultfd.
 */
TEST_F(killed, during_transfer)
{
	int i, status, pipes[2], fd, pidfd, monitor = -1;
	struct demand d;
	pid_t child;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, pipe(pipes));
		child = fork();
		if (!child)
			transfer_until_killed(i, variant->nested, pipes[1]);
		close(pipes[1]);
		ASSERT_EQ(sizeof(fd), read(pipes[0], &fd, sizeof(fd)));
		close(pipes[0]);
		if (i == 9) {
			pidfd = syscall(SYS_pidfd_open, child, 0);
			monitor = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
			ASSERT_LE(0, monitor);
		}
		sleep_ms(i);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	ASSERT_TRUE(open_demand_when_free(&d, RID, variant->nested));
	EXPECT_EQ(VTDT_OK, device_writes(&d, IOVA, SZ_2M, 1));
	close_demand(&d);
	close(monitor);
}

#define WAITING		3

/* The child of "owner_of_memory_is_killed" lends late pages to the parent's device. */
static void lend_memory(struct demand *d, int to_parent)
{
	struct late late;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!map_area(&d->vmm, ELSEWHERE, d->memory, SIZE) ||
	    !catch_faults(&late, d->memory, SIZE) ||
	    write(to_parent, &late.fd, sizeof(int)) != sizeof(int))
		_exit(1);
	for (;;)
		pause();
}

/*
 * A device uses memory of another process, which is killed while workers wait for late
 * pages: the memory is freed, and the requests are refused.
 */
TEST_F(demand, owner_of_memory_is_killed)
{
	struct demand *d = &self->d;
	int status, pipes[2], fd, i, pidfd;
	struct late late = {};
	unsigned long address;
	unsigned int refused;
	pid_t child;

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	if (!child)
		lend_memory(d, pipes[1]);
	close(pipes[1]);
	ASSERT_EQ(sizeof(fd), read(pipes[0], &fd, sizeof(fd)));
	close(pipes[0]);
	pidfd = syscall(SYS_pidfd_open, child, 0);
	late.fd = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	ASSERT_LE(0, late.fd);

	refused = *reg(&d->vmm.dev, VTDT_INVALIDS);
	for (i = 0; i < WAITING; i++) {
		start_transfer(d, VTDT_WRITE, ELSEWHERE + i * SZ_2M, PAGE, 1);
		ASSERT_TRUE(wait_for_fault(&late, &address));
		sleep_ms(300);
	}
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(wait_until(!*reg(&d->vmm.dev, VTDT_BUSY)));
	EXPECT_EQ(WAITING, *reg(&d->vmm.dev, VTDT_INVALIDS) - refused);
	/* the parent's memory is not affected */
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SZ_2M, 2));
	EXPECT_TRUE(holds(d->memory, IOVA, SZ_2M, 2));
	close(late.fd);
	close(pidfd);
}

/* The process of an area has exited: it gets into no further HWPT, until it is unmapped. */
TEST_F(demand, owner_of_memory_has_exited)
{
	struct demand *d = &self->d;
	int status;
	pid_t child;

	child = fork();
	if (!child)
		_exit(!map_area(&d->vmm, ELSEWHERE, d->memory, SIZE));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(0, new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(VTDT_DENIED, device_writes(d, ELSEWHERE, PAGE, 1));
	ASSERT_TRUE(unmap_area(&d->vmm, ELSEWHERE, SIZE));
	EXPECT_NE(0, new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0));
}

static volatile pid_t toucher;

static void *touch(void *page)
{
	toucher = syscall(SYS_gettid);
	(void)*(volatile unsigned char *)page;
	return NULL;
}

/* Lend memory to the parent's device, and wait for a locked page, which no signal ends. */
static void lend_memory_and_block(struct demand *d, int to_parent)
{
	int fd = memfd_create("locked", MFD_CLOEXEC);
	unsigned char *page;
	unsigned long pfn;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ftruncate(fd, PAGE) || !map_area(&d->vmm, ELSEWHERE, d->memory, SIZE))
		_exit(1);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*page = 1;
	pfn = pfn_of(page);
	madvise(page, PAGE, MADV_DONTNEED);
	if (!tell_page_lock("lock", pfn) || pthread_create(&thread, NULL, touch, page) ||
	    !wait_until(toucher && sleeps_below(toucher, FOR_PAGE_LOCK)))
		_exit(1);
	if (write(to_parent, &pfn, sizeof(pfn)) != sizeof(pfn))
		_exit(1);
	for (;;)
		pause();
}

static bool is_zombie(pid_t pid)
{
	char number[20];

	snprintf(number, sizeof(number), "%d", pid);
	return says(number, "status", "State:\tZ");
}

/* A process that is being killed, but cannot exit yet, gets no more memory for the device. */
TEST_F(demand, owner_of_memory_is_dying)
{
	struct demand *d = &self->d;
	unsigned int refused;
	int status, pipes[2];
	unsigned long pfn;
	pid_t child;

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	if (!child)
		lend_memory_and_block(d, pipes[1]);
	close(pipes[1]);
	ASSERT_EQ(sizeof(pfn), read(pipes[0], &pfn, sizeof(pfn)));
	EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE, PAGE, 1));
	ASSERT_EQ(0, kill(child, SIGKILL));
	/* Its first thread exits, the other one cannot. */
	EXPECT_TRUE(wait_until(is_zombie(child)));
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	refused = *reg(&d->vmm.dev, VTDT_INVALIDS);
	EXPECT_EQ(VTDT_DENIED, device_writes(d, ELSEWHERE + SZ_2M, PAGE, 1));
	EXPECT_EQ(1, *reg(&d->vmm.dev, VTDT_INVALIDS) - refused);
	ASSERT_TRUE(tell_page_lock("unlock", pfn));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	close(pipes[0]);
}

/*
 * That process is OOM-killed: its memory is reaped, although the device uses it, and the
 * device loses it.
 */
TEST_F(demand, memory_of_dying_owner_is_reaped)
{
	struct demand *d = &self->d;
	int status, pipes[2];
	unsigned long pfn;
	pid_t child;

	ASSERT_EQ(0, mkdir(CGROUP, 0755));
	ASSERT_TRUE(write_file(CGROUP "/memory.swap.max", "0"));
	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	if (!child) {
		if (!write_file(CGROUP "/cgroup.procs", "0"))
			_exit(1);
		lend_memory_and_block(d, pipes[1]);
	}
	close(pipes[1]);
	ASSERT_EQ(sizeof(pfn), read(pipes[0], &pfn, sizeof(pfn)));
	EXPECT_EQ(VTDT_OK, device_writes(d, ELSEWHERE, SIZE, 1));
	EXPECT_TRUE(wait_until(number_in(CGROUP "/memory.stat", "anon ") >= (long)SIZE));
	ASSERT_TRUE(write_file(CGROUP "/memory.max", "8M"));
	EXPECT_LE(1, number_in(CGROUP "/memory.events", "oom_kill"));
	EXPECT_TRUE(wait_until(number_in(CGROUP "/memory.stat", "anon ") < (long)SZ_2M));
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	EXPECT_EQ(VTDT_DENIED, device_writes(d, ELSEWHERE, PAGE, 1));
	ASSERT_TRUE(tell_page_lock("unlock", pfn));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	close(pipes[0]);
	EXPECT_TRUE(wait_until(!rmdir(CGROUP)));
}

#define FORMER_USERS	4	/* DEMAND_MAX_DYING */

/* A process lends a locked page to the device, and waits. It does not keep the device open. */
static void lend_locked_page(struct demand *d, unsigned char *page, int to_parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!map_area(&d->vmm, ELSEWHERE, page, PAGE))
		_exit(1);
	munmap((void *)d->vmm.dev.regs, 0x10000);
	close(d->vmm.dev.fd);
	close(d->vmm.iommufd);
	if (write(to_parent, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/*
 * As many former users as a device may have: they have left it, one after the other, while a
 * worker of each waits for a locked page. The device is open again, but not attached.
 */
FIXTURE(former_users)
{
	struct demand d;
	pid_t child[FORMER_USERS];
	unsigned long pfn;
};

FIXTURE_SETUP(former_users)
{
	int fd = memfd_create("locked", MFD_CLOEXEC), pipes[2], i;
	unsigned char *page;
	char byte;

	ASSERT_EQ(0, ftruncate(fd, PAGE));
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*page = 1;
	self->pfn = pfn_of(page);
	ASSERT_EQ(0, madvise(page, PAGE, MADV_DONTNEED));
	ASSERT_TRUE(tell_page_lock("lock", self->pfn));
	for (i = 0; i < FORMER_USERS; i++) {
		ASSERT_TRUE(open_demand_when_free(&self->d, RID, false));
		ASSERT_EQ(0, pipe(pipes));
		self->child[i] = fork();
		if (!self->child[i])
			lend_locked_page(&self->d, page, pipes[1]);
		close(pipes[1]);
		ASSERT_EQ(1, read(pipes[0], &byte, 1));
		close(pipes[0]);
		start_transfer(&self->d, VTDT_READ, ELSEWHERE, PAGE, 1);
		EXPECT_TRUE(wait_until(workers_below(FOR_PAGE_LOCK) == i + 1U));
		close_demand(&self->d);
	}
	ASSERT_TRUE(open_detached(&self->d, RID));
	ASSERT_TRUE(new_hwpt(&self->d));
}

FIXTURE_TEARDOWN(former_users)
{
	int i;

	close_demand(&self->d);
	for (i = 0; i < FORMER_USERS; i++) {
		kill(self->child[i], SIGKILL);
		waitpid(self->child[i], NULL, 0);
	}
}

/* The device cannot be attached until a worker has ended; others can. */
TEST_F(former_users, too_many)
{
	struct demand *d = &self->d;
	bool announced;

	EXPECT_FALSE(attach(&d->vmm, RID, d->hwpt));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, attach_by_driver("vtd_vfio", &announced));
	EXPECT_TRUE(bind_driver(getenv("TESTDEV2"), "vfio-pci"));
	ASSERT_TRUE(tell_page_lock("unlock", self->pfn));
	EXPECT_TRUE(wait_until(attach(&d->vmm, RID, d->hwpt)));
}

static void *unlock_soon(void *pfn)
{
	sleep_ms(200);
	return tell_page_lock("unlock", *(unsigned long *)pfn) ? pfn : NULL;
}

/* An attach waits for a worker that ends soon, and not longer. */
TEST_F(former_users, end_during_attach)
{
	long start = now_ms(), took;
	struct demand *d = &self->d;
	pthread_t thread;
	void *unlocked;

	ASSERT_EQ(0, pthread_create(&thread, NULL, unlock_soon, &self->pfn));
	EXPECT_TRUE(attach(&d->vmm, RID, d->hwpt));
	took = now_ms() - start;
	note("%ld ms\n", took);
	EXPECT_LE(200, took);
	EXPECT_GT(1000, took);
	pthread_join(thread, &unlocked);
	EXPECT_NE(NULL, unlocked);
}

/* Has @pid executed @name? */
static bool executes(pid_t pid, const char *name)
{
	char path[40], comm[20] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "r");
	if (file && !fgets(comm, sizeof(comm), file))
		comm[0] = 0;
	if (file)
		fclose(file);
	return !strncmp(comm, name, strlen(name));
}

static int sleep_sharing_memory(void *parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
	return 0;
}

/*
 * Lend memory to the parent's device, share it with a process that sleeps, and exec when told
 * to.
 */
static void lend_memory_and_exec(struct demand *d, int leaves, int go)
{
	static char stack[64 << 10];
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fill(d->memory + SZ_2M, ELSEWHERE + SZ_2M, PAGE, 1);
	if (!map_area(&d->vmm, ELSEWHERE, d->memory, SIZE) ||
	    write(leaves, "", 1) != 1 ||
	    clone(sleep_sharing_memory, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL) < 0 ||
	    read(go, &byte, 1) != 1)
		_exit(1);
	execlp("sleep", "sleep", "1000", NULL);
	_exit(1);
}

/*
 * A process maps memory and then calls exec(). The device gets no further pages of that
 * memory, although another process still uses it: nobody would be charged.
 */
TEST_F(demand, owner_of_memory_calls_exec)
{
	struct demand *d = &self->d;
	int pipes[2], go[2], status;
	unsigned int refused;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, pipe(go));
	child = fork();
	if (!child)
		lend_memory_and_exec(d, pipes[1], go[0]);
	close(pipes[1]);
	close(go[0]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	EXPECT_EQ(VTDT_OK, device_reads(d, ELSEWHERE + SZ_2M, PAGE, 1));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_TRUE(wait_until(executes(child, "sleep")));

	refused = *reg(&d->vmm.dev, VTDT_INVALIDS);
	EXPECT_NE(VTDT_OK, device_writes(d, ELSEWHERE + 2 * SZ_2M, PAGE, 1));
	EXPECT_EQ(1, *reg(&d->vmm.dev, VTDT_INVALIDS) - refused);
	EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, PAGE, 2));
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	close(pipes[0]);
	close(go[1]);
}

TEST_HARNESS_MAIN
