// SPDX-License-Identifier: GPL-2.0
/*
 * Resets of a device whose memory is paged on demand.  Prints TAP.
 */
#include "kselftest_harness.h"
#include "vtd_demand_machine.h"

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
	close_demand(&self->d);
}

/* The device is reset while it works: it works again, and no other data changes. */
TEST_F(demand, reset_during_transfers)
{
	struct demand *d = &self->d;
	unsigned int i;

	ASSERT_EQ(VTDT_OK, device_writes(d, IOVA + SIZE / 2, SIZE / 2, 1));
	for (i = 2; i < 12; i++) {
		ASSERT_EQ(0, madvise(d->memory, SIZE / 2, MADV_DONTNEED));
		start_transfer(d, VTDT_WRITE, IOVA, SIZE / 2, i);
		sleep_ms(i);
		ASSERT_EQ(0, ioctl(d->vmm.dev.fd, VFIO_DEVICE_RESET));
		EXPECT_EQ(0, *reg(&d->vmm.dev, VTDT_BUSY));
		ASSERT_EQ(0, madvise(d->memory, SZ_2M, MADV_PAGEOUT));
		EXPECT_EQ(VTDT_OK, device_writes(d, IOVA, SIZE / 2, i + 100));
		EXPECT_EQ(VTDT_OK, device_reads(d, IOVA, SIZE / 2, i + 100));
		EXPECT_TRUE(holds(d->memory, IOVA, SIZE / 2, i + 100));
	}
	EXPECT_EQ(VTDT_OK, device_reads(d, IOVA + SIZE / 2, SIZE / 2, 1));
	EXPECT_TRUE(holds(d->memory + SIZE / 2, IOVA + SIZE / 2, SIZE / 2, 1));
}

TEST_HARNESS_MAIN
