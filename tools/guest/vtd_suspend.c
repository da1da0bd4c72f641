// SPDX-License-Identifier: GPL-2.0
/*
 * A VMM continues after suspend to RAM: its guest's tables, the device's TLB, and page
 * requests at both levels.  Prints TAP.
 */
#include "suspend.h"
#include "vtd_iopf.h"

static bool reads(struct vm *vm, unsigned int how, uint64_t addr, unsigned int page)
{
	struct vtdt_command c = execute(vm->dev, VTDT_READ | how, vm->pasid, addr, 0);

	return c.status == VTDT_OK && c.data == mark(page);
}

/* The device's TLB is empty after resume; it is filled and invalidated as before. */
TEST_F(iopf, translation_after_resume)
{
	struct vm *vm = &self->vm;
	unsigned int page = vm->pages[PRESENT][0], i;

	map(&vm->vmm, vm->root, IOVA, page);
	EXPECT_TRUE(reads(vm, BY_TLB, IOVA, page));
	EXPECT_EQ(1, *reg(vm->dev, VTDT_TLB));
	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(sleep_and_wake());
		EXPECT_EQ(0, *reg(vm->dev, VTDT_TLB));
		EXPECT_TRUE(reads(vm, PLAIN, IOVA, page));
		EXPECT_TRUE(reads(vm, BY_TLB, IOVA, page));
		EXPECT_EQ(1, *reg(vm->dev, VTDT_TLB));
	}
	ASSERT_TRUE(unmap_area(&vm->vmm, page * PAGE, PAGE));
	EXPECT_EQ(0, *reg(vm->dev, VTDT_TLB));
	EXPECT_EQ(VTDT_REFUSED,
		  execute(vm->dev, VTDT_READ | PLAIN, vm->pasid, IOVA, 0).status);
}

TEST_F(iopf, page_requests_after_resume)
{
	struct vm *vm = &self->vm;

	EXPECT_TRUE(is_served(vm, 1));
	ASSERT_TRUE(sleep_and_wake());
	EXPECT_TRUE(is_served(vm, 2));
	EXPECT_TRUE(is_served(vm, 3));
}

/* The first domain with page requests is attached after resume. */
TEST_F(iopf, page_requests_enabled_after_resume)
{
	struct vm *vm = &self->vm;

	ASSERT_TRUE(detach(&vm->vmm, vm->pasid));
	ASSERT_TRUE(detach(&vm->vmm, LISTS));
	ASSERT_TRUE(sleep_and_wake());
	ASSERT_TRUE(attach(&vm->vmm, LISTS, vm->vmm.parent));
	ASSERT_TRUE(attach_vm(vm, vm->hwpt));
	EXPECT_TRUE(is_served(vm, 1));
}

/* A response to a request from before suspend does not disturb later requests. */
TEST_F(iopf, response_after_resume)
{
	struct vm *vm = &self->vm;
	struct part part;

	start_request(vm, 5, IOVA, READ);
	ASSERT_TRUE(receive(vm, FIRST, &part, 1));
	ASSERT_TRUE(sleep_and_wake());
	EXPECT_TRUE(reply(vm, FIRST, &part, INVALID));
	EXPECT_TRUE(is_served(vm, 6));
}

TEST_HARNESS_MAIN
