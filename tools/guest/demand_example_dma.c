// SPDX-License-Identifier: GPL-2.0
/*
 * The documented program for VMMs that pin nothing, with a device that does DMA between
 * its steps.  Prints TAP.  CDEV is the VFIO character device of a vtd-testdev.
 */
#include "kselftest_harness.h"
#include "vtd_vmm.h"

#define main example_main
#include "iommufd-demand-example.c"
#undef main

/* Read or write eight bytes at @addr, and serve the queue meanwhile. */
static struct vtdt_command transfer(struct testdev *dev, int queue, unsigned int op,
				    uint64_t addr, uint64_t data)
{
	struct vtdt_command c = command(op | BY_TLB | VTDT_PAGE_IN, RID, addr);

	c.length = sizeof(data);
	c.data = data;
	start(dev, &c);
	serve_queue(queue, 500);
	return await(dev);
}

TEST(example_with_dma)
{
	unsigned int dev_id, ioas_id, fault_id;
	struct testdev dev = {};
	struct vtdt_command c;
	uint64_t *guest;
	int queue;

	dev_id = bind_device(getenv("CDEV"));
	check_device(dev_id);
	guest = map_guest_memory(&ioas_id);
	queue = alloc_queue(&fault_id);
	attach_device(alloc_hwpt(dev_id, ioas_id, fault_id));
	dev.fd = device;
	ASSERT_TRUE(start_device(&dev));

	memset(guest, 1, BALLOON_SIZE);
	c = transfer(&dev, queue, VTDT_READ, 0, ~0);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(0x0101010101010101, c.data);

	c = transfer(&dev, queue, VTDT_WRITE, GUEST_SIZE - 8, 0xda7a);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(0xda7a, guest[GUEST_SIZE / 8 - 1]);

	/* The IOAS does not map this: only the queue's owner can answer. */
	c = transfer(&dev, queue, VTDT_READ, GUEST_SIZE, ~0);
	EXPECT_EQ(VTDT_DENIED, c.status);

	take_back(guest, BALLOON_SIZE);
	c = transfer(&dev, queue, VTDT_READ, 0, ~0);
	EXPECT_EQ(VTDT_OK, c.status);
	EXPECT_EQ(0, c.data);
}

TEST_HARNESS_MAIN
