// SPDX-License-Identifier: GPL-2.0
/*
 * A VMM goes on after the machine has slept: its guest's tables, the device's TLB and
 * page requests at both levels.  Prints TAP.
 */
#include "suspend.h"
#include "vtd_iopf.h"

static bool sees(struct vm *vm, unsigned int how, uint64_t addr, unsigned int page)
{
	struct vtdt_command c = execute(vm->dev, VTDT_READ | how, vm->pasid, addr, 0);

	return c.status == VTDT_OK && c.data == mark(page);
}

/* The device's own TLB forgets, is filled again, and is told of what is unmapped. */
TEST_F(iopf, translates_after)
{
	struct vm *vm = &self->vm;
	unsigned int page = vm->pages[PRESENT][0], i;

	map(&vm->vmm, vm->root, IOVA, page);
	EXPECT_TRUE(sees(vm, BY_TLB, IOVA, page));
	EXPECT_EQ(1, *reg(vm->dev, VTDT_TLB));
	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(sleep_and_wake());
		EXPECT_EQ(0, *reg(vm->dev, VTDT_TLB));
		EXPECT_TRUE(sees(vm, PLAIN, IOVA, page));
		EXPECT_TRUE(sees(vm, BY_TLB, IOVA, page));
		EXPECT_EQ(1, *reg(vm->dev, VTDT_TLB));
	}
	ASSERT_TRUE(unmap_area(&vm->vmm, page * PAGE, PAGE));
	EXPECT_EQ(0, *reg(vm->dev, VTDT_TLB));
	EXPECT_EQ(VTDT_REFUSED,
		  execute(vm->dev, VTDT_READ | PLAIN, vm->pasid, IOVA, 0).status);
}

TEST_F(iopf, page_requests_after)
{
	struct vm *vm = &self->vm;

	EXPECT_TRUE(is_served(vm, 1));
	ASSERT_TRUE(sleep_and_wake());
	EXPECT_TRUE(is_served(vm, 2));
	EXPECT_TRUE(is_served(vm, 3));
}

/* The first to want page requests attaches after it. */
TEST_F(iopf, page_requests_on_after)
{
	struct vm *vm = &self->vm;

	ASSERT_TRUE(detach(&vm->vmm, vm->pasid));
	ASSERT_TRUE(detach(&vm->vmm, LISTS));
	ASSERT_TRUE(sleep_and_wake());
	ASSERT_TRUE(attach(&vm->vmm, LISTS, vm->vmm.parent));
	ASSERT_TRUE(attach_vm(vm, vm->hwpt));
	EXPECT_TRUE(is_served(vm, 1));
}

/* The device has forgotten a request that is answered after it. */
TEST_F(iopf, answered_after)
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
