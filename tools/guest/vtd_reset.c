// SPDX-License-Identifier: GPL-2.0
/*
 * Translations, page requests and attachments of a device that is reset.  Prints TAP.
 */
#include <sys/wait.h>

#include "../../../drivers/iommu/iommufd/iommufd_test.h"
#include "vtd_iopf.h"

#define ADDR(page)	((page) * PAGE)

FIXTURE(reset)
{
	struct vm vm;
	unsigned int page;
};

FIXTURE_VARIANT(reset)
{
	unsigned int pasid;
};

FIXTURE_VARIANT_ADD(reset, rid) { RID };
FIXTURE_VARIANT_ADD(reset, pasid) { 0x12345 };

/* One level, that has a page, and a queue for page requests of the others */
FIXTURE_SETUP(reset)
{
	struct vm *vm = &self->vm;

	ASSERT_TRUE(open_vm(vm, getenv("TESTDEV"), variant->pasid));
	self->page = new_data(&vm->vmm);
	ASSERT_TRUE(map_page(&vm->vmm, self->page));
	vm->hwpt = new_paging(&vm->vmm, 0, vm->fault[FIRST]);
	ASSERT_NE(0, vm->hwpt);
	ASSERT_TRUE(attach_vm(vm, vm->hwpt));
}

FIXTURE_TEARDOWN(reset)
{
	close_vm(&self->vm);
}

static bool reset_device(struct vm *vm)
{
	return !ioctl(vm->dev->fd, VFIO_DEVICE_RESET);
}

/* How a read of the test's page ends; with VTDT_ATS, the TLB has it then. */
static unsigned int reads(struct vm *vm, unsigned int page, unsigned int how)
{
	struct vtdt_command c = execute(vm->dev, VTDT_READ | how, vm->pasid, ADDR(page), 0);

	return c.status == VTDT_OK && c.data != mark(page) ? VTDT_PENDING : c.status;
}

/* DMA works in both directions, and the TLB is enabled and invalidated again. */
TEST_F(reset, translates_as_before)
{
	struct vm *vm = &self->vm;
	int i;

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(VTDT_OK, reads(vm, self->page, BY_TLB));
		EXPECT_EQ(VTDT_OK, reads(vm, self->page, PLAIN));
		EXPECT_EQ(1, *reg(vm->dev, VTDT_TLB));
		ASSERT_TRUE(i ? unmap_area(&vm->vmm, ADDR(self->page), PAGE) :
				reset_device(vm));
		EXPECT_EQ(0, *reg(vm->dev, VTDT_TLB));
	}
	EXPECT_EQ(VTDT_NOT_TRANSLATED, reads(vm, self->page, BY_TLB));
	EXPECT_EQ(VTDT_REFUSED, reads(vm, self->page, PLAIN));
}

/* An answer to a request from before the reset is not one to the same request after it. */
TEST_F(reset, ignores_old_answers)
{
	struct part before, after;
	struct vm *vm = &self->vm;

	start_request(vm, 5, IOVA, READ);
	ASSERT_TRUE(receive(vm, FIRST, &before, 1));
	ASSERT_TRUE(reset_device(vm));
	start_request(vm, 5, IOVA, READ);
	ASSERT_TRUE(receive(vm, FIRST, &after, 1));
	EXPECT_TRUE(reply(vm, FIRST, &before, INVALID));
	EXPECT_TRUE(waits(vm, 0));
	EXPECT_TRUE(reply(vm, FIRST, &after, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
	EXPECT_EQ(0, *reg(vm->dev, VTDT_CREDITS));
}

/* Nor is what was not answered by then, and what was not read never will be. */
TEST_F(reset, discards_open_requests)
{
	struct vm *vm = &self->vm;
	struct part part;
	int i;

	for (i = 0; i < 3; i++) {
		start_request(vm, i, IOVA, READ);
		EXPECT_TRUE(comes(&vm->queue[FIRST], 1));
		ASSERT_TRUE(reset_device(vm));
		EXPECT_EQ(0, *reg(vm->dev, VTDT_CREDITS));
		EXPECT_EQ(0, poll(&vm->queue[FIRST], 1, 0));
	}
	start_request(vm, 7, IOVA, READ);
	ASSERT_TRUE(receive(vm, FIRST, &part, 1));
	EXPECT_EQ(7, part.fault[0].grpid);
	ASSERT_TRUE(reply(vm, FIRST, &part, SUCCESS));
	EXPECT_EQ(SUCCESS, answer(vm, 0));
}

#define GROUPS		60
#define MAX_REQUESTS	512	/* that a device may have open */

/* Nor are requests kept without a limit that were read, but are not answered. */
TEST_F(reset, keeps_few_page_requests)
{
	struct vtdt_command c[GROUPS];
	struct vm *vm = &self->vm;
	struct part first, part;
	int i, n;

	for (n = 0; n <= 2 * MAX_REQUESTS; n += GROUPS) {
		for (i = 0; i < GROUPS; i++)
			c[i] = page_request(vm, i, IOVA, VTDT_LAST | READ);
		send_list(vm, c, GROUPS);
		for (i = 0; i < GROUPS; i++)
			ASSERT_TRUE(receive(vm, FIRST, n || i ? &part : &first, 1));
		ASSERT_TRUE(reset_device(vm));
	}
	/* the first has been forgotten, the last has not */
	EXPECT_FALSE(reply(vm, FIRST, &first, SUCCESS));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_TRUE(reply(vm, FIRST, &part, SUCCESS));
}

/* How many groups a queue keeps, whether they are answered or not; -1 if it is not known */
static int kept(struct vm *vm, int level)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd), .op = IOMMU_TEST_OP_FAULT_GROUPS, .id = vm->fault[level],
	};

	return ioctl(vm->vmm.iommufd, IOMMU_TEST_CMD, &cmd) ? -1 : (int)cmd.fault_groups.out_nr;
}

