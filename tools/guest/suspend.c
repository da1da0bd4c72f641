// SPDX-License-Identifier: GPL-2.0
/*
 * After suspend to RAM, a user's device can access the same memory as before, and nothing
 * else.  Prints TAP.  EDU and EDU2 as for vfio_edu.
 */
#include "suspend.h"
#include "vfio_edu.h"
#include "kselftest_harness.h"

FIXTURE(suspend)
{
	int fd;
	struct edu edu;
	unsigned int ioas;
	char *memory;			/* 2 MiB */
};

FIXTURE_SETUP(suspend)
{
	self->fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	ASSERT_TRUE(edu_open(&self->edu, "EDU", self->fd));
	self->ioas = new_ioas(self->fd, &self->edu);
	ASSERT_NE(0, self->ioas);
	ASSERT_TRUE(attach(&self->edu, self->ioas));
	self->memory = new_memory(SZ_2M, SZ_2M);
	ASSERT_NE(NULL, self->memory);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->memory, SZ_2M, IOVA, RW));
}

FIXTURE_TEARDOWN(suspend)
{
	close(self->edu.fd);
	close(self->fd);
}

/* Memory is mapped as before, and can be unmapped and mapped. */
TEST_F(suspend, mappings_survive_suspend)
{
	char *page = self->memory + 5 * PAGE, *other = self->memory + SZ_2M - PAGE;
	unsigned int seed, i;

	seed = fill_new(page);
	EXPECT_TRUE(reads(&self->edu, IOVA + 5 * PAGE, seed));
	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(sleep_and_wake());
		EXPECT_TRUE(holds(page, seed));
		EXPECT_TRUE(reads(&self->edu, IOVA + 5 * PAGE, seed));
		EXPECT_TRUE(writes(&self->edu, IOVA + SZ_2M - PAGE, other));
		EXPECT_TRUE(cannot_read(&self->edu, IOVA + SZ_2M, seed));
	}
	ASSERT_EQ(SZ_2M, ioas_unmap(self->fd, self->ioas, IOVA, SZ_2M));
	EXPECT_TRUE(cannot_read(&self->edu, IOVA + 5 * PAGE, seed));
	seed = fill_new(page);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, page, PAGE, IOVA, RW));
	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
}

/* Memory that was unmapped before suspend cannot be accessed after resume. */
TEST_F(suspend, unmapped_before_suspend)
{
	unsigned int seed = fill_new(self->memory);

	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
	ASSERT_EQ(SZ_2M, ioas_unmap(self->fd, self->ioas, IOVA, SZ_2M));
	ASSERT_TRUE(sleep_and_wake());
	EXPECT_TRUE(cannot_read(&self->edu, IOVA, seed));
	EXPECT_TRUE(cannot_write(&self->edu, IOVA, self->memory, seed));
}

/* A device that was closed during suspend is opened, and a domain replaced. */
TEST_F(suspend, device_opened_after_resume)
{
	struct edu other = {};
	unsigned int ioas, seed;

	ASSERT_TRUE(sleep_and_wake());
	ASSERT_TRUE(edu_open(&other, "EDU2", self->fd));
	ioas = new_ioas(self->fd, &other);
	ASSERT_NE(0, ioas);
	ASSERT_TRUE(attach(&other, ioas));
	ASSERT_EQ(0, ioas_map(self->fd, ioas, self->memory, SZ_2M, IOVA + SZ_2M, RW));
	seed = fill_new(self->memory);
	EXPECT_TRUE(reads(&other, IOVA + SZ_2M, seed));
	EXPECT_TRUE(writes(&other, IOVA + SZ_2M, self->memory));
	seed = fill_new(self->memory);
	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
	ASSERT_EQ(0, ioas_map(self->fd, ioas, self->edu.page, PAGE, 2 * BOUNCE_IOVA, RW));
	self->edu.iova = 2 * BOUNCE_IOVA;
	ASSERT_TRUE(attach(&self->edu, ioas));
	EXPECT_TRUE(reads(&self->edu, IOVA + SZ_2M, seed));
	EXPECT_TRUE(cannot_read(&self->edu, IOVA, seed));
	close(other.fd);
}

TEST_HARNESS_MAIN