/* Nor are requests that nobody reads. */
TEST_F(reset, keeps_few_unread_requests)
{
	struct vtdt_command c[GROUPS];
	long before = counter("flat");
	struct vm *vm = &self->vm;
	int i, n, most = 0;

	for (n = GROUPS; n <= 3 * MAX_REQUESTS; n += GROUPS) {
		for (i = 0; i < GROUPS; i++)
			c[i] = page_request(vm, i, IOVA, VTDT_LAST | READ);
		send_list(vm, c, GROUPS);
		ASSERT_TRUE(counts("flat", before + n));
		ASSERT_TRUE(reset_device(vm));
		if (kept(vm, FIRST) > most)
			most = kept(vm, FIRST);
	}
	/* those of the last reset, and what was made before since the limit was looked at */
	EXPECT_LE(GROUPS, most);
	EXPECT_GE(MAX_REQUESTS + GROUPS, most);
}

/* Whether the IOMMU has a PASID entry of the device that it would find */
static bool entry_is_visible(struct vm *vm)
{
	FILE *file = fopen("/sys/kernel/debug/iommu/intel/dmar_translation_struct", "r");
	const char *name = strchr(vm->dev->name, ':') + 1;
	char line[300], bdf[32];
	bool found = false;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%31s", bdf) == 1 && !strcmp(bdf, name))
			found = true;
	}
	if (file)
		fclose(file);
	return found;
}

static pid_t start_reset(struct vm *vm)
{
	pid_t child = fork();

	if (!child)
		_exit(!reset_device(vm));
	return child;
}

static bool has_passed(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child && !status;
}

/*
 * During the reset, which takes at least 0.1 s, there is no attach and no translation.
 * Domains that are detached meanwhile stay detached, and the others are restored.
 */
TEST_F(reset, attach_during_reset)
{
	struct vm *vm = &self->vm;
	const unsigned int other = 0x777;	/* LISTS */
	bool blocked = false;
	pid_t child;
	int i;

	EXPECT_TRUE(entry_is_visible(vm));
	child = start_reset(vm);
	for (i = 0; i < PATIENCE && !blocked; i++) {
		bool visible;

		if (attach(&vm->vmm, 0x54321, vm->hwpt)) {
			ASSERT_TRUE(detach(&vm->vmm, 0x54321));
			continue;
		}
		ASSERT_EQ(EBUSY, errno);
		visible = entry_is_visible(vm);
		/* is it still the same reset? */
		if (attach(&vm->vmm, 0x54321, vm->hwpt)) {
			ASSERT_TRUE(detach(&vm->vmm, 0x54321));
			break;
		}
		ASSERT_EQ(EBUSY, errno);
		EXPECT_FALSE(visible);
		/* nor a replace */
		EXPECT_FALSE(attach(&vm->vmm, variant->pasid, vm->vmm.parent));
		EXPECT_EQ(EBUSY, errno);
		EXPECT_TRUE(detach(&vm->vmm, other));
		EXPECT_TRUE(unmap_area(&vm->vmm, ADDR(vm->list_page), PAGE));
		blocked = true;
	}
	EXPECT_TRUE(blocked);
	EXPECT_TRUE(has_passed(child));
	EXPECT_TRUE(entry_is_visible(vm));
	EXPECT_EQ(VTDT_OK, reads(vm, self->page, BY_TLB));
	EXPECT_EQ(VTDT_REFUSED, execute(vm->dev, VTDT_READ | PLAIN, other, ADDR(self->page),
					0).status);
	ASSERT_TRUE(attach(&vm->vmm, other, vm->hwpt));
	EXPECT_EQ(VTDT_OK, execute(vm->dev, VTDT_READ | BY_TLB, other, ADDR(self->page),
				   0).status);
}

TEST_HARNESS_MAIN
